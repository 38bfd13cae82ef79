"""Layout: what the kernel reads and writes, as arrays of records and tuples of columns.

Symbols stand in the order of their names here, whatever their order in the price table, and a position's slot is twice
its symbol's place plus its side: so slots in order are positions in (symbol, side) order, in which the live engine
marks and closes them. Money, prices, quantities and ratios are in units of 1e-8, times in microseconds.
"""

from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from engine.quotes import FUTURE_MS_MAX
from engine.simulation.actions import COLUMNS, ActionTable
from engine.simulation.arithmetic import BEYOND
from engine.simulation.faults import BadInput, InputCode
from engine.simulation.policies import NO_RULE, PolicyTable
from engine.simulation.prices import PriceTable
from engine.simulation.units import Flags, Int8s, Int16s, Int32s, Ints, decimal

Records = npt.NDArray[Any]
"""An array of records: one of the dtypes below."""

RANGE: Final = 1 << 60
"""The kernel's figures stay below this: 11,529,215,046.06846976 in account currency, of a price too."""
DAY_US: Final = 24 * 3600 * 1_000_000
MISSING: Final = 2**63 - 1
"""The age of a quote that is no price."""
AHEAD: Final = MISSING - 1
"""The age of a quote that lies too far ahead of its tick."""

ACTIVE, LIQUIDATED, COMPLETED, GIVEN_UP = range(4)
STATUSES: Final = ("active", "liquidated", "completed", "given_up")
"""By code. The kernel gives an account up whose figures leave its range; the exact engine can take it."""
NO_REASON, MAX_DRAWDOWN, MAX_DAILY_LOSS, TRAILING_DRAWDOWN, PROFIT_TARGET = range(5)
REASONS: Final = ("", "max_drawdown", "max_daily_loss", "trailing_drawdown", "profit_target")


class Account:
    """The record of one account. `ended_tick` is -1 while it has not ended; `equity` is that of its last mark or fill,
    `daily_floor` that of its day, `goal` the equity that completes it, `broken_equity` and `broken_floor` those of its
    liquidation. From `lowest` on it is what `engine.record` remembers; `exposed` in microseconds."""

    status: int
    reason: int
    ended_tick: int
    starting_balance: int
    cash: int
    equity: int
    high_watermark: int
    realized_pnl: int
    fees_paid: int
    open_positions: int
    liquidation_equity: int
    day: int
    daily_floor: int
    closing_peak: int
    trading_days: int
    has_traded: int
    trailing_size: int
    goal: int
    actions: int
    rejected: int
    fills: int
    marks: int
    broken_equity: int
    broken_floor: int
    lowest: int
    max_drawdown: int
    day_before: int
    days: int
    broke: int
    returns: float
    squares: float
    downside: float
    exposed_since: int
    exposed: int
    trades: int
    wins: int
    gains: float
    losses: float
    traded: float


class Position:
    """A slot, empty where `quantity` is 0. `worth` is its notional at its last mark or fill."""

    quantity: int
    cost: int
    leverage: int
    worth: int
    realized_pnl: int
    fees: int


class Closing:
    """The fill that took a slot's position off when its account ended, empty where `quantity` is 0."""

    quantity: int
    price: int
    notional: int
    fee: int
    realized: int


class Limits:
    """A policy: a row of `PolicyTable`, with ages in microseconds."""

    max_leverage: int
    max_notional: int
    max_open_positions: int
    max_open_orders: int
    allows_long: int
    allows_short: int
    fee_bps: int
    slippage_model: int
    slippage_bps: int
    max_drawdown: int
    position_equity_ratio: int
    allow_hedging: int
    daily_loss_kind: int
    daily_loss_size: int
    daily_loss_basis: int
    daily_loss_of: int
    trailing_kind: int
    trailing_size: int
    trailing_mode: int
    trailing_locks_at_start: int
    target_kind: int
    target_size: int
    target_min_trading_days: int
    trade_age: int
    mark_age: int
    liquidate_age: int
    has_rules: int


ACCOUNT, POSITION, CLOSING, LIMITS = (
    np.dtype([(name, np.float64 if kind is float else np.int64) for name, kind in record.__annotations__.items()])
    for record in (Account, Position, Closing, Limits)
)
_AGES: Final = ("trade_age", "mark_age", "liquidate_age")


