"""maxQuantity: the largest 8-decimal quantity that passes gates 11, 13, 14 and 15, to the last unit."""

import pytest

from engine.decision_context import decision_context
from engine.money import UNIT
from tests.support.ledger_page import (
    Opening,
    Step,
    decimal,
    given,
    mark,
    open_long,
    open_short,
    opened,
    pause,
    priced,
    quote,
    unpriced,
)

FAR_TOO_MUCH = "999999999999"
SITUATIONS: list[tuple[Opening, list[Step], str]] = [
    (opened(), [], "1"),
    (opened(fee_bps="2.5", max_notional=10**9), [], "9.98751560"),
    (opened(max_notional="0.00050049"), [], "0.00000001"),
    (opened(1_000, max_notional=10**9, slippage_model="fixed_bps", slippage_bps="7.77"), [], "0.09942523"),
    (opened(max_position_equity_ratio="0.33333333"), [], "0.66666666"),
    (opened(max_leverage="1.23456789"), [open_short("BTC-USD", "0.7")], "1"),
    (opened(max_notional=900), [priced("BTC-USD", "0.00000001")], "90000000000.50000000"),
    (opened(), [priced("BTC-USD", "0.00000007")], "714285714285.78571428"),
    (opened(), [priced("BTC-USD", "99999999999")], "0.00000050"),
]


@pytest.mark.parametrize(("opening", "past", "most"), SITUATIONS)
def test_the_largest_quantity_passes_and_one_unit_more_does_not(opening, past, most):
    ask = {"leverage": opening.create.policy.max_leverage}
    page = given(opening, *past).when(open_long(quantity=FAR_TOO_MUCH, **ask))
    said = page.result.max_quantity
    assert said == decimal(most)
    page.when(open_long(quantity=said + UNIT, **ask))
    assert page.result.status == "rejected"
    assert page.result.max_quantity == said
    page.when(open_long(quantity=said, **ask)).executed()


def test_there_is_none_where_not_even_a_unit_passes():
    page = given(opened(max_notional="0.00049999")).when(open_long(quantity="0.1"))
    page.rejected("notional_exceeds_maximum", max_quantity=None)


def test_there_is_none_without_equity():
    page = given(opened(1_000, fee_bps=0), open_long("SOL-USD", 50), priced("SOL-USD", 80))
    page.when(open_long(quantity="0.00000001"))
    assert page.result.max_quantity is None


def test_there_is_none_without_free_margin():
    page = given(opened(1_000), open_long("SOL-USD", "9.99000999", leverage=1), priced("SOL-USD", 90))
    page.when(open_long(quantity="0.0001", leverage=1))
    assert page.codes == ["insufficient_margin"]
    assert page.result.max_quantity is None


@pytest.mark.parametrize("other", [{"leverage": 6}, {"max_price": 1}])
def test_there_is_none_where_a_gate_fails_that_no_size_passes(other):
    page = given(opened()).when(open_long(quantity=2, **other))
    assert "notional_exceeds_maximum" in page.codes
    assert page.result.max_quantity is None


def test_there_is_none_for_a_reduction():
    page = given(opened(), open_long(quantity="0.1")).when(open_long("ETH-USD", 1, leverage=9))
    assert page.result.max_quantity is None


# ---------------------------------------------------------------- the same figure in the decision context


def capacity(page, symbol="BTC-USD", side="long"):
    symbols = decision_context(page.account, page.quotes, page.now).symbols
    found = next(each for each in symbols if each.symbol == symbol)
    return next(each for each in found.capacity if each.side == side)


def test_the_decision_context_shows_what_would_pass():
    page = given(opened(), open_long(quantity="0.4"))
    room = capacity(page, "ETH-USD", "short")
    page.when(open_short("ETH-USD", FAR_TOO_MUCH))
    assert room.max_quantity == page.result.max_quantity == decimal(25)
    assert (room.price, room.blocked_by) == (2_000, None)


@pytest.mark.parametrize(
    ("opening", "past", "code"),
    [
        (opened(), [pause()], "account_not_active"),
        (opened(allowed_directions=("long",)), [], "direction_not_allowed"),
        (opened(allow_hedging=False), [open_long("BTC-USD", "0.1")], "direction_not_allowed"),
        (opened(), [unpriced("BTC-USD")], "price_missing"),
        (opened(), [priced("BTC-USD", 50_000, age_ms=60_001)], "price_stale"),
        (opened(max_open_positions=1), [open_long("ETH-USD", "0.1")], "max_open_positions_exceeded"),
        (opened(1_000, fee_bps=0), [open_long("SOL-USD", 50), priced("SOL-USD", 80)], "aggregate_leverage_exceeded"),
        (opened(max_open_orders=0), [], "max_open_orders_exceeded"),
    ],
)
def test_the_decision_context_says_what_keeps_a_side_shut(opening, past, code):
    page = given(opening, *past)
    if code == "price_missing":
        page.quotes["BTC-USD"] = quote("BTC-USD", 0)
    room = capacity(page, side="short")
    assert (room.max_quantity, room.blocked_by) == (None, code)


def test_an_absurd_order_is_told_all_its_digits():
    """Twelve digits of quantity at twelve of price: the sum in the answer is exact all the same."""
    page = given(opened(), open_long(quantity="0.00000001"), priced("BTC-USD", "999999999999.99999999"))
    page.when(open_long(quantity="999999999999.99999999"))
    numbers = page.failures["position_equity_exceeded"]
    assert numbers["positionNotional"] == "999999999999999999990000.00000000"


def test_distance_to_liquidation():
    page = given(opened(), open_long(quantity="1"), priced("BTC-USD", 40_000), mark())
    distance = decision_context(page.account, page.quotes, page.now).liquidation_distance
    assert distance.liquidation_equity == 50_000
    assert distance.money == 39_950
    assert distance.per_cent == decimal("44.41356309")
