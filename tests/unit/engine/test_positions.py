"""Position math, figure by figure: opening, adding, taking off, fees, average entry, realized PnL, watermark."""

import pytest

from tests.support.ledger_page import (
    close_long,
    close_short,
    decimal,
    fill_booked,
    given,
    later,
    mark,
    open_long,
    open_short,
    opened,
    order_validated,
    position_closed,
    position_increased,
    position_opened,
    position_reduced,
    priced,
    reduce_long,
    reduce_short,
)


def test_opening_a_long():
    page = given(opened()).when(open_long(quantity="0.5", leverage=2))
    page.then(
        order_validated(
            symbol="BTC-USD",
            side="long",
            intent="open",
            quantity="0.5",
            leverage=2,
            price=50_000,
            equity=100_000,
            open_notional=0,
            free_margin=100_000,
            quote_age_ms=0,
        ),
        fill_booked(quantity="0.5", price=50_000, notional=25_000, fee=25, cost=0, realized_pnl=0, intent="open"),
        position_opened(
            cash=99_975,
            equity=99_975,
            high_watermark=100_000,
            position={
                "quantity": "0.5",
                "entry_notional": 25_000,
                "avg_entry_price": 50_000,
                "leverage": 2,
                "mark_price": 50_000,
                "mark_notional": 25_000,
                "unrealized_pnl": 0,
                "margin_used": 12_500,
                "realized_pnl": 0,
                "fees": 25,
                "opened_seq": 5,
                "closed_at": None,
            },
        ),
    )
    page.balance(cash=99_975, fees_paid=25, realized_pnl=0, margin_used=12_500, drawdown="0.00025")
    counters = page.account.counters
    assert (counters.actions, counters.executed, counters.orders, counters.fills, counters.rejected) == (1, 1, 1, 1, 0)


def test_adding_sums_costs_and_shows_an_average_rounded_once():
    page = given(opened(fee_bps=0), open_long("SOL-USD", 1), priced("SOL-USD", "100.00000001"))
    page.when(open_long("SOL-USD", 2)).then(
        order_validated(),
        fill_booked(notional="200.00000002", cost=0),
        position_increased(
            position={
                "quantity": 3,
                "entry_notional": "300.00000002",
                "avg_entry_price": "100.00000001",  # 100.0000000066...
                "mark_notional": "300.00000003",
                "unrealized_pnl": "0.00000001",
                "opened_seq": 5,
            },
            equity="100000.00000001",
            high_watermark="100000.00000001",
        ),
    )


def test_costs_are_shares_of_what_was_paid_and_not_of_the_average():
    page = given(opened(fee_bps=0), open_long("SOL-USD", 1), priced("SOL-USD", "100.00000001"), open_long("SOL-USD", 2))
    page.when(reduce_long("SOL-USD", 2))  # two thirds of 300.00000002; twice the average would be ...02
    page.then(order_validated(), fill_booked(cost="200.00000001", realized_pnl="0.00000001"), position_reduced())


@pytest.mark.parametrize(("asked", "taken"), [(2, 2), (None, 5)])
def test_adding_at_another_leverage_gives_the_whole_position_that_leverage(asked, taken):
    page = given(opened(), open_long(quantity="0.5", leverage=4)).when(open_long(quantity="0.5", leverage=asked))
    page.then(order_validated(leverage=taken), fill_booked(), position_increased(position={"leverage": taken}))
    page.balance(margin_used=decimal(50_000) / taken)


def test_an_episode_keeps_its_birth_and_collects_its_fees():
    page = given(opened(), later(1), open_long(quantity="0.1"), later(1), open_long(quantity="0.1"))
    position = page.position()
    assert (position.opened_at - page.account.created_at).total_seconds() == 1
    assert position.fees == 10
    page.when(reduce_long(fraction="0.5"))
    assert page.position().fees == 15
    assert page.position().opened_seq == position.opened_seq


