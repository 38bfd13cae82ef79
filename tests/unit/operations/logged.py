"""What the code logs, read from its source: events with their levels and fields."""

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

ROOT: Final = Path(__file__).parents[3]
PACKAGES: Final = ("engine", "persistence", "actors", "gateway")
LOGGERS: Final = ("log", "_log")
LEVELS: Final = {"exception": "error"}


class Logged(NamedTuple):
    """One place that logs. `event` is None where it is no plain text, `fields` has None where they are not named."""

    place: str
    event: str | None
    level: str
    fields: tuple[str | None, ...]


def logged() -> Iterator[Logged]:
    """Every place."""
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.Call) and (level := _level(node)) is not None:
                    event = node.args[0].value if node.args and isinstance(node.args[0], ast.Constant) else None
                    place = f"{path.relative_to(ROOT)}:{node.lineno}"
                    fields = tuple(each.arg for each in node.keywords if each.arg != "exc_info")
                    yield Logged(place, event if isinstance(event, str) else None, LEVELS.get(level, level), fields)


def _level(call: ast.Call) -> str | None:
    function = call.func
    if isinstance(function, ast.Attribute) and isinstance(function.value, ast.Name) and function.value.id in LOGGERS:
        return function.attr
    return None
