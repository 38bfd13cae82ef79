"""Standings: one price vector for all, and a defined answer where there is none."""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import msgspec

from engine.standings import Pass, PassMark, Racer, common_pass, ranked

BEGIN = datetime(2026, 1, 5, tzinfo=UTC)


def racer(name: str, equity: int = 100, **more: Any) -> Racer:
    given = {"owner_id": "o", "clone_id": "c", "status": "active", "starting_balance": Decimal(100), "account_seq": 9}
    return Racer(**{**given, "id": name, "equity": Decimal(equity), **more})


def marks(*equities: tuple[int, int]) -> list[PassMark]:
    """(number of the pass, equity) of one account's marks, newest first."""
    return [
        PassMark(pass_id=f"p{number}", at=moment(number), order=number, equity=Decimal(equity))
        for number, equity in equities
    ]


def moment(number: int) -> datetime:
    return BEGIN + timedelta(seconds=number)


def holding(*names: str) -> Any:
    return lambda account_id, at: account_id in names


def test_the_newest_pass_in_which_everybody_was_marked():
    seen = {"a": marks((3, 1), (2, 1), (1, 1)), "b": marks((2, 5), (1, 5))}
    assert common_pass([racer("a"), racer("b")], seen, holding("a", "b")) == Pass("p2", moment(2))


def test_the_newest_is_the_last_to_commit_whatever_the_clock_said():
    set_back = [PassMark(pass_id="p0", at=moment(1), order=9, equity=Decimal(7)), *marks((2, 1), (1, 1))]
    assert common_pass([racer("a")], {"a": set_back}, holding("a")) == Pass("p0", moment(1))
    restored = [msgspec.structs.replace(mark, order=0) for mark in marks((2, 1), (1, 1))]
    assert common_pass([racer("a")], {"a": restored}, holding("a")) == Pass("p2", moment(2))


def test_who_held_nothing_needs_no_mark():
    seen = {"a": marks((3, 1), (2, 1))}
    assert common_pass([racer("a"), racer("b")], seen, holding("a")) == Pass("p3", moment(3))
    assert common_pass([racer("a"), racer("b")], seen, holding("a", "b")) is None


def test_only_the_running_are_waited_for():
    ended: Iterable[Any] = ("completed", "liquidated", "locked", "pending")
    racers = [racer("a"), *(racer(status, status=status) for status in ended)]
    assert common_pass(racers, {"a": marks((1, 1))}, lambda *_: True) == Pass("p1", moment(1))


def test_each_is_valued_as_its_state_says():
    racers = [
        racer("marked", equity=999),
        racer("flat", equity=888),
        racer("never", equity=777),
        racer("paused", equity=666, status="paused"),
        racer("locked", equity=90, status="locked"),
        racer("ended", equity=150, status="liquidated"),
        racer("pending", equity=100, status="pending"),
    ]
    seen = {"marked": marks((2, 1), (1, 120)), "paused": marks((1, 80))}
    found = ranked(racers, seen, Pass("p1", moment(1)), {"flat": Decimal(110)})
    assert [(each.rank, each.account_id, int(each.equity), each.basis) for each in found] == [
        (1, "ended", 150, "final"),
        (2, "marked", 120, "pass"),
        (3, "flat", 110, "flat"),
        (4, "never", 100, "flat"),
        (5, "pending", 100, "pending"),
        (6, "locked", 90, "last"),
        (7, "paused", 80, "pass"),
    ]
    assert found[0].total_return == Decimal("0.5")


def test_without_a_common_pass_each_stands_at_its_last():
    found = ranked([racer("a", equity=7), racer("b", equity=8)], {"a": marks((1, 1))}, None, {})
    assert [(each.account_id, int(each.equity), each.basis) for each in found] == [("b", 8, "last"), ("a", 7, "last")]