@pytest.mark.parametrize(
    ("enter", "leave", "price", "gain"),
    [
        (open_long, close_long, 110, 10),
        (open_long, close_long, 90, -10),
        (open_short, close_short, 110, -10),
        (open_short, close_short, 90, 10),
    ],
)
def test_closing_realizes_the_gross_gain_and_pays_the_fee_apart(enter, leave, price, gain):
    page = given(opened(), enter("SOL-USD", 1), priced("SOL-USD", price)).when(leave("SOL-USD"))
    fee = decimal(price) / 1_000
    left = decimal("99999.9") + gain - fee
    page.then(
        order_validated(intent="close", quantity=1),
        fill_booked(notional=price, cost=100, realized_pnl=gain, fee=fee),
        position_closed(
            position={
                "quantity": 0,
                "entry_notional": 0,
                "avg_entry_price": 100,
                "realized_pnl": gain,
                "closed_at": page.now,
                "mark_notional": 0,
                "unrealized_pnl": 0,
            },
            cash=left,
            equity=left,
        ),
    )
    page.balance(cash=left, realized_pnl=gain, fees_paid=decimal("0.1") + fee, margin_used=0, unrealized_pnl=0)
    assert page.account.positions == {}


@pytest.mark.parametrize(("enter", "leave", "gain"), [(open_long, reduce_long, "5"), (open_short, reduce_short, "-5")])
def test_a_partial_reduction_takes_its_share_of_the_cost(enter, leave, gain):
    page = given(opened(fee_bps=0), enter("SOL-USD", 2), priced("SOL-USD", 110)).when(leave("SOL-USD", "0.5"))
    page.then(
        order_validated(intent="reduce"),
        fill_booked(notional=55, cost=50, realized_pnl=gain),
        position_reduced(
            position={"quantity": "1.5", "entry_notional": 150, "avg_entry_price": 100, "closed_at": None}
        ),
    )
    page.balance(realized_pnl=gain, unrealized_pnl=3 * decimal(gain))


@pytest.mark.parametrize(
    ("held", "price", "taken", "cost"),
    [
        # entry notional 0.00000001: a half of it is a tie and goes to the even zero
        ("0.00000002", "0.50000000", "0.00000001", "0"),
        # 0.00000003 / 2 is 1.5 units, a tie that goes up to the even 2
        ("0.00000002", "1.5", "0.00000001", "0.00000002"),
        # 0.00000005 / 2 is 2.5 units, a tie that goes down to the even 2
        ("0.00000002", "2.5", "0.00000001", "0.00000002"),
        # a third, just under and just over a half
        ("3", "0.00000004", "1", "0.00000004"),
        ("0.00000003", "1.33333333", "0.00000001", "0.00000001"),
        ("0.00000003", "1.66666667", "0.00000002", "0.00000003"),
    ],
)
def test_the_cost_of_a_part_is_rounded_half_even(held, price, taken, cost):
    page = given(opened(fee_bps=0), priced("SOL-USD", price), open_long("SOL-USD", held))
    entry = page.position("SOL-USD").entry_notional
    page.when(reduce_long("SOL-USD", taken)).then(order_validated(), fill_booked(cost=cost), position_reduced())
    page.when(close_long("SOL-USD"))
    page.then(order_validated(), fill_booked(cost=entry - decimal(cost)), position_closed())


@pytest.mark.parametrize(
    ("quantity", "price", "notional", "fee"),
    [
        ("0.00000001", "0.5", "0", "0"),
        ("0.00000003", "0.5", "0.00000002", "0"),
        ("0.00000005", "0.5", "0.00000002", "0"),
        ("0.00000001", "0.50000001", "0.00000001", "0"),
        ("1", "0.000005", "0.000005", "0"),  # fee 0.5 units: tie to even 0
        ("1", "0.000015", "0.000015", "0.00000002"),  # fee 1.5 units: tie to even 2
        ("1", "0.00001501", "0.00001501", "0.00000002"),
        ("1", "0.000025", "0.000025", "0.00000002"),  # fee 2.5 units: tie to even 2
    ],
)
def test_notional_and_fee_are_rounded_half_even(quantity, price, notional, fee):
    page = given(opened(), priced("SOL-USD", price)).when(open_long("SOL-USD", quantity))
    page.then(order_validated(), fill_booked(notional=notional, fee=fee), position_opened())
    page.balance(cash=100_000 - decimal(fee))


