"""Prop rules: each floor and goal at its edge, on its day, with its figures; and nothing where there is none."""

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import msgspec
import pytest

from engine.canonical import plain
from engine.commands import CreateAccount
from engine.policy import MaxDailyLoss, Policy, ProfitTarget, TrailingDrawdown
from engine.rule_views import rules_view
from tests.support.ledger_page import (
    NOW,
    Number,
    Opening,
    Page,
    Step,
    account_completed,
    account_liquidated,
    ages,
    close_long,
    decimal,
    fill_booked,
    fill_voided,
    given,
    later,
    liquidation_triggered,
    lock,
    mark,
    mark_to_market,
    mark_to_market_failed,
    open_long,
    opened,
    order_validated,
    pause,
    position_closed,
    position_opened,
    priced,
    resume,
    rule_warning,
    unpriced,
    void_fill,
)

DAY = timedelta(days=1).total_seconds()
LIQUIDATED = (order_validated(intent="liquidate"), fill_booked(), position_closed())
SETTLED = (order_validated(intent="close", prop_action_id=None), fill_booked(), position_closed())


def ruled(**limits: Any) -> Opening:
    """100,000 without fees, where a bitcoin is half of it: a price of 50,000 + x is an equity of 100,000 + x."""
    return opened(fee_bps=0, max_notional=10**6, **limits)


def btc(equity: Number, **more: Any) -> Step:
    """The price of bitcoin at which one that was bought at 50,000 makes this equity of 100,000."""
    return priced("BTC-USD", decimal(equity) - 50_000, **more)


def daily(fraction: Number | None = "0.05", **fields: Any) -> MaxDailyLoss:
    return MaxDailyLoss(fraction=None if fraction is None else decimal(fraction), **fields)


def trailing(fraction: Number | None = "0.1", *, mode: Any = "end_of_day", **fields: Any) -> TrailingDrawdown:
    return TrailingDrawdown(mode=mode, fraction=None if fraction is None else decimal(fraction), **fields)


def target(fraction: Number | None = "0.1", **fields: Any) -> ProfitTarget:
    return ProfitTarget(fraction=None if fraction is None else decimal(fraction), **fields)


def floors(page: Page) -> dict[str, Decimal]:
    """What the next mark would judge by."""
    return {each.rule: each.floor for each in rules_view(page.account, page.now).floors}


def closed_at(equity: Number) -> tuple[Step, ...]:
    """A day of trading that ends with this balance, from 100,000, and the first second of the next."""
    return (open_long("BTC-USD", 1), btc(equity), close_long("BTC-USD"), later(DAY / 2), priced("BTC-USD", 50_000))


# ---------------------------------------------------------------- floors at their edge

EDGES: list[tuple[str, dict[str, Any], str]] = [
    ("max_daily_loss", {"max_daily_loss": daily()}, "95000"),
    ("max_daily_loss", {"max_daily_loss": daily(None, amount=decimal("5000.00000001"))}, "94999.99999999"),
    ("max_daily_loss", {"max_daily_loss": daily(of="equity", basis="day_start")}, "95000"),
    ("trailing_drawdown", {"trailing_drawdown": trailing()}, "90000"),
    ("trailing_drawdown", {"trailing_drawdown": trailing(mode="intraday_equity")}, "90000"),
    ("trailing_drawdown", {"trailing_drawdown": trailing(None, amount=decimal(2_000))}, "98000"),
    ("trailing_drawdown", {"trailing_drawdown": trailing(locks_at_start=True)}, "90000"),
]


@pytest.mark.parametrize(("rule", "limits", "floor"), EDGES)
@pytest.mark.parametrize("off", ["0", "-0.00000001", "-1000"])
def test_at_the_floor_or_below_the_same_decision_liquidates(rule, limits, floor, off):
    page = given(ruled(**limits), open_long("BTC-USD", 1), later(1))
    equity = decimal(floor) + decimal(off)
    page.when(btc(equity), mark("pass-3")).outcome("liquidated")
    page.then(
        mark_to_market(equity=str(equity)),
        liquidation_triggered(
            trigger=rule,
            reason=rule,
            pass_id="pass-3",
            equity=str(equity),
            liquidation_equity=50_000,
            broken={"rule": rule, "anchor": 100_000, "floor": floor},
        ),
        *LIQUIDATED,
        account_liquidated(reason=rule),
    )
    assert (page.account.status, page.account.end_reason) == ("liquidated", rule)


