"""Marks and liquidation: what a price may do to an account, and what no price must not."""

import random
from datetime import timedelta
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from engine.account import Account, Counters
from engine.drawdown import in_order
from engine.policy import MaxDailyLoss, TrailingDrawdown
from engine.quotes import observed
from engine.views import snapshot_view
from tests.support.ledger_page import (
    NOW,
    Step,
    account_completed,
    account_liquidated,
    ages,
    close_long,
    close_short,
    complete,
    decimal,
    fill_booked,
    given,
    later,
    liquidate,
    liquidation_triggered,
    lock,
    mark,
    mark_to_market,
    mark_to_market_failed,
    open_long,
    open_short,
    opened,
    order_validated,
    pause,
    position_closed,
    position_opened,
    priced,
    unpriced,
)

BAD_QUOTES: list[tuple[Step, str]] = [
    (unpriced("SOL-USD"), "price_missing"),
    (priced("SOL-USD", 0), "price_missing"),
    (priced("SOL-USD", 1, bid=0), "price_missing"),
    (priced("SOL-USD", -1), "price_missing"),
    (priced("SOL-USD", 1, bid=2, ask="1.99999999"), "price_missing"),
    (priced("SOL-USD", 1, bid="1.00000001", ask=2), "price_missing"),
    (priced("SOL-USD", "NaN", bid=1, ask=1), "price_missing"),
    (priced("SOL-USD", 1, ask="NaN"), "price_missing"),
    (priced("SOL-USD", 1, age_ms=120_001), "price_stale"),
    (priced("SOL-USD", 1, age_ms=-5_001), "price_stale"),
]
"""A price of 1 would liquidate, were it believed."""

CLOSED = (order_validated(intent="liquidate", action=None, prop_action_id=None), fill_booked(), position_closed())


def test_a_mark_values_every_position_at_the_mid():
    page = given(opened(fee_bps=0), open_long("SOL-USD", 10), open_short("ETH-USD", 1), later(1))
    page.when(priced("SOL-USD", 110, bid=109, ask=112), priced("ETH-USD", 2_050), mark("pass-7"))
    page.outcome("marked").then(
        mark_to_market(
            pass_id="pass-7",
            cash=100_000,
            unrealized_pnl=50,
            equity=100_050,
            high_watermark=100_050,
            marks=[
                {"symbol": "ETH-USD", "side": "short", "price": 2_050, "unrealized_pnl": -50, "source": "test"},
                {"symbol": "SOL-USD", "side": "long", "price": 110, "unrealized_pnl": 100, "observed_at": page.now},
            ],
        )
    )
    page.balance(cash=100_000, equity=100_050, high_watermark=100_050)
    assert page.position("SOL-USD").marked_at == page.now
    assert page.account.counters.marks == 1


def test_a_mark_revalues_the_rows_of_all_that_is_open_and_of_nothing_closed():
    page = given(opened(fee_bps=0), open_long("ETH-USD", 1), close_long("ETH-USD"), open_long("SOL-USD", 10), later(1))
    page.when(priced("SOL-USD", 110), mark())
    assert page.entry is not None
    (row,) = page.entry.changes.positions
    assert (row.view.symbol, row.mark_notional, row.view.unrealized_pnl) == ("SOL-USD", decimal(1_100), decimal(100))
    assert row.view.marked_at == page.now


def test_a_flat_account_is_flat_and_writes_nothing():
    page = given(opened(), unpriced("BTC-USD")).when(mark())
    page.outcome("flat").then()


@pytest.mark.parametrize(("market", "code"), BAD_QUOTES)
def test_a_bad_quote_marks_nothing_and_liquidates_nobody(market: Step, code):
    page = given(opened(1_000), open_long("SOL-USD", 40), open_long("ETH-USD", "0.1"))
    before = page.account
    page.when(later(1), priced("ETH-USD", 9_000), market, mark()).outcome("failed")
    page.then(mark_to_market_failed(pass_id="pass-1", failures=[{"code": code, "context": {"symbol": "SOL-USD"}}]))
    page.balance(cash=before.cash, equity=before.equity, high_watermark=before.high_watermark)
    assert page.account.positions == before.positions
    assert page.account.status == "active"
    assert snapshot_view(page.account).valuation == "stale"


IF_CHANGED = mark("quiet", unless_unchanged=True)