@pytest.mark.parametrize(
    ("fraction", "quantity"),
    [
        ("0.5", "0.00000001"),  # 1.5 units, down
        ("0.99999999", "0.00000002"),  # 2.9 units, down
        ("0.66666667", "0.00000002"),
        ("0.66666666", "0.00000001"),
    ],
)
def test_a_fraction_is_rounded_down(fraction, quantity):
    page = given(opened(), open_long(quantity="0.00000003")).when(reduce_long(fraction=fraction))
    page.then(order_validated(quantity=quantity, intent="reduce"), fill_booked(quantity=quantity), position_reduced())


def test_fraction_one_is_the_whole():
    page = given(opened(), open_long(quantity="0.33333333")).when(reduce_long(fraction=1))
    page.then(order_validated(quantity="0.33333333"), fill_booked(), position_closed())


@pytest.mark.parametrize(
    ("notional", "quantity"), [(1_000, "0.02"), ("999.9999", "0.01999999"), ("0.00099999", "0.00000001")]
)
def test_a_notional_buys_a_quantity_rounded_down(notional, quantity):
    given(opened()).when(open_long(notional=notional)).then(
        order_validated(quantity=quantity), fill_booked(), position_opened()
    )


def test_a_notional_is_spent_at_the_fill_price():
    page = given(opened(slippage_model="fixed_bps", slippage_bps=5)).when(open_long(notional=10_005))
    page.then(order_validated(quantity="0.2"), fill_booked(notional=10_005), position_opened())


def test_a_fill_revalues_only_its_own_position_at_the_mid():
    page = given(
        opened(fee_bps=0, slippage_model="spread"),
        open_long("SOL-USD", 10),
        open_long("ETH-USD", 1),
        priced("SOL-USD", 110, bid=108, ask=112),
        priced("ETH-USD", 2_500),
    )
    page.when(open_long("SOL-USD", 10)).then(
        order_validated(equity=100_600, open_notional=3_600),  # the gates saw both at current quotes
        fill_booked(price=112),
        position_increased(
            position={"mark_price": 110, "mark_notional": 2_200, "entry_notional": 2_120}, equity=100_080
        ),
    )
    eth = page.position("ETH-USD")
    assert eth.mark_price == 2_000
    assert eth.unrealized_pnl == 0
    page.when(mark()).balance(equity=100_580)


def test_the_watermark_rises_at_fills_and_at_marks_and_never_falls():
    page = given(opened(fee_bps=0), open_long("SOL-USD", 10)).balance(high_watermark=100_000)
    page.when(priced("SOL-USD", 120)).balance(high_watermark=100_000, equity=100_000)
    page.when(mark()).balance(high_watermark=100_200)
    page.when(priced("SOL-USD", 130), reduce_long("SOL-USD", 1)).balance(high_watermark=100_300, equity=100_300)
    page.when(priced("SOL-USD", 50), mark()).balance(high_watermark=100_300, equity=99_580)
    page.when(close_long("SOL-USD")).balance(high_watermark=100_300, cash=99_580)


@pytest.mark.parametrize(
    ("price", "drawdown"), [(100, "0"), (200, "0"), (90, "0.1"), ("99.99999995", "0"), ("99.99999985", "0")]
)
def test_drawdown_is_the_share_of_the_starting_balance_that_is_gone(price, drawdown):
    page = given(opened(1_000, fee_bps=0), open_long("SOL-USD", 10), priced("SOL-USD", price)).when(mark())
    page.balance(drawdown=drawdown)


def test_drawdown_can_pass_one():
    page = given(opened(1_000, fee_bps=0, max_drawdown=1), open_long("SOL-USD", 50))
    page.when(priced("SOL-USD", 70), mark()).outcome("liquidated").balance(drawdown="1.5", equity=-500, cash=-500)


def test_long_and_short_of_a_symbol_are_two_positions():
    page = given(opened(fee_bps=0), open_long("SOL-USD", 10), open_short("SOL-USD", 4), priced("SOL-USD", 110), mark())
    assert page.position("SOL-USD", "long").unrealized_pnl == 100
    assert page.position("SOL-USD", "short").unrealized_pnl == -40
    page.balance(equity=100_060, unrealized_pnl=60, margin_used=308)
    page.when(close_short("SOL-USD")).balance(realized_pnl=-40)
    assert list(page.account.positions) == [("SOL-USD", "long")]
