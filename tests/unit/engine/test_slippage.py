"""The price an order gets: three models, both sides, always against the taker."""

import pytest

from tests.support.ledger_page import (
    Step,
    close_long,
    close_short,
    fill_booked,
    given,
    open_long,
    open_short,
    opened,
    order_validated,
    position_closed,
    position_opened,
    priced,
    reduce_short,
)

MARKET = priced("BTC-USD", 50_000, bid=49_990, ask=50_020)
MODELS = [
    # model, bps, price of a buy, price of a sale
    ("mid_price", 0, "50000", "50000"),
    ("mid_price", 4_000, "50000", "50000"),
    ("fixed_bps", 0, "50000", "50000"),
    ("fixed_bps", 5, "50025", "49975"),
    ("fixed_bps", 4_000, "70000", "30000"),
    ("spread", 5, "50020", "49990"),
]


@pytest.mark.parametrize(("model", "bps", "buy", "sale"), MODELS)
@pytest.mark.parametrize(
    ("opening", "closing", "buys_first"), [(open_long, close_long, True), (open_short, close_short, False)]
)
def test_buys_pay_more_and_sales_bring_less(model, bps, buy, sale, opening, closing, buys_first):
    """A long buys to open and sells to close, a short sells to open and buys to close."""
    page = given(opened(slippage_model=model, slippage_bps=bps, max_notional=10**6), MARKET)
    first, last = (buy, sale) if buys_first else (sale, buy)
    page.when(opening(quantity="0.1")).then(
        order_validated(price=first), fill_booked(price=first), position_opened(position={"mark_price": 50_000})
    )
    page.when(closing()).then(order_validated(price=last), fill_booked(price=last), position_closed())


def test_reducing_a_short_buys():
    page = given(opened(slippage_model="spread"), MARKET, open_short(quantity="0.2"))
    page.when(reduce_short(quantity="0.1"))
    assert page.result.fill is not None
    assert page.result.fill.price == 50_020


@pytest.mark.parametrize(
    ("mid", "bps", "buy", "sale"),
    [
        ("0.00000001", "4000", "0.00000001", "0.00000001"),  # never slips to zero
        ("0.00000005", "1000", "0.00000006", "0.00000004"),  # ties: 5.5 to 6, 4.5 to 4
        ("1", "0.00000001", "1", "1"),
        ("1", "0.0001", "1.00000001", "0.99999999"),
        ("100.00000005", "1", "100.01000005", "99.99000005"),
    ],
)
def test_slipped_prices_are_rounded_half_even(mid, bps, buy, sale):
    page = given(opened(slippage_model="fixed_bps", slippage_bps=bps), priced("SOL-USD", mid))
    steps: list[Step] = [open_long("SOL-USD", 1), open_short("SOL-USD", 1)]
    page.when(*steps)
    assert [f"{result.fill.price:f}" for result in page.results if result.fill] == [
        f"{float(price):.8f}" for price in (buy, sale)
    ]
