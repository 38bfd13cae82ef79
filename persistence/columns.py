"""Columns: the shape of rows, and rows as texts that Postgres reads: COPY's format, or one text a column for `unnest`.

A row is a tuple of Postgres text values, None for null. JSON in canonical form holds no line break, so a column of it
goes as lines and is not quoted; other columns go as array literals, quoted only where they may hold any text.

What no text can hold (a lone surrogate) is raised as `UnicodeEncodeError`.
"""

from collections.abc import Iterable, Sequence
from typing import Final

import msgspec

Row = tuple[str | None, ...]

NULL: Final = "NULL"
"""As an array literal has it, and lines of JSON, whose own is `null`."""


class Columns(msgspec.Struct, frozen=True):
    """A table's columns in row order, as (name, type). Those at `escaped` may hold what the formats give a meaning."""

    table: str
    columns: tuple[tuple[str, str], ...]
    escaped: frozenset[int]

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(name for name, _ in self.columns)


def columns(table: str, free: str, columns: str) -> Columns:
    """From `name type, ...`; `free` names the columns that may hold any text. A bytea begins with a backslash."""
    pairs = [(name, type_) for name, type_ in (column.split() for column in columns.split(","))]
    escaped = (place for place, (name, type_) in enumerate(pairs) if name in free.split() or type_ == "bytea")
    return Columns(table, tuple(pairs), frozenset(escaped))


def parameter(type_: str) -> str:
    """The SQL that makes an array of a column's text, `{}` in the place of the parameter."""
    if type_ == "jsonb":
        return f"string_to_array({{}}, E'\\n', '{NULL}')::jsonb[]"
    return f"{{}}::{type_}[]"


def array_texts(shape: Columns, rows: Sequence[Row]) -> list[str]:
    """The rows as one text a column, as `parameter` takes them."""
    if not rows:
        return ["" if type_ == "jsonb" else "{}" for _, type_ in shape.columns]
    return [
        _lines(column) if type_ == "jsonb" else _array(column, type_, is_free=place in shape.escaped)
        for place, ((_, type_), column) in enumerate(zip(shape.columns, zip(*rows, strict=True), strict=True))
    ]


def _lines(column: Row) -> str:
    return "\n".join(_present(column))


def _array(column: Row, type_: str, *, is_free: bool) -> str:
    if type_ == "bytea":  # hex digits behind a backslash, which has to be doubled
        return "{" + ",".join([f'"\\{text}"' for text in column]) + "}"
    return "{" + ",".join([_quoted(text) for text in column] if is_free else _present(column)) + "}"


def _present(column: Row) -> Iterable[str]:
    return [NULL if text is None else text for text in column]


def _quoted(text: str | None) -> str:
    if text is None:
        return NULL
    if "\\" in text or '"' in text:
        text = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{text}"'


def copy_text(shape: Columns, rows: Sequence[Row]) -> bytes:
    """The rows in COPY's text format."""
    columns = zip(*rows, strict=True)
    texts = [
        _copied(column, type_, is_free=place in shape.escaped)
        for place, ((_, type_), column) in enumerate(zip(shape.columns, columns, strict=True))
    ]
    return ("\n".join(map("\t".join, zip(*texts, strict=True))) + "\n").encode()


def _copied(column: Row, type_: str, *, is_free: bool) -> Iterable[str]:
    if not is_free:
        return ["\\N" if text is None else text for text in column]
    if type_ == "jsonb" or type_ == "bytea":  # which hold neither line break nor tab
        return ["\\N" if text is None else text.replace("\\", "\\\\") for text in column]
    return ["\\N" if text is None else _copy_escaped(text) for text in column]


def _copy_escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace("\n", "\\n").replace("\r", "\\r").replace("\t", "\\t")
