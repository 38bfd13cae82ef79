"""Paths: which resource a path names, found in one walk over its parts instead of a match with every route.

A template is as in the route table: `/accounts/{account_id}/ledger`. A place in a path is either one of some words or a
variable, never both: there is one way through the tree, and a template that would make a second is refused.
"""

from collections.abc import Mapping
from typing import Generic, NamedTuple, TypeVar

Thing = TypeVar("Thing")


class Found(NamedTuple, Generic[Thing]):
    """A resource, by the template it stands under, and the variables of the path."""

    template: str
    by_method: Mapping[str, Thing]
    variables: Mapping[str, str]


class Paths(Generic[Thing]):
    """What stands under each path template, by method."""

    def __init__(self) -> None:
        self._root: _Place[Thing] = _Place()

    def add(self, method: str, template: str, thing: Thing) -> None:
        """Raises `ValueError` for a template that gives some path a second meaning."""
        place, names = self._root, []
        for part in template.split("/"):
            if part.startswith("{"):
                names.append(part[1:-1])
                place = place.variable(template)
            else:
                place = place.word(part, template)
        if place.names not in ((), tuple(names)) or method in place.by_method:
            raise ValueError(f"{template} is there already")
        place.template, place.names = template, tuple(names)
        place.by_method[method] = thing

    def find(self, path: str) -> Found[Thing] | None:
        """The resource of a path in which only `/` and `%` are still escaped, if there is one."""
        place, values = self._root, []
        for part in path.split("/"):
            below = place.words.get(part)
            if below is None:
                below = place.any
                if below is None or not part or "{" in part or "}" in part:
                    return None
                values.append(part if "%" not in part else part.replace("%2F", "/").replace("%25", "%"))
            place = below
        if not place.by_method:
            return None
        return Found(place.template, place.by_method, dict(zip(place.names, values, strict=True)))


class _Place(Generic[Thing]):
    """What may follow a part of a path, and what stands where it ends."""

    __slots__ = ("any", "by_method", "names", "template", "words")

    def __init__(self) -> None:
        self.words: dict[str, _Place[Thing]] = {}
        self.any: _Place[Thing] | None = None
        self.template = ""
        self.names: tuple[str, ...] = ()
        self.by_method: dict[str, Thing] = {}

    def variable(self, template: str) -> "_Place[Thing]":
        if self.words:
            raise ValueError(f"{template} has a variable where another has a word")
        if self.any is None:
            self.any = _Place()
        return self.any

    def word(self, word: str, template: str) -> "_Place[Thing]":
        if self.any is not None:
            raise ValueError(f"{template} has a word where another has a variable")
        return self.words.setdefault(word, _Place())
