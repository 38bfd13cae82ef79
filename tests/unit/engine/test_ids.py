"""Ids: UUIDv7 in layout, made from arguments alone, never twice the same."""

from datetime import UTC, datetime, timedelta
from uuid import RFC_4122, UUID
from zoneinfo import ZoneInfo

from engine.ids import derived_id, uuid7
from tests.support.ledger_page import close_long, given, open_long, opened

AT = datetime(2026, 1, 5, 12, 0, 0, 123_999, tzinfo=UTC)


def test_layout():
    """RFC 9562, section 5.7: 48 bits of milliseconds, version, 12 bits, variant, 62 bits."""
    made = UUID(uuid7(AT, bytes(range(1, 11))))
    assert made.version == 7
    assert made.variant == RFC_4122
    assert made.int >> 80 == 1_767_614_400_123
    assert UUID(uuid7(AT, b"\xff" * 10)).int & ((1 << 80) - 1) == 0x7FFF_BFFF_FFFF_FFFF_FFFF
    assert UUID(uuid7(AT, bytes(10))).int & ((1 << 80) - 1) == 0x7000_8000_0000_0000_0000


def test_the_example_of_the_rfc():
    """RFC 9562, appendix A.6: 017F22E2-79B0-7CC3-98C4-DC0C0C07398F."""
    at = datetime(2022, 2, 22, 19, 22, 22, tzinfo=UTC)
    high, low = 0xCC3, 0x18C4DC0C0C07398F
    assert uuid7(at, (high << 68 | low).to_bytes(10, "big")) == "017f22e2-79b0-7cc3-98c4-dc0c0c07398f"


def test_the_same_arguments_make_the_same_id():
    assert derived_id("order", "acc", 7, AT) == derived_id("order", "acc", 7, AT)


def test_any_other_argument_makes_another_id():
    made = {
        derived_id(kind, account_id, seq, at)
        for kind in ("action", "order", "fill", "pass")
        for account_id in ("acc", "acc1")
        for seq in range(1, 300)
        for at in (AT, AT + timedelta(milliseconds=1))
    }
    assert len(made) == 4 * 2 * 299 * 2


def test_ids_sort_by_time():
    assert derived_id("fill", "z", 1, AT) < derived_id("action", "a", 9, AT + timedelta(milliseconds=1))


def test_what_an_action_makes_has_ids_of_its_own():
    page = given(opened()).when(open_long(quantity="0.1"), close_long())
    ids = [
        name
        for result in page.results
        if result.order and result.fill
        for name in (result.prop_action_id, result.order.id, result.fill.id)
    ]
    assert len(set(ids)) == 6
    assert {UUID(each).version for each in ids} == {7}
    again = given(opened()).when(open_long(quantity="0.1"), close_long())
    assert [result.prop_action_id for result in again.results] == [ids[0], ids[3]]


def test_a_moment_that_a_clock_set_back_shows_twice_is_two_moments():
    """Equal to Python where both are of one zone, an hour apart."""
    first = datetime(2026, 10, 25, 2, 30, tzinfo=ZoneInfo("Europe/Berlin"))
    second = first.replace(fold=1)
    assert UUID(uuid7(second, bytes(10))).int - UUID(uuid7(first, bytes(10))).int == 3_600_000 << 80
