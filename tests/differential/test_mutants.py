"""The comparison notices a rule that is off by one unit: each of these makes the exact engine wrong by that much."""

from collections.abc import Callable
from typing import Any

import pytest

from engine import drawdown, money, positions, quotes
from engine.exposure import Room
from engine.money import EXACT, UNIT
from engine.rules import Goal
from tests.differential.compared import compared

SEEDS_MAX = 20
pytestmark = pytest.mark.timeout(300)  # the kernel may have to be compiled, on a machine that others use

Mutant = tuple[object, str, Callable[..., Any]]


MUTANTS: dict[str, list[Mutant]] = {
    "gate 7 at the age itself": [
        (quotes, "is_fresh", lambda quote, now, age: -5_000 <= quotes.age_ms(quote, now) < age)
    ],
    "gate 11 at the limit itself": [(Room, "within_notional", lambda room, order: order < room.policy.max_notional)],
    "gate 13 at the limit itself": [
        (
            Room,
            "within_aggregate",
            lambda room, order: (
                room.valuation.equity > 0 and room.valuation.open_notional + order + UNIT <= room.aggregate_limit
            ),
        )
    ],
    "gate 14 at the limit itself": [
        (Room, "within_position", lambda room, order: room.held_notional + order + UNIT <= room.position_limit)
    ],
    "gate 15 at the limit itself": [
        (Room, "within_margin", lambda room, order: room.margin_needed(order) + UNIT <= room.valuation.free_margin)
    ],
    "a goal met exactly": [(Goal, "is_reached_at", lambda goal, equity: equity > goal.goal)],
    "a fee rounded down": [
        (money, "fee", lambda order, bps: money.floor8(EXACT.multiply(order, bps).scaleb(-4, EXACT)))
    ],
    "a cost rounded down": [
        (
            positions,
            "portion",
            lambda amount, part, whole: money.floor8(EXACT.divide(EXACT.multiply(amount, part), whole)),
        )
    ],
    "a notional rounded down": [
        (module, name, lambda quantity, price: money.floor8(EXACT.multiply(quantity, price)))
        for module, name in ((money, "notional"), (positions, "notional"), (drawdown, "notional"))
    ],
}


@pytest.mark.parametrize("name", MUTANTS)
def test_a_mutant_is_noticed(name: str, monkeypatch: pytest.MonkeyPatch):
    for owner, attribute, mutated in MUTANTS[name]:
        monkeypatch.setattr(owner, attribute, mutated)
    assert any(compared(seed, accounts=16, ticks=30).differences for seed in range(SEEDS_MAX))
