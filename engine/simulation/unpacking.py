"""Unpacking: what a chunk of the fast engine came to, as rows of the outcome.

Of a rejection only the first gate is known, and no `max_quantity`. Statistics are float64 arithmetic, rounded to the 8
decimals that `engine.statistics` has.
"""

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from engine.simulation.actions import CLOSE, OPEN, REDUCE, ActionTable
from engine.simulation.chunks import Chunk
from engine.simulation.judging import FILLED
from engine.simulation.layout import ACTIVE, COMPLETED, GIVEN_UP, LIQUIDATED, REASONS, STATUSES, order_of
from engine.simulation.outcome import (
    ACCOUNTS,
    FILLS,
    INTENTS,
    LIQUIDATIONS,
    NONE,
    REJECTIONS,
    RULES,
    VERDICTS,
    Columns,
    Dtypes,
    Outcome,
    by_account,
)
from engine.simulation.outcome import STATUSES as LIVE_STATUSES
from engine.simulation.prices import PriceTable
from engine.simulation.units import Ints
from engine.statistics import DAYS_A_YEAR, DAYS_MIN

Column = npt.NDArray[Any]
_KINDS: Final = {OPEN: "open", REDUCE: "reduce", CLOSE: "close"}
_INTENTS: Final = np.array([INTENTS.index(word) for _, word in sorted(_KINDS.items())], np.int8)
_ENDS: Final = {COMPLETED: "close", LIQUIDATED: "liquidate"}


def outcome(prices: PriceTable, actions: ActionTable, rows: Ints, chunk: Chunk, *, first: int, shown: Ints) -> Outcome:
    """Of a chunk, whose first account is number `first` of all. `rows`: which of all recorded actions `actions` are;
    `shown`: the ticks at which equity was kept. Accounts that were given up are as they were then."""
    account = first + actions.account[chunk.rows]
    verdicts = {name: getattr(chunk.verdicts, name) for name in VERDICTS if name not in ("account", "action")}
    return Outcome(
        first=first + chunk.first,
        equity_ticks=shown,
        equity=chunk.equity.T,
        fills=_fills(prices, actions, chunk, account, first),
        rejections=_rejections(actions, chunk, account),
        liquidations=_liquidations(chunk, first),
        accounts=_accounts(prices, chunk),
        end_reasons=[REASONS[reason] or None for reason in chunk.accounts["reason"].tolist()],
        account_ids=None,
        verdicts=_typed(VERDICTS, {"account": account, "action": rows[chunk.rows], **verdicts}),
    )


def given_up(chunk: Chunk) -> list[int]:
    """The places in the chunk of accounts that left the kernel's range."""
    return np.flatnonzero(chunk.accounts["status"] == GIVEN_UP).tolist()


def _typed(dtypes: Dtypes, columns: Mapping[str, Column]) -> Columns:
    return {name: columns[name].astype(dtype, copy=False) for name, dtype in dtypes.items()}


def _fills(prices: PriceTable, actions: ActionTable, chunk: Chunk, account: Column, first: int) -> Columns:
    """Those of actions, and after them those that ended the account."""
    filled = np.flatnonzero(chunk.verdicts.code == FILLED)
    rows = chunk.rows[filled]
    place, slot = np.nonzero(chunk.closings["quantity"])
    closings, ended = chunk.closings[place, slot], chunk.accounts[place]
    intent = np.array([INTENTS.index(_ENDS.get(status, "close")) for status in range(len(STATUSES))])
    acted = {
        "account": account[filled],
        "tick": actions.tick[rows],
        "symbol": actions.symbol[rows],
        "side": actions.side[rows],
        "intent": _INTENTS[actions.kind[rows]],
        **{
            name: getattr(chunk.verdicts, name)[filled] for name in ("quantity", "price", "notional", "fee", "realized")
        },
    }
    closed = {
        "account": first + chunk.first + place,
        "tick": ended["ended_tick"],
        "symbol": order_of(prices.symbols)[slot >> 1],
        "side": slot & 1,
        "intent": intent[ended["status"]],
        **{name: closings[name] for name in ("quantity", "price", "notional", "fee", "realized")},
    }
    return by_account(_typed(FILLS, {name: np.concatenate([acted[name], closed[name]]) for name in FILLS}))


def _rejections(actions: ActionTable, chunk: Chunk, account: Column) -> Columns:
    rejected = np.flatnonzero(chunk.verdicts.code > FILLED)
    rows, code = chunk.rows[rejected], chunk.verdicts.code[rejected]
    columns = {name: getattr(actions, name)[rows] for name in ("tick", "kind", "symbol", "side")}
    gates, largest = 1 << (code.astype(np.int32) - 1), np.full(len(rows), NONE)
    return _typed(
        REJECTIONS, {"account": account[rejected], **columns, "code": code, "gates": gates, "max_quantity": largest}
    )


def _liquidations(chunk: Chunk, first: int) -> Columns:
    place = np.flatnonzero(chunk.accounts["status"] == LIQUIDATED)
    records = chunk.accounts[place]
    rule = np.array([RULES.index(reason) if reason in RULES else 0 for reason in REASONS])
    return _typed(
        LIQUIDATIONS,
        {
            "account": first + chunk.first + place,
            "tick": records["ended_tick"],
            "rule": rule[records["reason"]],
            "equity": records["broken_equity"],
            "floor": records["broken_floor"],
        },
    )


def _accounts(prices: PriceTable, chunk: Chunk) -> Columns:
    records = chunk.accounts
    same = {name: records[name] for name in ACCOUNTS if name in (records.dtype.names or ())}
    status = np.array([LIVE_STATUSES.index(word) if word in LIVE_STATUSES else 0 for word in STATUSES])
    named = {
        "status": status[records["status"]],
        "realized": records["realized_pnl"],
        "fees": records["fees_paid"],
        "executed": records["actions"] - records["rejected"],
    }
    return _typed(ACCOUNTS, {**same, **named, **_statistics(prices, records)})


def _statistics(prices: PriceTable, records: Column) -> dict[str, Column]:
    start, days = records["starting_balance"].astype(np.float64), records["days"]
    ended = np.where(records["status"] == ACTIVE, prices.ticks - 1, records["ended_tick"])
    lasted_us = prices.times[ended] - prices.times[0]
    spread = (days * records["squares"] - records["returns"] ** 2) / np.maximum(days * (days - 1), 1)
    is_told = (records["broke"] == 0) & (days >= DAYS_MIN)
    ratios = {
        "total_return": records["equity"] / start - 1,
        "max_drawdown": records["max_drawdown"] / 1e8,
        "sharpe": _annualised(records, spread, is_told),
        "sortino": _annualised(records, records["downside"] / np.maximum(days, 1), is_told),
        "win_rate": _ratio(records["wins"], records["trades"]),
        "profit_factor": _ratio(records["gains"], records["losses"]),
        "turnover": records["traded"] / start,
        "fee_drag": records["fees_paid"] / start,
        "exposure": _ratio(records["exposed"], lasted_us),
    }
    return {name: np.round(ratio, 8) for name, ratio in ratios.items()}


def _annualised(records: Column, variance: Column, is_told: Column) -> Column:
    """Mean daily return by deviation, for a year; NaN where nothing deviates."""
    days = np.maximum(records["days"], 1)
    deviation = np.sqrt(np.where(is_told & (variance > 0), variance, np.nan))
    told: Column = records["returns"] / days / deviation * np.sqrt(DAYS_A_YEAR)
    return told


def _ratio(part: Column, whole: Column) -> Column:
    told: Column = part / np.where(whole == 0, np.nan, whole)
    return told
