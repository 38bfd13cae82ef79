"""Statistics of ended accounts, against `empyrical` and against sums done by hand."""

import random
from datetime import timedelta
from decimal import Decimal

import empyrical
import pandas as pd
import pytest

from engine.account import Account
from engine.record import Curve, begun
from engine.results import policy_hash, result_of
from engine.statistics import DAYS_A_YEAR, DAYS_MIN, Statistics, sharpe, sortino, statistics
from tests.support.ledger_page import (
    NOW,
    Page,
    close_long,
    complete,
    decimal,
    given,
    later,
    lock,
    mark,
    open_long,
    open_short,
    opened,
    priced,
    resume,
)

DAY_S = 86_400
EXACTLY = Decimal("1e-8")


def ended(page: Page) -> Statistics:
    page.when(complete("none"))
    return statistics(page.account)


def daily(equities: list[float]) -> pd.Series:
    """Returns of days that ended with these equities, after the first."""
    return pd.Series(equities).pct_change().iloc[1:].reset_index(drop=True)


def close_to(found: Decimal | None, expected: float) -> None:
    assert found is not None
    assert float(found) == pytest.approx(expected, rel=1e-9, abs=1e-8)


def lived(seed: int, days: int) -> tuple[Page, list[float], list[float]]:
    """A trader's page over some days, several marks a day: equity at each day's end, and all equities shown."""
    chance = random.Random(seed)
    page = given(opened(100_000, fee_bps=0), open_long("BTC-USD", 1))
    ends, shown, price = [100_000.0], [100_000.0], 50_000
    for day in range(days):
        for _ in range(3):
            price = round(price * chance.uniform(0.96, 1.04))
            page.happens(priced("BTC-USD", price), mark())
            shown.append(float(page.account.equity))
        ends.append(shown[-1])
        if day < days - 1:
            page.happens(later(DAY_S))
    return page, ends, shown


@pytest.mark.parametrize("seed", range(20))
def test_what_empyrical_says_too(seed: int):
    page, ends, shown = lived(seed, days=5 + seed)
    returns, found = daily(ends), ended(page)
    close_to(found.total_return, empyrical.cum_returns_final(returns))
    close_to(found.max_drawdown, -empyrical.max_drawdown(daily(shown)))
    close_to(found.sharpe, empyrical.sharpe_ratio(returns, annualization=DAYS_A_YEAR))
    close_to(found.sortino, empyrical.sortino_ratio(returns, annualization=DAYS_A_YEAR))
    assert found.days == 5 + seed


def test_days_without_an_event_brought_nothing():
    page = given(opened(100_000, fee_bps=0), open_long("BTC-USD", 1), priced("BTC-USD", 51_000), mark())
    page.happens(later(4 * DAY_S), priced("BTC-USD", 50_500), mark(), later(3 * DAY_S))
    found = ended(page)
    returns = daily([100_000, 101_000, 101_000, 101_000, 101_000, 100_500, 100_500, 100_500, 100_500])
    assert found.days == 8
    close_to(found.sharpe, empyrical.sharpe_ratio(returns, annualization=DAYS_A_YEAR))
    close_to(found.sortino, empyrical.sortino_ratio(returns, annualization=DAYS_A_YEAR))


def test_a_day_is_over_at_midnight_utc():
    page = given(opened(100_000, fee_bps=0), open_long("BTC-USD", 1), later(12 * 3_600 - 1))
    assert ended(page).days == 1
    page = given(opened(100_000, fee_bps=0), open_long("BTC-USD", 1), later(12 * 3_600))
    assert ended(page).days == 2


@pytest.mark.parametrize("days", range(1, DAYS_MIN))
def test_too_few_days_say_nothing_of_risk(days: int):
    page, _, _ = lived(1, days)
    found = ended(page)
    assert (found.days, found.sharpe, found.sortino) == (days, None, None)