def test_a_mark_that_would_change_nothing_need_not_be_written():
    page = given(opened(), open_long("SOL-USD", 10), open_short("ETH-USD", 1), priced("SOL-USD", 110), mark())
    page.when(later(1), IF_CHANGED).outcome("marked").then()
    page.when(priced("SOL-USD", 110, bid=109, ask=111), priced("BTC-USD", 1), IF_CHANGED).outcome("marked").then()
    page.when(priced("ETH-USD", "2000.00000001"), IF_CHANGED).outcome("marked").then(mark_to_market())
    page.when(mark()).then(mark_to_market())  # where it was not asked for, each is written


def test_a_mark_at_old_prices_is_written_where_the_valuation_was_stale():
    page = given(opened(), open_long("SOL-USD", 1), unpriced("SOL-USD"), mark(), priced("SOL-USD", 100))
    page.when(IF_CHANGED).outcome("marked").then(mark_to_market())
    assert snapshot_view(page.account).valuation == "full"


def test_rules_are_judged_though_no_price_has_changed():
    """The fee alone has taken the account to its floor, which only a mark looks at."""
    page = given(opened(10_000, max_drawdown="0.001"), open_long("SOL-USD", 200))
    page.when(IF_CHANGED).outcome("liquidated").then(liquidation_triggered(), *CLOSED, account_liquidated())


@pytest.mark.parametrize("seed", range(8))
def test_an_account_is_the_same_whether_unchanged_marks_are_written_or_not(seed: int):
    chance = random.Random(seed)
    rules: dict[str, Any] = {
        "trailing_drawdown": TrailingDrawdown(mode="intraday_equity", fraction=Decimal("0.02")),
        "max_daily_loss": MaxDailyLoss(of="equity", fraction=Decimal("0.012")),
    }
    every, changed = (given(opened(**rules), open_long("SOL-USD", 300), open_short("ETH-USD", 10)) for _ in range(2))
    mids = {"SOL-USD": 100, "ETH-USD": 2_000}
    for _ in range(60):
        mids |= {"SOL-USD": chance.randint(98, 101)} if chance.random() < 0.2 else {}
        mids |= {"ETH-USD": chance.randint(1_990, 2_010)} if chance.random() < 0.2 else {}
        steps: list[Step] = [
            later(chance.choice((1, 60, 40_000))),
            *(priced(symbol, mid) for symbol, mid in mids.items()),
        ]
        if every.account.is_terminal:
            break
        every.when(*steps, mark())
        changed.when(*steps, IF_CHANGED)
        assert _but_for_times(changed.account) == _but_for_times(every.account)
    assert len(changed.ledger) < len(every.ledger)
    changed.replays()


def _but_for_times(account: Account) -> object:
    """What an account is worth, may do, and is remembered for, at its last event or long after."""
    at, midnight = NOW + timedelta(days=365), NOW
    curve = account.curve.at(at, account.equity) if account.curve else None
    positions = {key: replace(each, marked_at=midnight, opened_at=midnight) for key, each in account.positions.items()}
    return (
        snapshot_view(
            replace(account, seq=0, last_at=midnight, ended_at=None, counters=Counters(), positions=positions)
        ),
        account.day_at(at),
        curve,
        account.tally,
    )


@pytest.mark.parametrize(("market", "code"), BAD_QUOTES)
@pytest.mark.parametrize("ending", [complete(), liquidate()])
def test_ending_needs_every_price_and_else_changes_nothing(market: Step, code, ending: Step):
    page = given(opened(1_000), open_long("SOL-USD", 40), open_long("ETH-USD", "0.1"), market)
    before = page.account
    page.when(ending).refused(code)
    assert page.refusal is not None
    assert page.refusal.context["symbol"] == "SOL-USD"
    assert [failure.code for failure in page.refusal.failures] == [code]
    assert page.account is before


@pytest.mark.parametrize("ending", [complete(), liquidate()])
@pytest.mark.parametrize(("age_ms", "ends"), [(60_000, True), (60_001, False), (-5_001, False)])
def test_ending_takes_prices_fresh_enough_to_liquidate_at(ending: Step, age_ms, ends):
    page = given(opened(), open_long("SOL-USD", 1), priced("SOL-USD", 100, age_ms=age_ms)).when(ending)
    assert page.account.is_terminal is ends
    if not ends:
        page.refused("price_stale")


@pytest.mark.parametrize("age_ms", [-5_000, 0, 119_999, 120_000])
def test_a_mark_believes_quotes_of_two_minutes(age_ms):
    page = given(opened(), open_long("SOL-USD", 1), priced("SOL-USD", 90, age_ms=age_ms))
    page.when(mark()).outcome("marked").balance(unrealized_pnl=-10)


