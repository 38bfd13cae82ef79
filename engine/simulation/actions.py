"""ActionTable: recorded actions of many accounts, as columns.

Guarantee: sorted by tick, then account, then the order in which they are to be judged; every index points at an
account, a tick and a symbol that exist; every action has the sizes its kind takes, as at the live door. At a tick the
actions come first, in order, judged at that tick's time and quotes; then the tick's mark.
"""

from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Final, NamedTuple

import numpy as np

from engine.commands import Action
from engine.policy import LONG, SHORT, Side
from engine.simulation.faults import BadInput, InputCode
from engine.simulation.prices import PriceTable
from engine.simulation.units import SCALE, Flags, Int8s, Int16s, Int32s, Ints, decimal

OPEN, REDUCE, CLOSE, HOLD, CANCEL, UNKNOWN = range(6)
WORDS: Final = ("open", "reduce", "close", "hold", "cancel", "unknown")
"""By kind. Of a word the engine does not know only that is kept: it is refused whatever it was."""
NO_SIDE: Final = -1
LONG_SIDE, SHORT_SIDE = range(2)
SIDES: Final[tuple[Side, ...]] = (LONG, SHORT)
NO_SYMBOL: Final = -1
UNSIZED, QUANTITY, NOTIONAL, FRACTION = range(4)
SIZED: Final = {OPEN: (QUANTITY, NOTIONAL), REDUCE: (QUANTITY, FRACTION), CLOSE: (UNSIZED,)}
"""The sizes that an action of a kind may have; others need none."""
ACTIONS_MAX: Final = 200_000_000
ACCOUNTS_MAX: Final = 2**31 - 1
ROWS_AT_ONCE: Final = 16_384
"""Of so many, arrays are made Python's whole numbers in one go."""
ALL: Final = slice(None)


class Row(NamedTuple):
    """A row of an `ActionTable`."""

    tick: int
    account: int
    kind: int
    symbol: int
    side: int
    sizing: int
    size: int
    leverage: int
    min_price: int
    max_price: int

    def action(self, symbols: tuple[str, ...], decision_action_id: str) -> Action:
        """As the live engine takes it."""
        sizing, size = self.sizing, decimal(self.size)
        return Action(
            decision_action_id=decision_action_id,
            action=WORDS[self.kind],
            symbol=None if self.symbol == NO_SYMBOL else symbols[self.symbol],
            side=None if self.side == NO_SIDE else SIDES[self.side],
            quantity=size if sizing == QUANTITY else None,
            notional=size if sizing == NOTIONAL else None,
            fraction=size if sizing == FRACTION else None,
            leverage=decimal(self.leverage) if self.leverage else None,
            min_price=decimal(self.min_price) if self.min_price else None,
            max_price=decimal(self.max_price) if self.max_price else None,
        )


@dataclass(frozen=True, eq=False, kw_only=True)
class ActionTable:
    """One row an action. `account` and `tick` are indexes; `kind` is one of OPEN to UNKNOWN; `symbol` an index of the
    price table's symbols (NO_SYMBOL: none); `side` LONG_SIDE, SHORT_SIDE or NO_SIDE; `sizing` says what `size` is.

    `size`, `leverage`, `min_price` and `max_price` are in units of 1e-8. `leverage` 0: none was asked for, so it is the
    policy's maximum. `min_price`, `max_price` 0: no such bound.
    """

    account: Int32s
    tick: Int32s
    kind: Int8s
    symbol: Int16s
    side: Int8s
    sizing: Int8s
    size: Ints
    leverage: Ints
    min_price: Ints
    max_price: Ints

    def __len__(self) -> int:
        return len(self.account)

    @classmethod
    def empty(cls) -> "ActionTable":
        return cls(**{name: np.zeros(0, dtype) for name, dtype in COLUMNS.items()})

    def check(self, *, prices: PriceTable, accounts: int) -> None:
        """Raises `BadInput` where a row cannot be judged or rows are out of order."""
        _check(self, prices=prices, accounts=accounts)

    def rows_of(self, start: int, stop: int) -> Ints:
        """The rows of accounts from `start` to before `stop`."""
        return np.flatnonzero((self.account >= start) & (self.account < stop))

    def of_accounts(self, start: int, stop: int) -> "ActionTable":
        """Those rows, in which indexes of accounts begin at 0."""
        chosen = self.rows_of(start, stop)
        columns = {field.name: getattr(self, field.name)[chosen] for field in fields(self)}
        columns["account"] = columns["account"] - np.int32(start)
        return ActionTable(**columns)

    def action(self, row: int, symbols: tuple[str, ...], decision_action_id: str) -> Action:
        """The row as the live engine takes it."""
        return next(self.rows(slice(row, row + 1))).action(symbols, decision_action_id)

    def rows(self, chosen: slice = ALL) -> Iterator[Row]:
        """Rows in order."""
        columns = [getattr(self, name)[chosen] for name in Row._fields]
        for start in range(0, len(columns[0]), ROWS_AT_ONCE):
            part = slice(start, start + ROWS_AT_ONCE)
            yield from map(Row._make, zip(*(column[part].tolist() for column in columns), strict=True))