@pytest.mark.parametrize(("rule", "limits", "floor"), EDGES)
def test_just_above_the_floor_it_lives_and_is_warned(rule, limits, floor):
    page = given(ruled(**limits), open_long("BTC-USD", 1), later(1))
    equity = decimal(floor) + decimal("0.00000001")
    page.when(btc(equity), mark()).outcome("marked")
    page.then(mark_to_market(), rule_warning(rule=rule, floor=floor, equity=str(equity)))
    assert page.account.status == "active"


def test_a_floor_that_is_no_figure_of_8_decimals_breaks_where_the_exact_one_does():
    # 5 % of 100,000.00000001 is 5,000.0000000005: equity of 94,999.99999999 is below the exact floor and ...0001 above.
    opening = opened("100000.00000001", fee_bps=0, max_notional=10**6, max_daily_loss=daily())
    page = given(opening, open_long("BTC-USD", 1), later(1))
    assert floors(page) == {"max_daily_loss": decimal("95000.00000000")}
    page.when(priced("BTC-USD", "44999.99999999"), mark()).outcome("liquidated")


# ---------------------------------------------------------------- the day and its anchor


@pytest.mark.parametrize(("basis", "floor"), [("initial", "97000"), ("day_start", "96900")])
def test_five_per_cent_after_a_close_of_102000(basis, floor):
    page = given(ruled(max_daily_loss=daily(basis=basis)), *closed_at(102_000))
    assert floors(page) == {"max_daily_loss": decimal(floor)}
    page.when(open_long("BTC-USD", 1), priced("BTC-USD", decimal(floor) - 52_000 + decimal("0.00000001")), mark())
    page.outcome("marked")
    page.when(priced("BTC-USD", decimal(floor) - 52_000), mark()).outcome("liquidated")


def test_the_limit_of_the_day_goes_down_as_well_as_up():
    page = given(ruled(max_daily_loss=daily()), *closed_at(97_000))
    assert floors(page) == {"max_daily_loss": decimal(92_000)}


@pytest.mark.parametrize(("of", "floor"), [("balance", "95000"), ("equity", "93000")])
def test_the_anchor_is_the_balance_or_the_equity_the_day_began_with(of, floor):
    page = given(ruled(max_daily_loss=daily(of=of)), open_long("BTC-USD", 1), btc(98_000), mark(), later(DAY / 2))
    assert floors(page) == {"max_daily_loss": decimal(floor)}
    page.when(btc(decimal(floor) + 500), mark()).outcome("marked")
    page.when(btc(floor), mark()).outcome("liquidated")


def test_an_overnight_loss_breaks_the_floor_at_the_reset_itself():
    """Equity of 97,500 lies above the floor of 95,000 and, from midnight on, below that of 101,000."""
    page = given(
        ruled(max_daily_loss=daily()),
        open_long("BTC-USD", 2),
        priced("BTC-USD", 53_000),
        close_long("BTC-USD"),
        open_long("BTC-USD", 1),
        priced("BTC-USD", "44500"),
    )
    page.when(mark()).outcome("marked").balance(cash=106_000, equity=97_500)
    page.when(later(DAY / 2 - 0.000001), priced("BTC-USD", "44500"), mark()).outcome("marked")
    page.when(later(0.000001), mark()).outcome("liquidated")
    page.then(
        mark_to_market(equity=97_500),
        liquidation_triggered(broken={"rule": "max_daily_loss", "anchor": 106_000, "floor": 101_000}),
        *LIQUIDATED,
        account_liquidated(),
    )


def test_days_without_events_pass_at_once():
    page = given(ruled(max_daily_loss=daily(), trailing_drawdown=trailing()), *closed_at(104_000), later(40 * DAY))
    assert floors(page) == {"max_daily_loss": decimal(99_000), "trailing_drawdown": decimal(94_000)}
    page.when(pause(), resume())
    assert page.account.day is not None
    assert page.account.day.date == date(2026, 2, 15)
    assert floors(page) == {"max_daily_loss": decimal(99_000), "trailing_drawdown": decimal(94_000)}


def test_a_clock_that_goes_back_over_midnight_turns_no_day_again():
    page = given(ruled(max_daily_loss=daily()), *closed_at(104_000), pause(), resume())
    began = page.account.day
    page.when(later(-3_600), pause(), later(3_601), resume())
    assert page.account.day == began
    page.when(later(-3_600))
    assert rules_view(page.account, page.now).day == date(2026, 1, 6)


