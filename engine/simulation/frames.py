"""Frames: data frames of quotes, bars and recorded actions as the tables that the engines read.

Quotes are rows of (time, symbol, bid, ask) with an optional mid; bars rows of (time, symbol, close), whose close
becomes the mid. Rows come in the order of their times. A time is a tick; a symbol without a row at a tick keeps its
last quote, which grows old. Null prices are a quote that is no price, as in the live table; NaN is a mistake.
"""

from decimal import Decimal
from typing import Any, Final

import numpy as np
import pyarrow as pa

from engine.simulation import columns
from engine.simulation.actions import COLUMNS, NO_SIDE, NO_SYMBOL, SIDES, UNKNOWN, UNSIZED, WORDS, ActionTable
from engine.simulation.columns import figures
from engine.simulation.faults import BadInput, InputCode
from engine.simulation.prices import SYMBOLS_MAX, PriceTable
from engine.simulation.units import SCALE, Flags, Int8s, Int16s, Ints, decimal, figure, moment, units

HALF_SPREAD_BPS: Final = Decimal(0)
HALF_SPREAD_BPS_MAX: Final = Decimal(5_000)
SIZES: Final = ("quantity", "notional", "fraction")
"""Columns of sizes, in the order of `actions.QUANTITY` and its neighbours."""


def prices_of(
    frame: Any, *, half_spread_bps: Decimal | int = HALF_SPREAD_BPS, source: str = "simulation"
) -> PriceTable:
    """Quotes, or bars where there is a column `close`. Raises `BadInput`.

    `half_spread_bps`: how far bid and ask of a bar lie from its close, in hundredths of a per cent of it, rounded down
    to 8 decimals. Symbols are in alphabetical order.
    """
    half_spread_bps = figure(half_spread_bps, "half a spread")
    table = columns.arrow(frame, "prices")
    if not table.num_rows:
        raise BadInput(InputCode.EMPTY, "there are no prices")
    at = columns.times(columns.column(table, "time", "prices"), "time")
    place, symbols = _symbols(table)
    bid, ask, mid = _bars(table, half_spread_bps) if "close" in table.schema.names else _quotes(table)
    _in_order(at, place, symbols)
    times, tick = np.unique(at, return_inverse=True)
    row_at = np.full((len(times), len(symbols)), -1, np.int64)
    row_at[tick, place] = np.arange(len(at))
    last = np.maximum.accumulate(row_at, axis=0)  # a later row has a higher number: the last one carries on
    known = last >= 0

    def spread(values: Ints) -> Ints:
        return np.where(known, values[last], 0)

    return PriceTable(
        times=times,
        symbols=symbols,
        bid=spread(bid),
        ask=spread(ask),
        mid=spread(mid),
        observed=spread(at),
        source=source,
    )


def actions_of(frame: Any, prices: PriceTable) -> ActionTable:
    """Rows of (time, account, action, symbol, side), with the sizes, leverage and bounds that each has.

    Raises `BadInput`.
    An action is judged at the first tick at or after its time, and those of one account and tick in the order of their
    rows; `tick` may stand in for `time`. What no row has may be left out.
    """
    table = columns.arrow(frame, "actions")
    rows = table.num_rows
    account = columns.whole_numbers(columns.column(table, "account", "actions"), "account")
    wrong = (account < 0) | (account > np.iinfo(np.int32).max)
    if wrong.any():
        row = int(np.argmax(wrong))
        raise BadInput(InputCode.OUT_OF_RANGE, f"account of row {row} is {account[row]}", row=row)
    sizing, size = _sizes(table)
    made: dict[str, Ints | Int8s | Int16s] = {
        "account": account,
        "tick": _ticks(table, prices),
        "kind": _kinds(table),
        "symbol": _known(table, "symbol", prices.symbols, NO_SYMBOL, InputCode.UNKNOWN_SYMBOL),
        "side": _known(table, "side", SIDES, NO_SIDE, InputCode.UNKNOWN_WORD),
        "sizing": sizing,
        "size": size,
    }
    for name in ("leverage", "min_price", "max_price"):
        made[name] = _above_zero(table, name)
    order = np.lexsort((np.arange(rows), made["account"], made["tick"]))
    return ActionTable(**{name: made[name][order].astype(dtype) for name, dtype in COLUMNS.items()})


def _symbols(table: pa.Table) -> tuple[Ints, tuple[str, ...]]:
    index, found = columns.words(columns.column(table, "symbol", "prices"), "symbol")
    if (index < 0).any():
        row = int(np.argmax(index < 0))
        raise BadInput(InputCode.UNKNOWN_SYMBOL, f"row {row} names no symbol", row=row)
    if len(found) > SYMBOLS_MAX:
        raise BadInput(InputCode.TOO_MANY, f"{len(found):,} symbols: at most {SYMBOLS_MAX:,}", limit=SYMBOLS_MAX)
    symbols = tuple(sorted(found))
    places = {symbol: place for place, symbol in enumerate(symbols)}
    return np.array([places[symbol] for symbol in found], np.int64)[index], symbols


