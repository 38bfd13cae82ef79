"""Outcome: what became of some accounts, as plain columns, whichever engine made it.

One row a fill, a rejection, a liquidation, an account. Money in units of 1e-8; accounts, ticks and symbols as indexes.
An outcome is of consecutive accounts, so outcomes put one after another are the outcome of all of them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, get_args

import numpy as np
import numpy.typing as npt

from engine.account import Status
from engine.day import FloorRule
from engine.events import Intent
from engine.rejections import GateCode
from engine.simulation.units import Ints

CODES: Final = tuple(GateCode)
"""A verdict is 0 where the action filled, else the place of its gate here, counted from 1: DESIGN's number of it."""
FILLED: Final = 0
INTENTS: Final[tuple[Intent, ...]] = get_args(Intent)
STATUSES: Final[tuple[Status, ...]] = get_args(Status)
RULES: Final[tuple[str, ...]] = get_args(FloorRule)
"""What liquidates."""
NO_TICK: Final = -1
NONE: Final = -1
"""No `max_quantity`: sizes are never negative."""

Columns = Mapping[str, npt.NDArray[Any]]
Dtypes = Mapping[str, type[np.generic]]

FILLS: Final[Dtypes] = {
    "account": np.int32,
    "tick": np.int32,
    "symbol": np.int16,
    "side": np.int8,
    "intent": np.int8,
    "quantity": np.int64,
    "price": np.int64,
    "notional": np.int64,
    "fee": np.int64,
    "realized": np.int64,
}
REJECTIONS: Final[Dtypes] = {
    "account": np.int32,
    "tick": np.int32,
    "kind": np.int8,
    "symbol": np.int16,
    "side": np.int8,
    "code": np.int8,
    "gates": np.int32,  # bit n - 1: gate n failed too
    "max_quantity": np.int64,
}
LIQUIDATIONS: Final[Dtypes] = {
    "account": np.int32,
    "tick": np.int32,
    "rule": np.int8,
    "equity": np.int64,  # that broke the floor, before anything was closed
    "floor": np.int64,
}
VERDICTS: Final[Dtypes] = {
    "account": np.int32,
    "action": np.int64,  # its row in the table of recorded actions
    "code": np.int8,
    "price": np.int64,
    "quantity": np.int64,
    "fee": np.int64,
    "realized": np.int64,
}
ACCOUNTS: Final[Dtypes] = {
    "status": np.int8,
    "ended_tick": np.int32,
    "starting_balance": np.int64,
    "cash": np.int64,
    "equity": np.int64,
    "realized": np.int64,
    "fees": np.int64,
    "high_watermark": np.int64,
    "actions": np.int64,
    "executed": np.int64,
    "rejected": np.int64,
    "fills": np.int64,
    "marks": np.int64,
    "trades": np.int64,
    "days": np.int64,
    "total_return": np.float64,  # shares and ratios as `engine.statistics` has them; NaN where it has null
    "max_drawdown": np.float64,
    "sharpe": np.float64,
    "sortino": np.float64,
    "win_rate": np.float64,
    "profit_factor": np.float64,
    "turnover": np.float64,
    "fee_drag": np.float64,
    "exposure": np.float64,
}


@dataclass(frozen=True, eq=False, kw_only=True)
class Outcome:
    """Of accounts from `first` on, one a row of `accounts`. `equity` [M, A] at the ticks `equity_ticks` [M].

    Rows are by account and, of one account, in the order in which they happened, so that they do not depend on how
    accounts were cut into parts. `verdicts` is None where a strategy acted. `end_reasons` and `account_ids` are by
    account, in order; the fast engine has no ids.
    """

    first: int
    equity_ticks: Ints
    equity: Ints
    fills: Columns
    rejections: Columns
    liquidations: Columns
    accounts: Columns
    end_reasons: Sequence[str | None]
    account_ids: Sequence[str] | None
    verdicts: Columns | None

    def __len__(self) -> int:
        return len(self.end_reasons)


class Rows:
    """Rows in the making."""

    def __init__(self, dtypes: Dtypes) -> None:
        self._dtypes = dtypes
        self._rows: list[tuple[int | float, ...]] = []

    def add(self, *values: int | float) -> None:
        """One value a column, in order."""
        self._rows.append(values)

    def columns(self) -> Columns:
        """Raises `OverflowError` where a figure does not fit its column."""
        columns = zip(*self._rows, strict=True) if self._rows else [()] * len(self._dtypes)
        named = zip(self._dtypes.items(), columns, strict=True)
        return {name: np.array(column, dtype) for (name, dtype), column in named}


def by_account(columns: Columns) -> Columns:
    """The rows account after account, each account's in the order they are in."""
    order = np.argsort(columns["account"], kind="stable")
    return {name: column[order] for name, column in columns.items()}
