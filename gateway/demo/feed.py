"""Feed: recorded daily prices written to `market_prices`, the way Data Ingestion would write live ones.

The bars are those of bokeh-sampledata: AAPL, IBM and MSFT from 2000-03-01 to 2013-03-01, GOOG from 2004-08-19, FB from
2012-05-18. A day's price is its Close as it was quoted then. Nothing is adjusted: a split shows as the fall that a
holder without the new shares would see (AAPL halves on 2000-06-21).

A step is a trading day. All symbols advance together; one that has no bar on a day keeps its last close, also when the
days are over and the first comes again. Bid and ask stand a few basis points around the close. `observed_at` is the
moment of writing: the engine trades old prices as if they were made now, and knows nothing of the replay.
"""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import UTC, date, datetime
from decimal import ROUND_HALF_EVEN, Decimal
from pathlib import Path
from typing import Final, Self

import psycopg

SYMBOLS: Final = ("AAPL", "IBM", "MSFT", "GOOG", "FB")
SOURCE: Final = "bokeh-sampledata"
HALF_SPREAD_BPS: Final = Decimal(2)
TICK: Final = Decimal("0.0001")
BARS_PER_SECOND: Final = 2.0
"""The fall of spring 2000 comes about twelve seconds after the first step."""
RECONNECT_SECONDS: Final = 0.5

INSERT: Final = """
insert into market_prices (symbol, bid, ask, mid, source, observed_at)
select *, null, %(source)s, %(at)s from unnest(%(symbols)s::text[], %(bids)s::numeric[], %(asks)s::numeric[])
"""


class NoPrices(Exception):
    """The package with the prices is not installed."""


class Replay:
    """Closes by trading day, for as many steps as one likes: when the days are over they start again."""

    def __init__(self, bars: Mapping[str, Mapping[date, Decimal]]) -> None:
        self.days: Sequence[date] = sorted({day for closes in bars.values() for day in closes})
        self._closes: list[dict[str, Decimal]] = []
        known: dict[str, Decimal] = {}
        for day in self.days:
            known = known | {symbol: closes[day] for symbol, closes in bars.items() if day in closes}
            self._closes.append(known)

    @classmethod
    def recorded(cls) -> Self:
        """The real prices. Raises :class:`NoPrices`."""
        try:
            from bokeh_sampledata import stocks
        except ImportError as error:
            raise NoPrices(f"the demo's prices are missing ({error}): pip install 'prop-engine[demo]'") from None
        return cls({symbol: _closes(getattr(stocks, symbol)) for symbol in SYMBOLS})

    def day(self, step: int) -> date:
        return self.days[step % len(self.days)]

    def closes(self, step: int) -> Mapping[str, Decimal]:
        """Every symbol that has been listed by then, at its last close."""
        today = self._closes[step % len(self.days)]
        return today if step < len(self.days) else self._closes[-1] | today


def _closes(bars: Mapping[str, Sequence[str | float]]) -> dict[date, Decimal]:
    days, closes = bars["date"], bars["close"]
    return {date.fromisoformat(str(day)): Decimal(str(close)) for day, close in zip(days, closes, strict=True)}


def bid_and_ask(close: Decimal) -> tuple[Decimal, Decimal]:
    half = (close * HALF_SPREAD_BPS / 10_000).quantize(TICK, ROUND_HALF_EVEN)
    return close - half, close + half


class Feed:
    """Writes the replay into a database at a steady pace, and remembers in a file how far it has come."""

    def __init__(self, replay: Replay, database_url: str, file: Path, *, bars_per_second: float) -> None:
        self._replay = replay
        self._database_url = database_url
        self._file = file
        self._seconds = 1 / bars_per_second
        self.step = _stored_step(file)
        """The step to be written next; the last one again after a start, since its quotes are stale by then."""
        self.day = replay.day(self.step)

    async def run(self) -> None:
        """Write step after step, until cancelled. A database that went away is waited for: then prices are late."""
        loop = asyncio.get_running_loop()
        while True:
            with contextlib.suppress(psycopg.OperationalError):
                async with _connection(self._database_url) as connection:
                    due = loop.time()
                    while True:
                        await self._write(connection)
                        due = max(due + self._seconds, loop.time())
                        await asyncio.sleep(due - loop.time())
                        self.step += 1
            await asyncio.sleep(RECONNECT_SECONDS)

    async def _write(self, connection: psycopg.AsyncConnection) -> None:
        closes = self._replay.closes(self.step)
        sides = [bid_and_ask(close) for close in closes.values()]
        await connection.execute(
            INSERT,
            {
                "source": SOURCE,
                "at": datetime.now(UTC),
                "symbols": list(closes),
                "bids": [bid for bid, _ in sides],
                "asks": [ask for _, ask in sides],
            },
        )
        self.day = self._replay.day(self.step)
        _store_step(self._file, self.step, self.day)


@contextlib.asynccontextmanager
async def _connection(database_url: str) -> AsyncIterator[psycopg.AsyncConnection]:
    connection = await psycopg.AsyncConnection.connect(
        database_url, autocommit=True, application_name="prop-demo-feed", connect_timeout=5
    )
    async with connection:
        yield connection


def _stored_step(file: Path) -> int:
    try:
        return max(0, int(json.loads(file.read_text())["step"]))
    except (OSError, ValueError, KeyError, TypeError):
        return 0


def _store_step(file: Path, step: int, day: date) -> None:
    fresh = file.with_suffix(".new")
    fresh.write_text(json.dumps({"step": step, "day": day.isoformat()}))
    fresh.replace(file)