def test_a_tick_that_no_account_could_hold_is_not_believed():
    page = given(opened(max_notional=100_000), priced("SOL-USD", "0.000001"), open_long("SOL-USD", 100_000_000))
    page.when(priced("SOL-USD", 100_000_000_000), mark())
    page.outcome("failed").then(mark_to_market_failed(failures=[{"code": "price_missing"}]))
    page.when(priced("SOL-USD", 1), mark()).outcome("marked")


def test_failure_is_told_when_it_begins_and_when_its_reasons_change():
    page = given(opened(), open_long("SOL-USD", 1), open_long("ETH-USD", "0.1"))
    sol = {"code": "price_missing", "context": {"symbol": "SOL-USD"}}
    eth = {"code": "price_stale", "context": {"symbol": "ETH-USD"}}
    page.when(unpriced("SOL-USD"), mark("one")).outcome("failed").then(mark_to_market_failed(failures=[sol]))
    page.when(later(1), mark("two")).outcome("failed").then()
    assert page.entry is not None
    assert page.entry.decision is not None
    assert [failure.code for failure in page.entry.decision.failures] == ["price_missing"]  # said, if not written
    page.when(later(200), mark("three")).then(mark_to_market_failed(failures=[eth, sol]))
    page.when(later(1), mark("four")).then()
    page.when(priced("ETH-USD", 2_000), mark("five")).then(mark_to_market_failed(failures=[sol]))
    page.when(priced("SOL-USD", 100), mark("six")).outcome("marked").then(mark_to_market(pass_id="six"))
    assert snapshot_view(page.account).valuation == "full"
    page.when(unpriced("SOL-USD"), mark("seven")).outcome("failed").then(mark_to_market_failed(failures=[sol]))


def test_a_flat_account_is_not_stale():
    page = given(opened(), open_long("SOL-USD", 1), priced("SOL-USD", 100, age_ms=0), later(121))
    page.when(mark()).outcome("failed")
    page.when(priced("SOL-USD", 100), close_long("SOL-USD")).executed()
    assert page.account.stale == ()
    page.when(mark()).outcome("flat")


def test_a_paused_account_is_marked_and_liquidated():
    page = given(opened(1_000), open_long("SOL-USD", 40), pause(), priced("SOL-USD", 80))
    page.when(mark()).outcome("liquidated")
    assert page.account.status == "liquidated"


def test_a_locked_account_is_neither():
    page = given(opened(1_000), open_long("SOL-USD", 40), lock(), priced("SOL-USD", 80))
    page.when(mark()).refused("account_not_active", status="locked")


# ---------------------------------------------------------------- liquidation


@pytest.mark.parametrize(
    ("price", "equity", "outcome"),
    [
        ("90.00000001", "500.0000005", "marked"),
        ("90", "500", "liquidated"),
        ("89.99999999", "499.9999995", "liquidated"),
    ],
)
def test_liquidation_at_the_threshold_and_not_above(price, equity, outcome):
    page = given(opened(1_000, fee_bps=0, max_leverage=50), open_long("SOL-USD", 50), priced("SOL-USD", price))
    page.when(mark()).outcome(outcome)
    assert page.events[0].equity == decimal(equity)  # type: ignore[attr-defined]
    assert page.account.status == ("active" if outcome == "marked" else "liquidated")


def test_a_threshold_between_two_units_liquidates_only_below_itself():
    """0.00000010 * (1 - 0.13) is 8.7 units: nine are enough to stay, eight are not."""
    limits = {"fee_bps": 0, "max_drawdown": "0.13"}
    page = given(opened("0.0000001", **limits), priced("SOL-USD", "0.00000002"), open_long("SOL-USD", 1))
    page.balance(liquidation_equity="0.00000008")
    page.when(priced("SOL-USD", "0.00000001"), mark()).outcome("marked").balance(equity="0.00000009")
    page = given(opened("0.0000001", **limits), priced("SOL-USD", "0.00000003"), open_long("SOL-USD", 1))
    page.when(priced("SOL-USD", "0.00000001"), mark()).outcome("liquidated").balance(equity="0.00000008")


