"""Every invariant can fail: a state that contradicts itself is never kept."""

from decimal import Decimal
from typing import Any

import pytest
from msgspec.structs import replace

from engine.account import Account
from engine.events import FillVoided, MarkedToMarket, PositionIncreased, PositionOpened
from engine.evolve import evolve
from engine.invariants import InvariantBroken, check, invariant
from tests.support.ledger_page import (
    MARKET,
    NOW,
    Page,
    close_long,
    given,
    later,
    mark,
    open_long,
    opened,
    priced,
    unpriced,
)

KEY = ("SOL-USD", "long")


@pytest.fixture
def page() -> Page:
    return given(opened(), open_long("SOL-USD", 10), priced("SOL-USD", 110), mark())


def broken(account: Account, **changes: Any) -> Account:
    return replace(account, **changes)


def test_a_sound_account_passes(page):
    check(page.account)
    invariant(True, "never said")


def test_an_invariant_says_what_is_broken():
    with pytest.raises(InvariantBroken, match="two and two"):
        invariant(False, "two and two")


@pytest.mark.parametrize("name", ["cash", "realized_pnl", "fees_paid", "adjustments"])
def test_money_out_of_nowhere(page, name):
    unit = Decimal("0.00000001")
    with pytest.raises(InvariantBroken, match="cash"):
        check(broken(page.account, **{name: getattr(page.account, name) + unit}))


@pytest.mark.parametrize("size", [Decimal(10) ** 20, -(Decimal(10) ** 20), Decimal("Infinity"), Decimal("NaN")])
def test_figures_that_the_tables_cannot_hold(page, size):
    with pytest.raises(InvariantBroken, match="beyond storage"):
        check(broken(page.account, high_watermark=size))


@pytest.mark.parametrize("name", ["quantity", "mark_notional"])
def test_positions_that_the_tables_cannot_hold(page, name):
    position = replace(page.account.positions[KEY], **{name: Decimal(10) ** 20})
    with pytest.raises(InvariantBroken, match="beyond storage"):
        check(broken(page.account, positions={KEY: position}))


@pytest.mark.parametrize(("name", "value"), [("quantity", 0), ("quantity", -1), ("entry_notional", -1)])
def test_positions_are_positive(page, name, value):
    position = replace(page.account.positions[KEY], **{name: Decimal(value)})
    with pytest.raises(InvariantBroken, match="not positive"):
        check(broken(page.account, positions={KEY: position}))


def test_a_position_stands_under_its_key(page):
    with pytest.raises(InvariantBroken, match="stands under"):
        check(broken(page.account, positions={("ETH-USD", "long"): page.account.positions[KEY]}))


def test_time_does_not_fall(page):
    event = page.events[0]
    with pytest.raises(InvariantBroken, match="lies before"):
        evolve(replace(page.account, last_at=NOW + later(1).by), event, NOW)


@pytest.mark.parametrize("name", ["cash", "equity"])
def test_a_mark_that_restates_another_balance(page, name):
    event = page.events[0]
    assert isinstance(event, MarkedToMarket)
    with pytest.raises(InvariantBroken, match="restates another balance"):
        evolve(page.account, replace(event, **{name: Decimal(1)}), NOW)


@pytest.mark.parametrize("name", ["cash", "equity"])
def test_a_position_that_restates_another_balance(page, name):
    page.when(open_long("SOL-USD", 1))
    event = page.events[-1]
    assert isinstance(event, PositionIncreased)
    with pytest.raises(InvariantBroken, match="restates another balance"):
        evolve(page.account, replace(event, **{name: Decimal(1)}), NOW)


def test_a_mark_that_leaves_a_position_out(page):
    event = page.events[0]
    assert isinstance(event, MarkedToMarket)
    with pytest.raises(InvariantBroken, match="leaves a position out"):
        evolve(page.account, replace(event, marks=()), NOW)


def test_a_decision_that_breaks_an_invariant_leaves_the_account_as_it_was(page, monkeypatch):
    """A figure that no table could hold is a defect by name, and nothing of it is kept."""
    before = page.book.state
    monkeypatch.setattr("engine.invariants.STORED_MAGNITUDE", Decimal(1_000))
    with pytest.raises(InvariantBroken, match="beyond storage"):
        page.when(mark())
    assert page.book.state == before


def test_a_void_to_flat_ends_a_stale_valuation(page):
    page.when(unpriced("SOL-USD"), mark())
    assert page.account.stale == (("SOL-USD", "price_missing"),)
    account = page.account
    event = FillVoided(
        reason="r",
        asked_fill_id="f",
        fill_ids=("f",),
        order_ids=("o",),
        restated_fills=(),
        positions=(),
        closed=(),
        gone=(),
        cash=account.starting_balance,
        equity=account.starting_balance,
        realized_pnl=Decimal(0),
        fees_paid=Decimal(0),
        high_watermark=account.high_watermark,
    )
    assert evolve(account, event, page.now).stale == ()
    kept = replace(
        event,
        positions=tuple(account.positions.values()),
        cash=account.cash,
        equity=account.equity,
        fees_paid=account.fees_paid,
    )
    assert evolve(account, kept, page.now).stale == account.stale


def test_nothing_else_is_touched():
    page = given(opened(), open_long("SOL-USD", 1))
    assert isinstance(page.events[-1], PositionOpened)
    assert set(MARKET) > {symbol for symbol, _ in page.account.positions}
    page.when(close_long("SOL-USD")).executed()