def test_what_happens_first_on_a_day_finds_the_figures_of_the_day_before():
    """Opening and closing at a loss at once: the anchor is what stood before it."""
    steps = (*closed_at(102_000), open_long("BTC-USD", 1), priced("BTC-USD", 49_000), close_long("BTC-USD"))
    page = given(ruled(max_daily_loss=daily()), *steps)
    page.balance(cash=101_000)
    assert floors(page) == {"max_daily_loss": decimal(97_000)}


# ---------------------------------------------------------------- trailing


def test_the_end_of_day_floor_only_ratchets_up():
    """FTMO 1-step: a close of 104,000 gives 94,000, and the next, of 103,000, leaves it."""
    page = given(ruled(trailing_drawdown=trailing()), *closed_at(104_000))
    assert floors(page) == {"trailing_drawdown": decimal(94_000)}
    page.when(open_long("BTC-USD", 1), priced("BTC-USD", 49_000), close_long("BTC-USD"), later(DAY))
    page.balance(cash=103_000)
    assert floors(page) == {"trailing_drawdown": decimal(94_000)}


def test_the_peak_of_a_day_does_not_count_at_its_end():
    page = given(ruled(trailing_drawdown=trailing()), open_long("BTC-USD", 1), btc(108_000), mark())
    page.when(btc(101_000), close_long("BTC-USD"), later(DAY)).balance(cash=101_000, high_watermark=108_000)
    assert floors(page) == {"trailing_drawdown": decimal(91_000)}


def test_an_open_gain_is_no_balance_at_the_end_of_a_day():
    page = given(ruled(trailing_drawdown=trailing()), open_long("BTC-USD", 1), btc(108_000), mark(), later(DAY))
    assert floors(page) == {"trailing_drawdown": decimal(90_000)}


def test_the_intraday_floor_follows_open_gains():
    """Apex: what was never realized has still been lost."""
    page = given(ruled(trailing_drawdown=trailing(mode="intraday_equity")), open_long("BTC-USD", 1), btc(108_000))
    assert floors(page) == {"trailing_drawdown": decimal(90_000)}
    page.when(mark())
    assert floors(page) == {"trailing_drawdown": decimal(98_000)}
    page.when(btc("98000.00000001"), mark()).outcome("marked")
    page.when(btc(98_000), mark()).outcome("liquidated")


@pytest.mark.parametrize(("close", "floor"), [(100_500, "98500"), (101_999, "99999"), (102_000, "100000")])
@pytest.mark.parametrize("further", [0, 5_000])
def test_a_floor_that_locks_stays_at_the_start(close, floor, further):
    """Topstep: 2,000 under the highest close, until that is the starting balance."""
    rule = trailing(None, amount=decimal(2_000), locks_at_start=True)
    page = given(ruled(trailing_drawdown=rule), *closed_at(close + further))
    assert floors(page) == {"trailing_drawdown": min(decimal(100_000), decimal(floor) + further)}


def test_a_locked_floor_is_checked_live():
    rule = trailing(None, amount=decimal(2_000), locks_at_start=True)
    page = given(ruled(trailing_drawdown=rule), *closed_at(110_000), open_long("BTC-USD", 1))
    page.when(priced("BTC-USD", "40000.00000001"), mark()).outcome("marked")
    page.when(priced("BTC-USD", 40_000), mark()).outcome("liquidated")
    assert page.account.end_reason == "trailing_drawdown"


# ---------------------------------------------------------------- several at once, and what is not judged


def test_of_several_floors_the_highest_is_to_blame():
    limits = {"max_daily_loss": daily(), "trailing_drawdown": trailing("0.04"), "max_drawdown": "0.03"}
    page = given(ruled(**limits), open_long("BTC-USD", 1), later(1)).when(btc(90_000), mark())
    assert page.account.end_reason == "max_drawdown"
    assert all(getattr(event, "broken", None) is None for event in page.events)
    page = given(ruled(**{**limits, "max_drawdown": "0.06"}), open_long("BTC-USD", 1)).when(btc(90_000), mark())
    assert page.account.end_reason == "trailing_drawdown"


@pytest.mark.parametrize(
    ("limits", "blamed"),
    [
        ({"max_daily_loss": daily(), "trailing_drawdown": trailing("0.05")}, "max_daily_loss"),
        ({"max_daily_loss": daily(), "max_drawdown": "0.05"}, "max_drawdown"),
    ],
)
def test_of_equal_floors_the_first_rule_is_to_blame(limits, blamed):
    page = given(ruled(**limits), open_long("BTC-USD", 1)).when(btc(95_000), mark())
    assert page.account.end_reason == blamed