def _quotes(table: pa.Table) -> tuple[Ints, Ints, Ints]:
    """A side that is null makes the quote no price, as in the live table; a null mid is the middle, half-even."""
    (bid, bids), (ask, asks) = (figures(columns.column(table, name, "prices"), name) for name in ("bid", "ask"))
    middle = (bid >> 1) + (ask >> 1) + (bid & ask & 1)  # the sum itself may not fit
    middle += (bid ^ ask) & middle & 1
    if "mid" in table.schema.names:
        mid, mids = figures(columns.column(table, "mid", "prices"), "mid")
        middle = np.where(mids, mid, middle)
    is_quote = bids & asks
    return np.where(is_quote, bid, 0), np.where(is_quote, ask, 0), np.where(is_quote, middle, 0)


def _bars(table: pa.Table, half_spread_bps: Decimal) -> tuple[Ints, Ints, Ints]:
    if not 0 <= half_spread_bps <= HALF_SPREAD_BPS_MAX:
        limit = int(HALF_SPREAD_BPS_MAX)
        raise BadInput(InputCode.OUT_OF_RANGE, f"half a spread is 0 to {limit} bps, not {half_spread_bps}", limit=limit)
    close, _ = figures(columns.column(table, "close", "prices"), "close")
    return spread_around(close, half_spread_bps)


def spread_around(mid: Ints, half_spread_bps: Decimal) -> tuple[Ints, Ints, Ints]:
    """Bid, ask and mid: half the spread is rounded down, so that it never grows."""
    part = units(half_spread_bps, "half a spread")
    half = np.array([each * part // (10_000 * SCALE) for each in mid.tolist()], np.int64)  # products need more bits
    return mid - half, mid + half, mid


def _in_order(at: Ints, place: Ints, symbols: tuple[str, ...]) -> None:
    back = np.diff(at) < 0
    if back.any():
        row = int(np.argmax(back)) + 1
        detail = f"row {row} ({moment(int(at[row]))}) lies before the row above it: sort by time"
        raise BadInput(InputCode.NOT_SORTED, detail, row=row)
    order = np.lexsort((place, at))
    again = (np.diff(at[order]) == 0) & (np.diff(place[order]) == 0)
    if again.any():
        row = int(order[int(np.argmax(again)) + 1])
        detail = f"row {row} is a second price of {symbols[place[row]]} at {moment(int(at[row]))}"
        raise BadInput(InputCode.DUPLICATE, detail, row=row, symbol=symbols[place[row]])


def _ticks(table: pa.Table, prices: PriceTable) -> Ints:
    if "tick" in table.schema.names:
        tick = columns.whole_numbers(columns.column(table, "tick", "actions"), "tick")
    else:
        tick = np.searchsorted(prices.times, columns.times(columns.column(table, "time", "actions"), "time"))
    beyond = (tick < 0) | (tick >= prices.ticks)
    if beyond.any():
        row = int(np.argmax(beyond))
        raise BadInput(
            InputCode.OUT_OF_RANGE, f"action {row} lies beyond the last tick", row=row, limit=prices.ticks - 1
        )
    return np.asarray(tick, np.int64)


def _kinds(table: pa.Table) -> Ints:
    index, found = columns.words(columns.column(table, "action", "actions"), "action")
    kinds = {word: kind for kind, word in enumerate(WORDS)}
    if (index < 0).any():
        row = int(np.argmax(index < 0))
        raise BadInput(InputCode.UNKNOWN_WORD, f"action {row} is no word at all", row=row)
    return np.array([kinds.get(word, UNKNOWN) for word in found] or [UNKNOWN], np.int64)[index]


def _known(table: pa.Table, name: str, known: tuple[str, ...], none: int, code: InputCode) -> Ints:
    """The place of each word among those that are known."""
    if name not in table.schema.names:
        return np.full(table.num_rows, none, np.int64)
    index, found = columns.words(columns.column(table, name, "actions"), name)
    unknown = [word for word in found if word not in known]
    if unknown:
        row = int(np.argmax(index == found.index(unknown[0])))
        raise BadInput(code, f"{name} of action {row} is {unknown[0]!r}, which is not known", row=row)
    return np.array([*(known.index(word) for word in found), none], np.int64)[index]


def _optional(table: pa.Table, name: str) -> tuple[Ints, Flags]:
    if name not in table.schema.names:
        return np.zeros(table.num_rows, np.int64), np.zeros(table.num_rows, np.bool_)
    return figures(columns.column(table, name, "actions"), name)


def _above_zero(table: pa.Table, name: str) -> Ints:
    """0 where there is none. No row can say 0 itself: the live door takes no such price and lets no such leverage
    through."""
    values, given = _optional(table, name)
    wrong = given & (values <= 0)
    if wrong.any():
        row = int(np.argmax(wrong))
        detail = f"{name} of action {row} is {decimal(int(values[row]))}: above 0, or left out"
        raise BadInput(InputCode.OUT_OF_RANGE, detail, row=row)
    return values


def _sizes(table: pa.Table) -> tuple[Ints, Ints]:
    sizing, size = np.full(table.num_rows, UNSIZED, np.int64), np.zeros(table.num_rows, np.int64)
    for kind, name in enumerate(SIZES, 1):
        values, given = _optional(table, name)
        twice = given & (sizing != UNSIZED)
        if twice.any():
            row = int(np.argmax(twice))
            raise BadInput(InputCode.OUT_OF_RANGE, f"action {row} has two sizes", row=row)
        sizing, size = np.where(given, kind, sizing), np.where(given, values, size)
    return sizing, size
