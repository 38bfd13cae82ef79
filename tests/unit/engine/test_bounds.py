"""Bounds: an opening is refused where it reaches one, and a price that would pass one is not believed."""

from typing import Any

import pytest
from msgspec.structs import replace

from engine import bounds
from engine.money import STORED_MAGNITUDE, UNIT
from tests.support.ledger_page import (
    MARKET,
    Page,
    Step,
    close_long,
    close_short,
    complete,
    given,
    liquidate,
    mark,
    open_long,
    open_short,
    opened,
    priced,
    reduce_long,
)

MOST_ASKED = "999999999999.99999999"
RICH: dict[str, Any] = {"max_notional": MOST_ASKED, "max_leverage": 1000, "fee_bps": 0}
BTC = "BTC-USD"


def rich(price: str) -> Page:
    return given(opened(MOST_ASKED, **RICH), priced(BTC, price))


def refused(page: Page, bound: str) -> dict[str, str | int | None]:
    assert page.codes == ["notional_exceeds_maximum"]
    numbers = page.failures["notional_exceeds_maximum"]
    assert numbers["bound"] == bound
    page.replays()
    return numbers


def test_a_fortune_at_the_smallest_price_is_too_many_units():
    """1e12 at 1e-8 are 1e20 units: two of them, and no table holds the position."""
    page = rich("0.00000001").when(open_long(notional=MOST_ASKED))
    numbers = refused(page, "position_quantity")
    assert numbers["actual"] == "99999999999999999999.00000000"
    assert numbers["limit"] == "10000000000000000.00000000"
    assert page.result.max_quantity == bounds.QUANTITY_MAGNITUDE - UNIT


def test_the_last_unit_below_the_quantity_passes_and_the_next_does_not():
    page = rich("0.00000001").when(open_long(notional="99999999.99999999")).executed()
    left = bounds.QUANTITY_MAGNITUDE - page.position().quantity
    page.when(open_long(quantity=left))
    assert refused(page, "position_quantity")["actual"] == "10000000000000000.00000000"
    assert page.result.max_quantity == left - UNIT
    page.when(open_long(quantity=left - UNIT)).executed()


def test_the_last_unit_below_the_cost_passes_and_the_next_does_not():
    page = rich("100")
    for _ in range(99):
        page.when(open_long(quantity=10**10 - 1)).executed()
    left = (bounds.NOTIONAL_MAGNITUDE - page.position().entry_notional) / 100
    page.when(open_long(quantity=left / 2)).executed()
    page.when(open_long(quantity=left / 2))
    assert refused(page, "position_cost")["actual"] == "100000000000000.00000000"
    page.when(open_long(quantity=left / 2 - UNIT)).executed()


def test_the_last_unit_below_the_value_at_the_ask_passes_and_the_next_does_not():
    """A short is filled at the bid and marked at the mid; at the ask it is closed, and worth the most."""
    page = given(opened(**RICH, slippage_model="spread"), priced(BTC, "0.00000001", ask=10**8))
    page.when(open_short(quantity=10**6))
    assert refused(page, "position_value")["actual"] == "100000000000000.00000000"
    assert page.result.max_quantity == 10**6 - UNIT
    page.when(open_short(quantity=10**6 - UNIT)).executed()


def test_what_an_account_ever_traded_stays_below_its_bound():
    page = rich("100").when(open_long(quantity=1), close_long())
    account = page.account
    traded = bounds.TRADED_MAGNITUDE - 100
    page.book.account = replace(account, tally=replace(account.tally, traded=traded))
    page.when(open_long(quantity=1))
    assert page.codes == ["notional_exceeds_maximum"]
    assert page.failures["notional_exceeds_maximum"]["bound"] == "account_traded"
    assert page.result.max_quantity == 1 - UNIT
    page.when(open_long(quantity=1 - UNIT)).executed()
    page.when(close_long()).executed()


# ---------------------------------------------------------------- a price that is not believed

HELD: list[Step] = [priced(BTC, "0.00000001"), open_long(notional=40_000)]
"""Four trillion units under the default policy."""
WILD = priced(BTC, 25)
"""Worth 1e14: one hundred trillion."""
JUST_BELIEVED = priced(BTC, "24.99999999")


def unbelieved(page: Page, symbol: str = BTC) -> None:
    page.rejected("price_missing")
    assert page.failures["price_missing"] == {"symbol": symbol, "reason": "out_of_range"}


@pytest.mark.parametrize("step", [close_long(), reduce_long(fraction="0.5"), open_long(quantity="0.1")])
def test_nothing_is_traded_at_a_price_that_is_not_believed(step):
    unbelieved(given(opened(), *HELD, WILD).when(step))
    given(opened(), *HELD, JUST_BELIEVED).when(close_long()).executed().replays()


@pytest.mark.parametrize("model", ["mid_price", "fixed_bps", "spread"])
def test_nor_where_only_the_ask_is_wild(model):
    """A short would be closed there: the mid may be as it was."""
    held: list[Step] = [priced(BTC, "0.00000001"), open_short(notional=40_000)]
    page = given(opened(slippage_model=model), *held, priced(BTC, "0.00000001", ask=10**11))
    unbelieved(page.when(close_short()))
    page.when(liquidate()).refused("price_missing", symbol=BTC, reason="out_of_range")
    page.when(complete()).refused("price_missing", symbol=BTC, reason="out_of_range")
    page.when(mark()).outcome("failed")


def test_another_position_is_traded_all_the_same():
    page = given(opened(), *HELD, WILD).when(open_long("ETH-USD", "0.1")).executed()
    page.when(close_long("ETH-USD")).executed().replays()


def test_the_other_side_of_a_symbol_is_traded_all_the_same():
    page = given(opened(), *HELD, WILD).when(open_short(BTC, "0.1")).executed()
    page.when(close_short()).executed().replays()


@pytest.mark.parametrize("slippage_bps", [0, 4_000])
def test_an_account_at_every_bound_can_be_ended(slippage_bps):
    """The most fees, the largest slippage, the wildest price that is believed."""
    limits: dict[str, Any] = {**RICH, "fee_bps": 10_000, "slippage_model": "fixed_bps", "slippage_bps": slippage_bps}
    page = given(opened(MOST_ASKED, **limits), priced(BTC, "0.00000001"))
    for symbol in MARKET:
        page.happens(priced(symbol, "0.00000001"), open_short(symbol, notional="70000000"))
    page.happens(*(priced(symbol, "0.01") for symbol in MARKET))
    assert len(page.account.positions) == len(MARKET)
    page.when(mark()).replays()
    assert page.account.status == "liquidated"
    assert abs(page.account.cash) < STORED_MAGNITUDE


def test_the_drawdown_of_almost_nothing_is_storable():
    """A loss of 1e12 against a start of 1e-8 is a share of 1e20: what is shown, and stored, ends just below."""
    page = given(opened(UNIT, fee_bps=0), priced(BTC, UNIT), open_short(quantity=5), priced(BTC, MOST_ASKED), mark())
    assert page.account.status == "liquidated"
    assert page.account.drawdown == STORED_MAGNITUDE - UNIT