@pytest.mark.parametrize("market", [unpriced("BTC-USD"), btc(1, age_ms=120_001), btc(1, age_ms=-5_001)])
def test_no_quote_or_a_stale_one_breaks_nothing(market):
    page = given(ruled(max_daily_loss=daily(), profit_target=target()), open_long("BTC-USD", 1))
    page.when(market, mark()).outcome("failed").then(mark_to_market_failed())


@pytest.mark.parametrize(("equity", "end"), [("94000", "liquidated"), ("111000", "marked")])
@pytest.mark.parametrize(("age_ms", "ends"), [(60_000, True), (60_001, False)])
def test_nothing_ends_at_prices_too_old_to_liquidate_at(equity, end, age_ms, ends):
    limits = {"max_daily_loss": daily(), "profit_target": target(), "quote_max_age_ms": ages(liquidate=60_000)}
    page = given(ruled(**limits), open_long("BTC-USD", 1), later(1))
    page.when(btc(equity, age_ms=age_ms), mark()).outcome(end if ends else "marked")
    assert page.account.is_terminal == ends
    if not ends:
        page.when(later(1), btc(equity), mark())
        assert page.account.is_terminal


@pytest.mark.parametrize(("equity", "status"), [("95000", "liquidated"), ("110000", "completed")])
def test_paused_accounts_are_judged_and_locked_ones_when_they_are_back(equity, status):
    limits = {"max_daily_loss": daily(), "profit_target": target()}
    page = given(ruled(**limits), open_long("BTC-USD", 1), pause(), btc(equity)).when(mark())
    assert page.account.status == status
    page = given(ruled(**limits), open_long("BTC-USD", 1), lock(), btc(equity))
    page.when(mark()).refused("account_not_active")
    page.when(resume(), mark())
    assert page.account.status == status


def test_a_flat_account_is_judged_without_a_price():
    """Sold above the floor as marked, it fell through with the fee of the sale."""
    page = given(
        opened(fee_bps=100, max_notional=10**6, max_daily_loss=daily()),
        open_long("BTC-USD", 1),
        btc(95_700),
        close_long("BTC-USD"),
        unpriced("BTC-USD"),
    )
    page.balance(equity="94743")
    page.when(mark()).outcome("liquidated")
    page.then(liquidation_triggered(trigger="max_daily_loss", broken={"floor": 95_000}), account_liquidated())


def test_a_flat_account_far_from_everything_writes_nothing():
    limits = {"max_daily_loss": daily(), "trailing_drawdown": trailing(), "profit_target": target()}
    page = given(ruled(**limits), *closed_at(104_000)).when(mark()).outcome("flat")
    page.then()


def test_a_flat_account_is_not_judged_by_the_maximum_drawdown():
    limits = {"profit_target": target(), "max_drawdown": "0.03"}
    page = given(ruled(**limits), open_long("BTC-USD", 1), btc(95_000), close_long("BTC-USD")).when(mark())
    page.outcome("flat").then()


def test_nothing_more_is_allowed_to_be_lost_of_what_is_gone():
    """Prices too old to liquidate at let an account fall below zero; a share of that is no room."""
    rule = daily(basis="day_start", of="equity")
    page = given(ruled(max_daily_loss=rule), open_long("BTC-USD", 4), priced("BTC-USD", 24_000, age_ms=60_001))
    page.when(mark()).balance(equity=-4_000)
    assert page.account.status == "active"
    page.when(later(DAY))
    assert floors(page) == {"max_daily_loss": decimal(-4_000)}


# ---------------------------------------------------------------- warnings


@pytest.mark.parametrize(("equity", "warned"), [("96000.00000001", False), ("96000", True), ("95999.99999999", True)])
def test_a_warning_is_due_when_four_fifths_of_the_way_are_gone(equity, warned):
    page = given(ruled(max_daily_loss=daily()), open_long("BTC-USD", 1), later(1)).when(btc(equity), mark("pass-9"))
    told = rule_warning(
        rule="max_daily_loss",
        day=date(2026, 1, 5),
        anchor=100_000,
        floor=95_000,
        warns_at=96_000,
        equity=equity,
        pass_id="pass-9",
    )
    page.outcome("marked").then(mark_to_market(), *([told] if warned else []))


