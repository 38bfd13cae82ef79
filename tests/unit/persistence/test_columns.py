"""Rows as texts: what Postgres is given for values that hold what its formats give a meaning."""

import pytest

from persistence.columns import array_texts, columns, copy_text, parameter

SHAPE = columns("things", "name body", "id uuid, name text, body jsonb, hash bytea, note numeric")
JSON = '{"a":"tab\\t, line\\n, quote\\" and \\\\"}'
ROWS = [
    ("1", 'a "b" \\ {c},\n', JSON, "\\x00ff", None),
    ("2", "plain", "null", "\\x", "0E-8"),
    ("3", None, None, "\\x", "1"),
]


def test_a_column_is_an_array_literal_and_json_is_lines() -> None:
    assert array_texts(SHAPE, ROWS) == [
        "{1,2,3}",
        '{"a \\"b\\" \\\\ {c},\n","plain",NULL}',
        f"{JSON}\nnull\nNULL",
        '{"\\\\x00ff","\\\\x","\\\\x"}',
        "{NULL,0E-8,1}",
    ]


def test_no_rows_are_empty_arrays() -> None:
    assert array_texts(SHAPE, []) == ["{}", "{}", "", "{}", "{}"]


@pytest.mark.parametrize(
    ("type_", "sql"),
    [("uuid", "$1::uuid[]"), ("jsonb", "string_to_array($1, E'\\n', 'NULL')::jsonb[]")],
)
def test_what_makes_an_array_of_a_text(type_: str, sql: str) -> None:
    assert parameter(type_).format("$1") == sql


def test_copy_escapes_what_it_gives_a_meaning() -> None:
    assert copy_text(SHAPE, ROWS).decode() == (
        f'1\ta "b" \\\\ {{c}},\\n\t{JSON.replace(chr(92), chr(92) * 2)}\t\\\\x00ff\t\\N\n'
        "2\tplain\tnull\t\\\\x\t0E-8\n"
        "3\t\\N\t\\N\t\\\\x\t1\n"
    )
