"""Values of the engine are outside the garbage collector's care, all of them."""

import importlib
import pkgutil
from collections.abc import Iterator

import msgspec

import engine


def structs() -> Iterator[type[msgspec.Struct]]:
    for module in pkgutil.walk_packages(engine.__path__, "engine."):
        for value in vars(importlib.import_module(module.name)).values():
            if isinstance(value, type) and issubclass(value, msgspec.Struct) and value.__module__ == module.name:
                yield value


def test_no_value_is_looked_at_for_cycles():
    """They are frozen and hold only values, so none can be part of a cycle; and there are millions of them."""
    found = list(structs())
    assert len(found) > 50
    assert [struct.__name__ for struct in found if struct.__struct_config__.gc] == []