def test_liquidation_closes_everything_in_order_with_fees_and_slippage():
    limits = {"slippage_model": "fixed_bps", "slippage_bps": 100, "max_leverage": 10, "max_drawdown": "0.5"}
    page = given(
        opened(10_000, **limits),
        open_short("SOL-USD", 100),
        open_long("SOL-USD", 10),
        open_long("BTC-USD", "0.5"),
        later(1),
    )
    page.balance(cash="9963.84", realized_pnl=0)  # fees 9.90 + 1.01 + 25.25, shown below as they were paid
    page.when(priced("SOL-USD", 110), priced("BTC-USD", 42_000), mark("pass-9")).outcome("liquidated")
    page.then(
        mark_to_market(pass_id="pass-9", unrealized_pnl="-5260", cash="9963.84", equity="4703.84"),
        liquidation_triggered(
            trigger="max_drawdown",
            reason="max_drawdown",
            pass_id="pass-9",
            equity="4703.84",
            liquidation_equity=5_000,
            drawdown="0.529616",
        ),
        order_validated(symbol="BTC-USD", side="long", price=41_580, intent="liquidate", action=None),
        fill_booked(symbol="BTC-USD", notional=20_790, cost=25_250, realized_pnl=-4_460, fee="20.79"),
        position_closed(position={"symbol": "BTC-USD"}),
        order_validated(symbol="SOL-USD", side="long", price="108.9", intent="liquidate"),
        fill_booked(symbol="SOL-USD", side="long", notional=1_089, cost=1_010, realized_pnl=79, fee="1.089"),
        position_closed(position={"symbol": "SOL-USD", "side": "long"}),
        order_validated(symbol="SOL-USD", side="short", price="111.1", intent="liquidate"),
        fill_booked(symbol="SOL-USD", side="short", notional=11_110, cost=9_900, realized_pnl=-1_210, fee="11.11"),
        position_closed(position={"symbol": "SOL-USD", "side": "short"}, cash="4339.851", equity="4339.851"),
        account_liquidated(reason="max_drawdown"),
    )
    page.balance(cash="4339.851", equity="4339.851", realized_pnl=-5_591, fees_paid="69.149", high_watermark=10_000)
    assert page.account.end_reason == "max_drawdown"
    assert page.account.counters.actions == 3  # the engine's own orders are no actions
    assert len({fill.id for fill in page.entry.changes.fills}) == 3  # type: ignore[union-attr]


def test_old_prices_mark_but_do_not_liquidate():
    """Between the age for liquidating and the age for marking: valued, breached, and left alone."""
    page = given(opened(1_000, fee_bps=0), open_long("SOL-USD", 40), priced("SOL-USD", 50, age_ms=60_001))
    page.when(mark()).outcome("marked").then(mark_to_market(equity=-1_000))
    assert page.account.status == "active"
    assert page.entry is not None
    assert page.entry.decision is not None
    assert [failure.code for failure in page.entry.decision.failures] == ["price_stale"]
    page.when(priced("SOL-USD", 50, age_ms=60_000), mark()).outcome("liquidated")


def test_the_policy_sets_the_age_for_liquidating():
    limits = {"quote_max_age_ms": ages(liquidate=10, mark=20)}
    page = given(opened(1_000, **limits), open_long("SOL-USD", 40), priced("SOL-USD", 50, age_ms=21))
    page.when(mark()).outcome("failed")
    page.when(priced("SOL-USD", 50, age_ms=20), mark()).outcome("marked")
    page.when(priced("SOL-USD", 50, age_ms=10), mark()).outcome("liquidated")


def test_an_action_at_a_ruinous_price_does_not_liquidate_a_mark_does():
    page = given(opened(1_000, fee_bps=0), open_long("SOL-USD", 40), priced("SOL-USD", 80))
    page.when(close_long("ETH-USD")).rejected("position_not_found")
    assert page.account.status == "active"
    page.when(mark()).outcome("liquidated")


# ---------------------------------------------------------------- completing and liquidating on request


def test_completing_closes_at_current_quotes_first():
    page = given(opened(), open_long("SOL-USD", 10), open_short("ETH-USD", 1), priced("SOL-USD", 110))
    each = (order_validated(intent="close", action=None), fill_booked(intent="close"), position_closed())
    page.when(complete()).then(*each, *each, account_completed(settle="close"))
    assert [(event.symbol, event.side) for event in page.events if hasattr(event, "fill_id")] == [  # type: ignore[attr-defined]
        ("ETH-USD", "short"),
        ("SOL-USD", "long"),
    ]
    page.balance(realized_pnl=100, fees_paid="6.1", cash="100093.9", status="completed")