def test_a_warning_is_given_once_a_floor_and_day():
    limits = {"max_daily_loss": daily(of="balance"), "trailing_drawdown": trailing("0.1")}
    page = given(ruled(**limits), open_long("BTC-USD", 1)).when(btc(95_500), mark())
    page.then(mark_to_market(), rule_warning(rule="max_daily_loss"))
    page.when(btc(99_000), mark(), btc(95_500), mark()).then(mark_to_market(), mark_to_market())
    page.when(later(DAY / 2), btc(95_500), mark()).then(mark_to_market(), rule_warning(day=date(2026, 1, 6)))
    page.when(mark()).then(mark_to_market())


def test_each_floor_warns_for_itself():
    limits = {"max_daily_loss": daily(), "trailing_drawdown": trailing("0.06")}
    page = given(ruled(**limits), open_long("BTC-USD", 1)).when(btc(96_000), mark())
    page.then(mark_to_market(), rule_warning(rule="max_daily_loss"))
    page.when(btc(95_200), mark()).then(mark_to_market(), rule_warning(rule="trailing_drawdown"))
    assert page.account.day is not None
    assert page.account.day.warned == ("max_daily_loss", "trailing_drawdown")


def test_a_breach_that_may_not_be_acted_on_yet_is_at_least_warned_of():
    page = given(ruled(max_daily_loss=daily()), open_long("BTC-USD", 1), later(1))
    page.when(btc(94_000, age_ms=60_001), mark()).outcome("marked").then(mark_to_market(), rule_warning(equity=94_000))


# ---------------------------------------------------------------- corrections


def test_a_void_takes_back_what_the_rules_remember_of_the_fill():
    """Yesterday's gain was a mistake: without it there is no higher anchor, no peak and no breach by the correction."""
    limits = {"max_daily_loss": daily(), "trailing_drawdown": trailing(), "profit_target": target(min_trading_days=9)}
    page = given(ruled(**limits), *closed_at(120_000), pause(), resume())
    assert floors(page) == {"max_daily_loss": decimal(115_000), "trailing_drawdown": decimal(110_000)}
    page.when(later(DAY), void_fill(1, cascade=True)).then(fill_voided(cash=100_000, high_watermark=100_000))
    assert floors(page) == {"max_daily_loss": decimal(95_000), "trailing_drawdown": decimal(90_000)}
    assert page.account.day is not None
    assert (page.account.day.date, page.account.day.trading_days) == (date(2026, 1, 7), 0)
    page.when(mark()).outcome("flat").then()


# ---------------------------------------------------------------- the target


@pytest.mark.parametrize(
    ("goal", "equity", "reached"),
    [
        (target(), "109999.99999999", False),
        (target(), "110000", True),
        (target(), "110000.00000001", True),
        (target(None, amount=decimal("10000.00000001")), "110000", False),
        (target(None, amount=decimal("10000.00000001")), "110000.00000001", True),
    ],
)
def test_the_target_completes_at_its_edge(goal, equity, reached):
    page = given(ruled(profit_target=goal), open_long("BTC-USD", 1), later(1)).when(btc(equity), mark())
    page.outcome("marked")
    if not reached:
        page.then(mark_to_market())
        return
    page.then(mark_to_market(), *SETTLED, account_completed(settle="close", reason="profit_target"))
    assert (page.account.status, page.account.end_reason) == ("completed", "profit_target")
    page.balance(cash=equity, equity=equity)


def test_the_target_waits_for_enough_trading_days():
    page = given(ruled(profit_target=target(min_trading_days=2)), open_long("BTC-USD", 1), btc(111_000))
    page.when(mark()).outcome("marked").then(mark_to_market())
    page.when(later(DAY), btc(111_000), mark()).outcome("marked")  # held over the night, opened nothing
    page.when(open_long("ETH-USD", "0.1")).rejected("price_stale")
    page.when(priced("ETH-USD", 2_000), open_long("BTC-USD", "0.1"), mark()).outcome("marked")  # added, opened nothing
    page.when(open_long("ETH-USD", "0.1")).then(order_validated(), fill_booked(), position_opened())
    page.when(mark()).then(mark_to_market(), *SETTLED, *SETTLED, account_completed(reason="profit_target"))


def test_a_day_is_a_trading_day_once():
    page = given(ruled(profit_target=target(min_trading_days=2)), open_long("BTC-USD", 1), open_long("ETH-USD", 1))
    page.when(close_long("ETH-USD"), open_long("ETH-USD", 1), btc(111_000), mark()).outcome("marked")
    goal = rules_view(page.account, page.now).goal
    assert goal is not None
    assert (goal.trading_days, goal.min_trading_days, goal.distance) == (1, 2, decimal(-1_000))