COLUMNS: Final[dict[str, type[np.generic]]] = {
    "account": np.int32,
    "tick": np.int32,
    "kind": np.int8,
    "symbol": np.int16,
    "side": np.int8,
    "sizing": np.int8,
    "size": np.int64,
    "leverage": np.int64,
    "min_price": np.int64,
    "max_price": np.int64,
}


def _check(table: ActionTable, *, prices: PriceTable, accounts: int) -> None:
    rows = len(table)
    if rows > ACTIONS_MAX:
        raise BadInput(InputCode.TOO_MANY, f"{rows:,} actions: at most {ACTIONS_MAX:,}", count=rows, limit=ACTIONS_MAX)
    for name, dtype in COLUMNS.items():
        column = getattr(table, name)
        if column.dtype != dtype or column.shape != (rows,):
            wanted = f"{np.dtype(dtype)} ({rows},)"
            raise BadInput(InputCode.WRONG_SHAPE, f"{name} is {column.dtype} {column.shape}, not {wanted}", name=name)
    if not rows:
        return
    _within("account", table.account, 0, accounts - 1)
    _within("tick", table.tick, 0, prices.ticks - 1)
    _within("kind", table.kind, OPEN, UNKNOWN)
    _within("symbol", table.symbol, NO_SYMBOL, len(prices.symbols) - 1)
    _within("side", table.side, NO_SIDE, SHORT_SIDE)
    _within("sizing", table.sizing, UNSIZED, FRACTION)
    for name in ("leverage", "min_price", "max_price"):
        _none(getattr(table, name) < 0, InputCode.OUT_OF_RANGE, f"{name} is below 0")
    _sized(table)
    place = table.tick.astype(np.int64) * ACCOUNTS_MAX + table.account
    _none(np.diff(place, prepend=place[:1]) < 0, InputCode.NOT_SORTED, "comes before the one above it (tick, account)")


def _sized(table: ActionTable) -> None:
    judged = table.kind <= CLOSE
    unplaced = judged & ((table.symbol == NO_SYMBOL) | (table.side == NO_SIDE))
    _none(unplaced, InputCode.OUT_OF_RANGE, "names no symbol or no side")
    for kind, sizings in SIZED.items():
        wrong = (table.kind == kind) & ~np.isin(table.sizing, sizings)
        _none(wrong, InputCode.OUT_OF_RANGE, f"has a size that {WORDS[kind]} does not take, or none")
    sized = judged & (table.sizing != UNSIZED)
    _none(sized & (table.size <= 0), InputCode.OUT_OF_RANGE, "has a size that is not above 0")
    whole = sized & (table.sizing == FRACTION) & (table.size > SCALE)
    _none(whole, InputCode.OUT_OF_RANGE, "takes off more than the whole: a fraction is at most 1")


def _within(name: str, column: Int32s | Int16s | Int8s, lowest: int, highest: int) -> None:
    wrong = (column < lowest) | (column > highest)
    if wrong.any():
        row = int(np.argmax(wrong))
        detail = f"action {row} has {name} {column[row]}, not {lowest} to {highest}"
        raise BadInput(InputCode.OUT_OF_RANGE, detail, row=row, name=name, limit=highest)


def _none(wrong: Flags, code: InputCode, detail: str) -> None:
    if wrong.any():
        row = int(np.argmax(wrong))
        raise BadInput(code, f"action {row} {detail}", row=row)
