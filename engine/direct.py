"""Direct: the canonical form written by msgspec itself, in C, for structs that it encodes as the form wants them.

Sorted names, texts, whole numbers and nulls come out of its encoder as `canonical` wants them; so do moments in UTC
that have microseconds, and figures in plain notation. A struct type is direct where it holds nothing else. Of a value
the moments are looked at before; a zero, which comes out in scientific notation, is written plainly afterwards.
Whatever is not certain gives None, and goes the way that is always right.

A figure is told from a text that looks like one by its name, which no text of a direct struct has. Within a text a
quote always stands behind a backslash, so `":"` is the end of a name and the beginning of what it names, never else.
"""

import re
from collections.abc import Callable
from datetime import UTC
from enum import Enum
from functools import cache
from operator import attrgetter
from typing import Any, Final

import msgspec
from msgspec import inspect

ENCODER: Final = msgspec.json.Encoder(order="sorted")

_ZERO: Final = b'":"0E-8"'
_ZERO_PLAINLY: Final = b'":"0.00000000"'
_EXPONENTS: Final = re.compile(rb'E[+-]\d+"')
_TEXTS: Final = (inspect.StrType, inspect.IntType, inspect.BoolType, inspect.LiteralType, inspect.DateTimeType)
_Got = Callable[[Any], tuple[Any, ...]]


class Direct:
    """Of one struct type: the names of its figures and of all else, with those of the structs in it; and what must be
    looked at: moments, fields that may hold such structs, fields that must be empty (dotted paths, as Python names)."""

    __slots__ = ("_empty", "_inner", "_moments", "empty", "figures", "inner", "moments", "texts")

    def __init__(self, struct: inspect.StructType) -> None:
        self.figures, self.texts = set[bytes](), set[bytes]()
        self.moments, self.empty = list[str](), list[str]()
        self.inner = list[tuple[str, "Direct", bool]]()
        for field in struct.fields:
            kinds = field.type.types if isinstance(field.type, inspect.UnionType) else (field.type,)
            for kind in kinds:
                self._learn(field, kind, is_always_one=len(kinds) == 1)
        self._moments, self._empty = _getter(self.moments), _getter(self.empty)
        self._inner = [(attrgetter(path), inner, is_row) for path, inner, is_row in self.inner]

    def _learn(self, field: inspect.Field, kind: inspect.Type, *, is_always_one: bool) -> None:
        name, wire = field.name, field.encode_name.encode()
        match kind:
            case inspect.NoneType():
                pass
            case inspect.DecimalType():
                self.figures.add(wire)
            case inspect.StructType(cls=struct) if (inner := direct(struct)) is not None:
                self._hold(name, inner, is_always_one=is_always_one)
            case inspect.VarTupleType(item_type=inspect.StructType(cls=item)) if (inner := direct(item)) is not None:
                self._hold(name, inner, is_row=True)
            case _ if isinstance(kind, _TEXTS) or (isinstance(kind, inspect.EnumType) and _is_of_texts(kind.cls)):
                self.texts.add(wire)
                self.moments += [name] if isinstance(kind, inspect.DateTimeType) else []
            case _:
                self.empty.append(name)

    def _hold(self, name: str, inner: "Direct", *, is_always_one: bool = False, is_row: bool = False) -> None:
        self.figures |= inner.figures
        self.texts |= inner.texts
        if is_always_one:
            self.moments += [f"{name}.{path}" for path in inner.moments]
            self.empty += [f"{name}.{path}" for path in inner.empty]
            self.inner += [(f"{name}.{path}", each, is_row) for path, each, is_row in inner.inner]
        elif inner.moments or inner.empty or inner.inner:
            self.inner.append((name, inner, is_row))

    def encoded(self, value: Any, encoder: msgspec.json.Encoder = ENCODER) -> bytes | None:
        """Canonical bytes, or with an encoder of another order the same in that; None where they are not certain."""
        if not self._is_regular(value):
            return None
        data = encoder.encode(value)
        if _EXPONENTS.search(data) is None:
            return data
        *figures, rest = data.split(_ZERO)
        for before in figures:
            if before[before.rfind(b'"') + 1 :] not in self.figures:
                return None
        data = _ZERO_PLAINLY.join((*figures, rest))
        return data if _EXPONENTS.search(data) is None else None

    def _is_regular(self, value: Any) -> bool:
        for at in self._moments(value):
            if at is not None and not (at.microsecond and at.tzinfo is UTC):
                return False
        for held, inner, is_row in self._inner:
            found = held(value)
            if found and not (all(map(inner._is_regular, found)) if is_row else inner._is_regular(found)):
                return False
        return not (self.empty and any(self._empty(value)))


@cache
def direct(kind: type) -> Direct | None:
    """How values of a type are written directly; None where they are not."""
    if not issubclass(kind, msgspec.Struct) or hasattr(kind, "LATER"):
        return None
    config, struct = kind.__struct_config__, inspect.type_info(kind)
    is_other = config.omit_defaults or config.array_like or config.tag is not None
    if is_other or not isinstance(struct, inspect.StructType):
        return None
    made = Direct(struct)
    return None if made.figures & made.texts else made


def _is_of_texts(enum: type[Enum]) -> bool:
    return all(isinstance(each.value, str) for each in enum)


def _getter(paths: list[str]) -> _Got:
    """What stands at these paths of a value."""
    if not paths:
        return lambda _: ()
    return attrgetter(*paths, paths[0])  # of one path alone it would not give a tuple