def test_what_never_deviates_has_no_ratio():
    page = given(opened(), later(10 * DAY_S))
    found = ended(page)
    assert (found.sharpe, found.sortino, found.win_rate, found.profit_factor) == (None, None, None, None)
    assert {found.exposure, found.turnover, found.total_return, found.max_drawdown} == {Decimal(0)}
    curve = begun(NOW, decimal(100))
    for place in range(1, 8):
        curve = curve.closed(decimal(100 * 2**place))
    assert (sharpe(curve), sortino(curve)) == (None, None)  # doubling every day is no deviation either


def test_no_equity_left_means_no_return():
    curve: Curve = begun(NOW, decimal(100))
    for equity in (110, 0, 50, 60, 70, 80):
        curve = curve.closed(decimal(equity))
    assert (curve.broke, sharpe(curve), sortino(curve)) == (True, None, None)
    assert begun(NOW, decimal(100)).closed(decimal(-5), days=3).broke
    assert not begun(NOW, decimal(100)).closed(decimal(-5)).broke


def test_round_trips_turnover_and_fees():
    page = given(
        opened(100_000, fee_bps=10),
        open_long("BTC-USD", 1),  # 50,000, fee 50
        priced("BTC-USD", 51_000),
        close_long("BTC-USD"),  # 51,000, fee 51: net 899
        open_short("ETH-USD", 5),  # 10,000, fee 10
        priced("ETH-USD", 2_200),
    )
    page.happens(complete("close"))  # 11,000, fee 11: net -1,021
    found = statistics(page.account)
    assert (found.trades, found.win_rate) == (2, Decimal("0.5"))
    assert found.profit_factor == (Decimal(899) / Decimal(1_021)).quantize(EXACTLY)
    assert found.turnover == Decimal("1.22")
    assert found.fee_drag == Decimal("0.00122")
    assert found.total_return == Decimal("-0.00122")


def test_exposure_is_the_share_of_time_with_any_position():
    page = given(
        opened(100_000, fee_bps=0),
        later(100),
        priced("BTC-USD", 50_000),
        priced("ETH-USD", 2_000),
        open_long("BTC-USD", "0.1"),
        open_long("ETH-USD", 1),
        later(20),
        close_long("BTC-USD"),
        later(10),
        close_long("ETH-USD"),
        later(70),
        priced("BTC-USD", 50_000),
        open_long("BTC-USD", "0.1"),
        later(50),
    )
    assert ended(page).exposure == Decimal("0.32")  # 30 and 50 of 250 seconds
    assert ended(given(opened())).exposure is None  # no time passed


def test_time_under_lock_counts_and_nothing_moves_after_the_end():
    page = given(opened(), lock(), later(9 * DAY_S), resume())
    before = ended(page)
    assert (before.days, before.trades) == (10, 0)
    assert statistics(page.account) == before


def test_a_result_names_the_event_that_ended_the_account():
    page = given(opened(100_000), open_long("BTC-USD", 1))
    assert result_of(page.account, page.ledger) is None
    page.when(complete("close"))
    result = result_of(page.account, page.ledger)
    assert result is not None
    assert (result.account_seq, result.status, result.end_reason) == (page.account.seq, "completed", "completed")
    assert result.head_hash == page.ledger[-1].hash.hex()
    assert result.policy_hash == policy_hash(page.account.policy).hex()
    assert result.balance.equity == result.balance.cash == page.account.cash
    assert result_of(page.account, page.ledger[:-1]) is None  # it is in the commit that ends it, and in no other


def test_what_is_refused_after_the_end_leaves_the_result_as_it_was():
    page = given(opened(100_000), open_long("BTC-USD", 1), complete("close"))
    before = result_of(page.account, page.ledger)
    page.happens(later(3 * DAY_S), open_long("BTC-USD", 1))
    assert page.account.counters.rejected == 1
    assert result_of(page.account, page.ledger) == before


def test_an_account_that_goes_on_has_no_statistics():
    account: Account = given(opened()).account
    with pytest.raises(AssertionError, match="has not ended"):
        statistics(account)


def test_the_record_does_not_grow():
    page, _, _ = lived(3, days=40)
    curve = page.account.curve
    assert curve is not None
    assert curve.day_ends - NOW < timedelta(days=41)
    assert len(str(curve)) < 700
