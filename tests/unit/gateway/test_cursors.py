"""Cursors: good for the list that gave them, for no other, and never forged."""

import base64
from datetime import UTC, datetime

import pytest

from gateway.cursors import Cursors
from gateway.problems import Problem
from persistence.queries import AccountKey

CURSORS = Cursors(b"0123456789abcdef")
KEY = (datetime(2026, 1, 2, 3, 4, 5, 6, tzinfo=UTC), "0190-id")


def refused(cursor: str, listing: str = "orders", scope: tuple[str | None, ...] = ("account",)) -> str:
    with pytest.raises(Problem) as found:
        CURSORS.read(cursor, listing, scope, int)
    return found.value.code


def test_a_cursor_gives_its_key_back():
    assert CURSORS.read(CURSORS.write("orders", ("account",), 42), "orders", ("account",), int) == 42
    key_type: type[AccountKey] = AccountKey  # type: ignore[assignment]
    assert CURSORS.read(CURSORS.write("accounts", (None,), KEY), "accounts", (None,), key_type) == KEY


def test_a_cursor_of_another_list_is_invalid():
    cursor = CURSORS.write("orders", ("account",), 42)
    assert refused(cursor, "fills") == "invalid_cursor"
    assert refused(cursor, scope=("other",)) == "invalid_cursor"
    assert refused(cursor, scope=("account", None)) == "invalid_cursor"
    assert refused(CURSORS.write("orders", ("account",), "text")) == "invalid_cursor"
    assert refused(Cursors(b"another secret..").write("orders", ("account",), 42)) == "invalid_cursor"


def test_scopes_do_not_run_into_each_other():
    cursor = CURSORS.write("orders", ("ab", "c"), 42)
    assert refused(cursor, scope=("a", "bc")) == "invalid_cursor"
    assert refused(cursor, scope=("ab", "c", None)) == "invalid_cursor"


@pytest.mark.parametrize(
    "cursor", ["", "a", "=", "====", "é", "\0", "' or 1=1", "A" * 2_000, base64.urlsafe_b64encode(bytes(64)).decode()]
)
def test_what_is_no_cursor_is_invalid(cursor: str):
    assert refused(cursor) == "invalid_cursor"


def test_no_bit_of_a_cursor_can_be_changed():
    whole = base64.urlsafe_b64decode(CURSORS.write("orders", ("account",), 42) + "==")
    for place in range(len(whole)):
        forged = whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :]
        assert refused(base64.urlsafe_b64encode(forged).rstrip(b"=").decode()) == "invalid_cursor"
