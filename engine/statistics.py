"""Statistics: how an account did, from its record alone. Every figure at 8 decimals; null where it means nothing.

Sources. Sharpe: W. F. Sharpe, "The Sharpe Ratio", 1994, with a risk-free rate of 0 and the sample deviation (n - 1).
Sortino: F. A. Sortino, L. N. Price, "Performance Measurement in a Downside Risk Framework", 1994, with a target of 0
and the downside deviation over all n returns. Both as `empyrical` computes them, annualised by the square root of
`DAYS_A_YEAR`, since accounts trade on every day of the calendar.
"""

from datetime import timedelta
from decimal import Decimal
from typing import Final

import msgspec

from engine.account import Account
from engine.money import ratio, risk_adjusted
from engine.record import Curve, Tally

DAYS_A_YEAR: Final = 365
DAYS_MIN: Final = 5
"""Daily returns that a risk-adjusted figure needs; fewer say nothing."""


class Statistics(msgspec.Struct, frozen=True, gc=False, rename="camel", kw_only=True):
    """Shares are fractions (0.05 is five per cent).

    `total_return`: final equity by starting balance, less 1. `max_drawdown`: the largest share that equity, as it was
    shown at fills and marks, lay below its high watermark. `sharpe`, `sortino`: of the daily returns, null with fewer
    than 5 days or where nothing deviates. `win_rate`: round trips with a net gain, of all. `profit_factor`: their net
    gains by the net losses of the others. `turnover`: notional of all fills by starting balance. `fee_drag`: fees by
    starting balance. `exposure`: share of the time from start to end in which any position was open. `trades`: round
    trips, that is positions that were closed. `days`: UTC calendar days from start to end, the first and last included.
    """

    total_return: Decimal
    max_drawdown: Decimal
    sharpe: Decimal | None
    sortino: Decimal | None
    win_rate: Decimal | None
    profit_factor: Decimal | None
    turnover: Decimal
    fee_drag: Decimal
    exposure: Decimal | None
    trades: int
    days: int


def statistics(account: Account) -> Statistics:
    """Of an account that has ended."""
    if account.curve is None or account.started_at is None or account.ended_at is None:
        raise AssertionError(f"account {account.id} has not ended")
    curve = account.curve.held(account.ended_at, is_exposed=False).closed(account.equity)
    tally, start = account.tally, account.starting_balance
    lasted_us = (account.ended_at - account.started_at) // timedelta(microseconds=1)
    return Statistics(
        total_return=ratio(account.equity - start, start),
        max_drawdown=curve.max_drawdown,
        sharpe=sharpe(curve),
        sortino=sortino(curve),
        win_rate=_win_rate(tally),
        profit_factor=ratio(tally.gains, tally.losses) if tally.losses else None,
        turnover=ratio(tally.traded, start),
        fee_drag=ratio(account.fees_paid, start),
        exposure=ratio(Decimal(curve.exposed_us), Decimal(lasted_us)) if lasted_us else None,
        trades=tally.trades,
        days=curve.days,
    )


def sharpe(curve: Curve) -> Decimal | None:
    """Mean by sample deviation: var = (n * sum of squares - (sum)^2) / (n * (n - 1))."""
    return _annualised(curve, curve.squares, is_sample=True)


def sortino(curve: Curve) -> Decimal | None:
    """Mean by downside deviation: the root of the mean square of returns below 0, all n counted."""
    return _annualised(curve, curve.downside, is_sample=False)


def _annualised(curve: Curve, squares: Decimal, *, is_sample: bool) -> Decimal | None:
    if curve.broke or curve.days < DAYS_MIN:
        return None
    return risk_adjusted(
        returns=curve.returns, squares=squares, count=curve.days, a_year=DAYS_A_YEAR, is_sample=is_sample
    )


def _win_rate(tally: Tally) -> Decimal | None:
    return ratio(Decimal(tally.wins), Decimal(tally.trades)) if tally.trades else None
