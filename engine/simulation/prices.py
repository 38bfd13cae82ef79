"""PriceTable: what every symbol was quoted at, at every moment of a simulation.

Guarantee: times strictly increase; a quote is the last one observed at or before its tick, carried forward with the
time it was observed, so a feed that froze is a quote that grows old. Prices are exact, in units of 1e-8.
Whether a quote is a price at all is not asked here but where it is used, as in `engine.quotes.fault`: 0 is no price.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

import numpy as np

from engine.quotes import Quote
from engine.simulation.faults import BadInput, InputCode
from engine.simulation.units import TIME_US_MAX, Ints, decimal, moment

TICKS_MAX: Final = 10_000_000
SYMBOLS_MAX: Final = 1_000
SYMBOL_CHARACTERS_MAX: Final = 64
CELLS_MAX: Final = 200_000_000
"""Ticks times symbols: 32 bytes each."""
CELLS_AT_ONCE: Final = 16_384
"""Of so many, arrays are made Python's whole numbers in one go."""

Cell = tuple[int, int, int, int]
"""Bid, ask, mid and when they were observed, of one symbol at one tick."""
NEVER: Final[Cell] = (0, 0, 0, 0)


@dataclass(frozen=True, eq=False, kw_only=True)
class PriceTable:
    """`times` [T] in microseconds since 1970 UTC: the ticks, moments at which something can happen.

    `bid`, `ask`, `mid` [T, S] in units of 1e-8 (0: no price is known yet); `observed` [T, S]: when that quote was
    observed, in microseconds.
    """

    times: Ints
    symbols: tuple[str, ...]
    bid: Ints
    ask: Ints
    mid: Ints
    observed: Ints
    source: str = "simulation"

    def __post_init__(self) -> None:
        _check(self)

    @property
    def ticks(self) -> int:
        return len(self.times)

    def column(self, symbol: str) -> int:
        """The place of a symbol; raises `BadInput`."""
        try:
            return self.symbols.index(symbol)
        except ValueError:
            raise BadInput(InputCode.UNKNOWN_SYMBOL, f"there are no prices of {symbol!r}", symbol=symbol) from None

    def quotes(self, tick: int) -> dict[str, Quote]:
        """The price vector of a tick, as the live engine sees one: symbols that were never quoted are not in it."""
        return next(self.between(tick, tick + 1).vectors())[1]

    def vectors(self) -> Iterator[tuple[datetime, dict[str, Quote]]]:
        """Every tick's moment and price vector, in order. A quote that is carried forward stays the same object."""
        cells: list[Cell] = [NEVER] * len(self.symbols)
        quotes: list[Quote | None] = [None] * len(self.symbols)
        ticks_at_once = max(1, CELLS_AT_ONCE // len(self.symbols))
        for start in range(0, self.ticks, ticks_at_once):
            part = slice(start, start + ticks_at_once)
            columns = (self.times, self.bid, self.ask, self.mid, self.observed)
            for at_us, *vector in zip(*(each[part].tolist() for each in columns), strict=True):
                found, now = {}, moment(at_us)
                for place, cell in enumerate(zip(*vector, strict=True)):
                    if cell != cells[place]:
                        cells[place], quotes[place] = cell, self._quote(place, cell, at_us, now)
                    quote = quotes[place]
                    if quote is not None:
                        found[self.symbols[place]] = quote
                yield now, found

    def _quote(self, place: int, cell: Cell, at_us: int, now: datetime) -> Quote | None:
        bid, ask, mid, observed_us = cell
        if not (bid or ask or mid):
            return None
        middle = decimal(mid)
        return Quote(
            self.symbols[place],
            middle if bid == mid else decimal(bid),
            middle if ask == mid else decimal(ask),
            middle,
            self.source,
            now if observed_us == at_us else moment(observed_us),
        )

    def between(self, start: int, stop: int) -> "PriceTable":
        """Ticks from `start` to before `stop`; what is cut off is not copied."""
        part = slice(start, stop)
        return PriceTable(
            times=self.times[part],
            symbols=self.symbols,
            bid=self.bid[part],
            ask=self.ask[part],
            mid=self.mid[part],
            observed=self.observed[part],
            source=self.source,
        )

    def owned(self) -> "PriceTable":
        """The same, in memory of its own where it lay in memory that others share: compiled code takes read-only arrays
        for another type, and is compiled for it anew."""
        if self.mid.flags.writeable:
            return self
        times, observed = self.times.copy(), self.observed.copy()
        bid, ask, mid = self.bid.copy(), self.ask.copy(), self.mid.copy()
        return replace(self, times=times, bid=bid, ask=ask, mid=mid, observed=observed)

    def moved(self, first_us: int) -> "PriceTable":
        """The same prices at other times: the first tick at this microsecond, and all others as far from it."""
        by = np.int64(first_us - int(self.times[0]))
        seen = np.where((self.bid | self.ask | self.mid) != 0, self.observed + by, 0)
        return replace(self, times=self.times + by, observed=seen)


def _check(table: PriceTable) -> None:
    times, symbols = table.times, table.symbols
    if not len(times) or not symbols:
        raise BadInput(InputCode.EMPTY, "there are no prices")
    _limited("ticks", len(times), TICKS_MAX)
    _limited("symbols", len(symbols), SYMBOLS_MAX)
    _limited("ticks times symbols", len(times) * len(symbols), CELLS_MAX)
    if len(set(symbols)) != len(symbols):
        raise BadInput(InputCode.DUPLICATE, "a symbol is named twice")
    for symbol in symbols:
        if not 0 < len(symbol) <= SYMBOL_CHARACTERS_MAX:
            limit = SYMBOL_CHARACTERS_MAX
            raise BadInput(InputCode.OUT_OF_RANGE, f"a symbol has 1 to {limit} characters", symbol=symbol, limit=limit)
    shape = (len(times), len(symbols))
    for name in ("bid", "ask", "mid", "observed"):
        column = getattr(table, name)
        if column.dtype != np.int64 or column.shape != shape:
            wanted = f"int64 {shape}"
            raise BadInput(InputCode.WRONG_SHAPE, f"{name} is {column.dtype} {column.shape}, not {wanted}", name=name)
    if times.dtype != np.int64 or times.ndim != 1:
        raise BadInput(InputCode.WRONG_SHAPE, f"times are {times.dtype} {times.shape}, not int64 of one dimension")
    steps = np.diff(times)
    if (steps <= 0).any():
        tick = int(np.argmax(steps <= 0)) + 1
        code = InputCode.DUPLICATE if steps[tick - 1] == 0 else InputCode.NOT_SORTED
        raise BadInput(code, f"tick {tick} ({moment(int(times[tick]))}) is not after the one before it", tick=tick)
    if times[0] < 0 or times[-1] > TIME_US_MAX:
        raise BadInput(InputCode.OUT_OF_RANGE, f"times lie between 1970 and {moment(TIME_US_MAX):%Y}")
    if (table.observed < 0).any() or (table.observed > TIME_US_MAX).any():
        raise BadInput(InputCode.OUT_OF_RANGE, f"observation times lie between 1970 and {moment(TIME_US_MAX):%Y}")


def _limited(name: str, count: int, limit: int) -> None:
    if count > limit:
        raise BadInput(InputCode.TOO_MANY, f"{count:,} {name}: at most {limit:,}", name=name, count=count, limit=limit)