def test_completing_without_settling_leaves_positions_and_needs_no_price():
    page = given(opened(), open_long("SOL-USD", 10), unpriced("SOL-USD"))
    page.when(complete("none")).then(account_completed(settle="none"))
    assert len(page.account.positions) == 1


@pytest.mark.parametrize("past", [[], [pause()], [lock()]])
def test_liquidating_on_request(past: list[Step]):
    page = given(opened(), open_long("SOL-USD", 10), *past).when(liquidate("breach of rules"))
    page.then(
        liquidation_triggered(trigger="requested", reason="breach of rules", pass_id=None, equity=99_999),
        *CLOSED,
        account_liquidated(reason="breach of rules"),
    )
    page.balance(cash=99_998)


def test_all_missing_prices_are_told():
    page = given(opened(), open_long("SOL-USD", 10), open_long("ETH-USD", 1), unpriced("SOL-USD"), unpriced("ETH-USD"))
    page.when(complete()).refused("price_missing")
    assert page.refusal is not None
    assert [failure.context["symbol"] for failure in page.refusal.failures] == ["ETH-USD", "SOL-USD"]


# ---------------------------------------------------------------- time


def test_time_never_falls_in_a_ledger_when_the_clock_does():
    page = given(opened(), later(10), open_long("SOL-USD", 1))
    page.when(later(-8), priced("SOL-USD", 100), open_long("SOL-USD", 1)).executed()
    page.when(mark())
    page.when(pause())
    times = [recorded.occurred_at for recorded in page.ledger]
    assert times == sorted(times)
    assert (times[-1] - NOW).total_seconds() == 10


def test_a_clock_far_behind_the_quotes_trades_nothing():
    page = given(opened(), open_long("SOL-USD", 1), later(-5.001))
    page.when(close_long("SOL-USD")).rejected("price_stale")
    page.when(mark()).outcome("failed")
    page.when(later(0.001), close_long("SOL-USD")).executed()


# ---------------------------------------------------------------- quotes as they are observed


@pytest.mark.parametrize(
    ("bid", "ask", "mid", "seen"),
    [
        ("1", "2", None, ["1.00000000", "2.00000000", "1.50000000"]),
        ("0.00000001", "0.00000002", None, ["0.00000001", "0.00000002", "0.00000002"]),  # 1.5 units: to even
        ("0.00000002", "0.00000003", None, ["0.00000002", "0.00000003", "0.00000002"]),  # 2.5 units: to even
        ("1", "2", "1.123456785", ["1.00000000", "2.00000000", "1.12345678"]),
        ("1E-9", "2", "1", ["0.00000000", "2.00000000", "1.00000000"]),
        (None, "2", None, ["NaN", "2.00000000", "NaN"]),
        ("1", "1e12", "1", ["1.00000000", "NaN", "1.00000000"]),
        ("1", "1e308", None, ["1.00000000", "NaN", "NaN"]),
        ("-Infinity", "sNaN", "NaN", ["NaN", "NaN", "NaN"]),
    ],
)
def test_observed_prices_come_to_scale_or_stay_unusable(bid, ask, mid, seen):
    low, high, middle = (None if price is None else Decimal(price) for price in (bid, ask, mid))
    shown = observed("X", low, high, middle, "feed", NOW)
    assert [f"{price:f}" for price in (shown.bid, shown.ask, shown.mid)] == seen


def test_a_frozen_quote_grows_stale_though_its_price_is_in_range():
    page = given(opened(), open_long("SOL-USD", 1)).when(later(60.001), open_long("SOL-USD", 1))
    page.rejected("price_stale")


def test_short_and_long_close_in_order_of_symbol_then_side():
    page = given(opened(), open_short("SOL-USD", 1), open_long("SOL-USD", 1), open_short("ETH-USD", "0.1"))
    assert [position.key for position in in_order(page.account)] == [
        ("ETH-USD", "short"),
        ("SOL-USD", "long"),
        ("SOL-USD", "short"),
    ]
    page.when(close_short("SOL-USD"), open_short("SOL-USD", 1)).executed()
    assert msgspec.structs.asdict(page.position("SOL-USD", "short"))["opened_seq"] == page.account.seq


def test_a_new_episode_begins_after_a_close():
    page = given(opened(), open_long("SOL-USD", 1), close_long("SOL-USD")).when(open_long("SOL-USD", 1))
    page.then(order_validated(), fill_booked(), position_opened(position={"opened_seq": page.account.seq}))