class Market(NamedTuple):
    """Prices by tick and symbol. `age`: of the quote at its tick, MISSING or AHEAD where it cannot be used; `day`: of
    the tick, since 1970; `highest`: the highest ask that a symbol ever has."""

    bid: Ints
    ask: Ints
    mid: Ints
    age: Ints
    time: Ints
    day: Ints
    highest: Ints


class Actions(NamedTuple):
    """Columns of actions, a row each, as in `ActionTable`; `symbol` is a place in the order of names."""

    tick: Int32s
    kind: Int8s
    symbol: Int16s
    side: Int8s
    sizing: Int8s
    size: Ints
    leverage: Ints
    min_price: Ints
    max_price: Ints


class Verdicts(NamedTuple):
    """What became of an action: the place of its gate in `GateCode`, from 1; FILLED, or NOT_JUDGED. And its fill."""

    code: Int8s
    price: Ints
    quantity: Ints
    notional: Ints
    fee: Ints
    realized: Ints


class Policies(NamedTuple):
    """`limits` [P] and `allows` [P, S], and the row of each account."""

    limits: Records
    allows: Flags
    row: Int32s


class Book(NamedTuple):
    """One account: its record, its slots, the open ones in order (`account.open_positions` of them), its last fills."""

    account: Account
    positions: Records
    open: Int16s
    closings: Records


def order_of(symbols: tuple[str, ...]) -> Int16s:
    """The places in the table of the symbols in the order of their names."""
    return np.array(sorted(range(len(symbols)), key=symbols.__getitem__), np.int16)


def market(prices: PriceTable) -> Market:
    """The prices as the kernel reads them; raises `BadInput` where a usable one is beyond its range."""
    order = order_of(prices.symbols)
    bid, ask, mid, observed = (
        np.ascontiguousarray(each[:, order]) for each in (prices.bid, prices.ask, prices.mid, prices.observed)
    )
    is_price = (bid > 0) & (ask > 0) & (mid > 0) & (bid <= mid) & (mid <= ask)
    highest = np.where(is_price, ask, 0).max(axis=0)
    if (highest >= RANGE).any():
        symbol = prices.symbols[order[int(np.argmax(highest >= RANGE))]]
        detail = f"the fast engine takes prices below {decimal(RANGE)}; {symbol} has a higher one: use the exact engine"
        raise BadInput(InputCode.OUT_OF_RANGE, detail, symbol=symbol, limit=str(decimal(RANGE)))
    age = prices.times[:, None] - observed
    age = np.where(age < -FUTURE_MS_MAX * 1_000, AHEAD, age)
    return Market(bid, ask, mid, np.where(is_price, age, MISSING), prices.times, prices.times // DAY_US, highest)


def actions(table: ActionTable, symbols: tuple[str, ...], rows: Ints) -> Actions:
    """Those rows of the table, in that order."""
    order = order_of(symbols)
    place = np.empty(len(symbols) + 1, np.int16)
    place[order] = np.arange(len(symbols))
    place[-1] = -1  # no symbol
    columns = {name: getattr(table, name)[rows] for name in Actions._fields}
    return Actions(**columns | {"symbol": place[columns["symbol"]]})


def no_actions(count: int) -> Actions:
    """Room for so many."""
    return Actions(**{name: np.zeros(count, COLUMNS[name]) for name in Actions._fields})


def policies(table: PolicyTable, symbols: tuple[str, ...]) -> Policies:
    limits = np.zeros(len(table.policies), LIMITS)
    for name in Limits.__annotations__.keys() - {*_AGES, "has_rules"}:
        limits[name] = getattr(table, name)
    for name in ("daily_loss_size", "trailing_size", "target_size"):
        limits[name] = np.minimum(limits[name], BEYOND)  # no equity goes so far, and sums with it stay within 64 bits
    for name in _AGES:
        limits[name] = getattr(table, f"{name}_ms") * 1_000
    kinds = (table.daily_loss_kind, table.trailing_kind, table.target_kind)
    limits["has_rules"] = np.any([kind != NO_RULE for kind in kinds], axis=0)
    return Policies(limits, np.ascontiguousarray(table.allows_symbol[:, order_of(symbols)]), table.row)


def verdicts(count: int) -> Verdicts:
    """Empty, for so many actions."""
    return Verdicts(np.zeros(count, np.int8), *(np.zeros(count, np.int64) for _ in range(5)))
