"""The lives that are kept for good: between them, every event type that was ever released."""

from collections.abc import Callable, Mapping
from typing import Final

from engine.policy import MaxDailyLoss, ProfitTarget, TrailingDrawdown
from tests.support.ledger_page import (
    Page,
    close_long,
    close_short,
    complete,
    decimal,
    given,
    later,
    liquidate,
    lock,
    mark,
    open_long,
    open_short,
    opened,
    pause,
    priced,
    reduce_long,
    resume,
    unpriced,
    void_fill,
)

DAY_S: Final = 86_400


def a_round_trip() -> Page:
    """Opened, added to, reduced, refused, marked, closed, completed."""
    page = given(opened(100_000, fee_bps="7.5", slippage_model="spread"), priced("BTC-USD", 50_000))
    page.happens(
        open_long("BTC-USD", "0.3", leverage="2.5", rationale="breakout — “strong”"),
        later(3),
        priced("BTC-USD", "50123.45678901"),
        open_long("BTC-USD", "0.12345678"),
        mark("pass-1"),
        reduce_long("BTC-USD", fraction="0.33333333"),
        open_long("BTC-USD", 90),
        open_short("ETH-USD", 1, max_price="1"),
        later(60),
        priced("BTC-USD", "49000.00000001"),
        close_long("BTC-USD"),
        complete("close"),
    )
    return page


def both_sides() -> Page:
    """A long and a short of one symbol, a stale valuation, a pause, a lock; settled without closing."""
    page = given(opened(50_000), priced("ETH-USD", 2_000), open_long("ETH-USD", 3), open_short("ETH-USD", 2))
    page.happens(unpriced("ETH-USD"), mark("pass-1"), mark("pass-2"), priced("ETH-USD", 2_100), mark("pass-3"))
    page.happens(pause("review"), open_long("ETH-USD", 1), lock("inspection"), resume("inspected"))
    page.happens(close_short("ETH-USD"), complete("none"))
    return page


def fallen() -> Page:
    """Liquidated by a mark below the drawdown, in two symbols; refused afterwards."""
    page = given(opened(10_000, max_drawdown="0.1", fee_bps=10), priced("ETH-USD", 2_000))
    page.happens(open_long("BTC-USD", "0.5"), open_short("ETH-USD", 5))
    page.happens(later(5), priced("BTC-USD", 47_000), mark("pass-1"), later(5), open_long("BTC-USD", 1))
    return page


def ended_on_request() -> Page:
    """Liquidated by an administrator."""
    return given(opened(10_000), open_long("BTC-USD", "0.1"), later(2), liquidate("asked for"))


def corrected() -> Page:
    """Fills taken out, one with what depended on it; then recomputed."""
    page = given(opened(200_000, max_notional=200_000), open_long("BTC-USD", 1))
    page.happens(later(1), priced("BTC-USD", 52_000), open_long("BTC-USD", 1), later(1), priced("BTC-USD", 54_000))
    page.happens(reduce_long("BTC-USD", "0.5"), reduce_long("BTC-USD", "0.3"), void_fill(1))
    page.happens(later(1), open_short("BTC-USD", "0.2"), close_short("BTC-USD"), void_fill(5, cascade=True))
    recomputed = page.book.recomputed("monthly check", (), page.now, request_id="recompute")
    page.ledger += recomputed.recorded
    return page


def under_rules() -> Page:
    """A warning and then a breach of the daily loss, on the second day, under a trailing drawdown."""
    rules = {
        "max_daily_loss": MaxDailyLoss(fraction=decimal("0.05"), basis="day_start", of="equity"),
        "trailing_drawdown": TrailingDrawdown(mode="intraday_equity", fraction=decimal("0.2")),
    }
    page = given(opened(100_000, fee_bps=0, max_notional=200_000, **rules), open_long("BTC-USD", 1))
    page.happens(later(DAY_S), priced("BTC-USD", 52_000), mark("pass-1"))
    page.happens(later(60), priced("BTC-USD", 47_700), mark("pass-2"), priced("BTC-USD", 46_000), mark("pass-3"))
    page.happens(later(60), priced("BTC-USD", 44_999), mark("pass-4"))
    return page


def reached() -> Page:
    """Completed by a mark at its profit target."""
    target = ProfitTarget(fraction=decimal("0.05"), min_trading_days=1)
    page = given(opened(100_000, fee_bps=0, max_notional=200_000, profit_target=target), open_long("BTC-USD", 2))
    page.happens(later(60), priced("BTC-USD", 53_000), mark("pass-1"))
    return page


SCENARIOS: Final[Mapping[str, Callable[[], Page]]] = {
    scenario.__name__: scenario
    for scenario in (a_round_trip, both_sides, fallen, ended_on_request, corrected, under_rules, reached)
}