def test_a_flat_account_above_its_target_completes():
    page = given(ruled(profit_target=target()), open_long("BTC-USD", 1), btc(110_000), close_long("BTC-USD"))
    page.when(unpriced("BTC-USD"), mark()).outcome("marked").then(account_completed(reason="profit_target"))


def test_a_breach_comes_before_a_target():
    page = given(
        ruled(trailing_drawdown=trailing("0.05", mode="intraday_equity"), profit_target=target(min_trading_days=2)),
        *(open_long("BTC-USD", 1), btc(116_000), mark(), later(DAY), btc(111_000), priced("ETH-USD", 2_000)),
        open_long("ETH-USD", "0.1"),
    )
    page.when(mark()).outcome("liquidated")


# ---------------------------------------------------------------- views, and accounts without rules


def test_the_rules_in_force_are_shown_with_their_distances():
    limits = {"max_daily_loss": daily(), "profit_target": target(min_trading_days=4)}
    page = given(ruled(**limits), open_long("BTC-USD", 1), btc(96_000), mark())
    assert plain(rules_view(page.account, page.now)) == {
        "day": "2026-01-05",
        "floors": [
            {
                "rule": "max_daily_loss",
                "anchor": "100000.00000000",
                "floor": "95000.00000000",
                "distance": "1000.00000000",
                "distancePerCent": "1.04166667",
                "warnsAt": "96000.00000000",
                "warned": True,
            }
        ],
        "goal": {
            "rule": "profit_target",
            "anchor": "100000.00000000",
            "goal": "110000.00000000",
            "distance": "14000.00000000",
            "distancePerCent": "14.58333333",
            "tradingDays": 1,
            "minTradingDays": 4,
        },
    }
    tomorrow = rules_view(page.account, page.now + timedelta(days=1))
    assert (tomorrow.day, tomorrow.floors[0].warned) == (date(2026, 1, 6), False)


def test_an_ended_account_shows_its_last_day():
    page = given(ruled(max_daily_loss=daily()), open_long("BTC-USD", 1), btc(90_000)).when(mark())
    assert rules_view(page.account, page.now + timedelta(days=3)).day == date(2026, 1, 5)


def test_the_first_day_is_that_of_the_utc_calendar():
    late = given(ruled(max_daily_loss=daily()), later(DAY / 2 - 0.000001))
    assert rules_view(late.account, late.now).day == date(2026, 1, 5)
    assert rules_view(late.account, datetime(2026, 1, 6, tzinfo=UTC)).day == date(2026, 1, 6)


def test_an_account_without_rules_remembers_no_day_and_shows_none():
    page = given(ruled(), open_long("BTC-USD", 1), later(DAY), btc(60_000), mark())
    assert page.account.day is None
    assert plain(rules_view(page.account, page.now)) == {"day": None, "floors": [], "goal": None}


def test_an_account_without_rules_is_written_and_hashed_as_before_there_were_any():
    """The bytes and hashes are those that the engine wrote before prop rules."""
    page = given(opened(1_000), open_long("SOL-USD", 40), later(1)).when(priced("SOL-USD", 75), mark())
    assert b"maxDailyLoss" not in page.ledger[0].payload
    assert page.ledger[0].hash.hex() == "316ed2d30fd05960ecd108305c5e6e0799a7e47dafef45ca78faaffc8fabe06a"
    assert page.account.status == "liquidated"
    assert page.book.head.hex() == "90be5e8c105d3dc08d9db3382a6fc08fa9e57d916c9ca8872991c8f78d22fddb"


def test_a_policy_with_a_rule_is_stored_with_it_alone():
    page = given(ruled(profit_target=target()))
    stored = msgspec.json.decode(page.ledger[0].payload)["opening"]["policy"]
    assert stored["profitTarget"] == {"fraction": "0.10000000", "amount": None, "minTradingDays": 0}
    assert stored.keys().isdisjoint({"maxDailyLoss", "trailingDrawdown"})
    assert plain(page.account.policy)["maxDailyLoss"] is None


def test_an_opening_from_before_the_rules_has_none():
    old = msgspec.convert({"ownerId": "o", "cloneId": "c", "policy": {"maxLeverage": "5"}}, CreateAccount)
    assert old.policy == msgspec.structs.replace(Policy(), max_leverage=Decimal(5))
    assert not old.policy.has_rules


def test_the_page_begins_at_noon():
    assert NOW.hour == 12  # half a day to midnight, which these tests count on
