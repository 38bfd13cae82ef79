"""The frozen result is what the ledger alone says, summed up once more from its events and in another way."""

import random
from datetime import date, timedelta
from fractions import Fraction
from math import sqrt
from statistics import fmean, stdev

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.events import (
    AccountCreated,
    Event,
    FillBooked,
    FillVoided,
    MarkedToMarket,
    PositionChanged,
    PositionClosed,
    PositionOpened,
    RecordedEvent,
)
from engine.positions import Position
from engine.results import result_of
from engine.statistics import DAYS_MIN
from tests.support.ledger_page import (
    Page,
    close_long,
    close_short,
    complete,
    decoded,
    later,
    mark,
    open_long,
    open_short,
    opened,
    priced,
    reduce_long,
    void_fill,
)

SYMBOLS = ("BTC-USD", "ETH-USD")


def lived(seed: int) -> Page:
    """Some days of trading, marking and correcting, until the end."""
    chance = random.Random(seed)
    page = Page(opened(100_000))
    mids = {"BTC-USD": 50_000.0, "ETH-USD": 2_000.0}
    for _ in range(chance.randint(0, 40)):
        for symbol in SYMBOLS:
            mids[symbol] *= chance.uniform(0.93, 1.07)
            page.happens(priced(symbol, round(mids[symbol])))
        symbol, size = chance.choice(SYMBOLS), chance.choice((400, 3_000, 9_000))
        step = chance.choice(
            (
                open_long(symbol, notional=size),
                open_short(symbol, notional=size),
                reduce_long(symbol, fraction="0.4"),
                close_long(symbol),
                close_short(symbol),
                mark(),
                mark(),
                void_fill(chance.randint(1, max(1, page.account.counters.fills)), cascade=True)
                if page.account.counters.fills
                else mark(),
            )
        )
        page.happens(step)
        if page.account.is_terminal:
            return page
        page.happens(later(chance.choice((1, 3_600, 40_000, 200_000))))
    for symbol in SYMBOLS:
        page.happens(priced(symbol, round(mids[symbol])))
    page.happens(complete(chance.choice(("close", "none"))))
    return page


class Recount:
    """What a reader of the ledger would count, event by event, in fractions and floats."""

    def __init__(self, ledger: list[RecordedEvent]) -> None:
        self.equity = self.peak = self.start = Fraction(0)
        self.drawdown = Fraction(0)
        self.by_day: dict[date, Fraction] = {}
        self.notionals: dict[str, Fraction] = {}
        self.closed: dict[int, Position] = {}
        self.open: set[tuple[str, str]] = set()
        self.exposed = timedelta()
        self.started, self.ended = (
            next(each.occurred_at for each in ledger if each.type in types)
            for types in (("account_started",), ("account_completed", "account_liquidated"))
        )
        before = ledger[0].occurred_at
        for recorded in ledger:
            if self.open:
                self.exposed += recorded.occurred_at - before
            before = recorded.occurred_at
            self._count(decoded(recorded))
            self.by_day[recorded.occurred_at.date()] = self.equity

    def _count(self, event: Event) -> None:
        match event:
            case AccountCreated(opening=opening):
                self.start = self.equity = self.peak = Fraction(opening.starting_balance)
            case FillBooked():
                self.notionals[event.fill_id] = Fraction(event.notional)
            case FillVoided():
                for fill_id in event.fill_ids:
                    del self.notionals[fill_id]
                for gone in event.gone:
                    self.closed.pop(gone, None)
                self.open = {position.key for position in event.positions}
                for position in event.positions:
                    self.closed.pop(position.opened_seq, None)
                self.closed |= {position.opened_seq: position for position in event.closed}
            case PositionOpened():
                self.open.add(event.position.key)
            case PositionClosed():
                self.open.discard(event.position.key)
                self.closed[event.position.opened_seq] = event.position
        if isinstance(event, PositionChanged | MarkedToMarket | FillVoided):
            self.equity = Fraction(event.equity)
            self.drawdown = max(self.drawdown, 1 - self.equity / Fraction(event.high_watermark))

    @property
    def returns(self) -> list[float]:
        day, last, found = self.started.date(), self.start, []
        while day <= self.ended.date():
            now = self.by_day.get(day, last)
            found.append(float(now / last - 1))
            day, last = day + timedelta(days=1), now
        return found

    @property
    def nets(self) -> list[Fraction]:
        return [Fraction(position.realized_pnl) - Fraction(position.fees) for position in self.closed.values()]


@given(st.integers(0, 10**9))
def test_the_result_is_what_the_ledger_says(seed: int):
    page = lived(seed)
    result = result_of(page.account, page.ledger)
    assert result is not None
    recount, found = Recount(page.ledger), result.statistics
    page.replays()

    def same(figure: object, expected: float | Fraction | None) -> None:
        if expected is None:
            assert figure is None
        else:
            assert float(figure) == pytest.approx(float(expected), rel=1e-9, abs=6e-9)  # type: ignore[arg-type]  # figures, as just compared

    same(found.total_return, recount.equity / recount.start - 1)
    same(found.max_drawdown, recount.drawdown)
    same(found.turnover, sum(recount.notionals.values()) / recount.start)
    assert found.trades == len(recount.nets)
    same(found.win_rate, Fraction(sum(net > 0 for net in recount.nets), len(recount.nets)) if recount.nets else None)
    losses = -sum(net for net in recount.nets if net < 0)
    same(found.profit_factor, sum(net for net in recount.nets if net > 0) / losses if losses else None)
    lasted = recount.ended - recount.started
    same(found.exposure, recount.exposed / lasted if lasted else None)
    returns = recount.returns
    assert found.days == len(returns)
    downside = [min(each, 0.0) ** 2 for each in returns]
    enough = len(returns) >= DAYS_MIN
    same(found.sharpe, fmean(returns) / stdev(returns) * sqrt(365) if enough and any(returns) else None)
    same(found.sortino, fmean(returns) / sqrt(fmean(downside)) * sqrt(365) if enough and any(downside) else None)
    assert msgspec.json.decode(msgspec.json.encode(result), type=type(result)) == result
