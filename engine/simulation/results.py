"""Results: outcomes as Arrow tables, one schema whichever engine made them.

Money is decimal128(28, 8), as in Postgres; times are microseconds in UTC; words are dictionaries.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import numpy as np
import pyarrow as pa

from engine.simulation.actions import NO_SIDE, NO_SYMBOL, SIDES, WORDS
from engine.simulation.outcome import CODES, INTENTS, NO_TICK, NONE, RULES, STATUSES, Outcome
from engine.simulation.plan import Plan
from engine.simulation.units import Flags, Ints

MONEY: Final = pa.decimal128(28, 8)
TIME: Final = pa.timestamp("us", "UTC")
WORD: Final = pa.dictionary(pa.int32(), pa.string())
GATES: Final = tuple(code.value for code in CODES)
TABLES: Final = ("accounts", "equity", "fills", "rejections", "liquidations")
"""What every run makes; recorded actions have `VERDICTS`, too."""
VERDICTS: Final = "verdicts"
FIRST: Final = ("account", "account_id", "number", "variant", "status", "end_reason", "ended_at")
MONEYS: Final = ("starting_balance", "cash", "equity", "realized", "fees", "high_watermark")
COUNTS: Final = ("actions", "executed", "rejected", "fills", "marks", "trades", "days")
RATIOS: Final = (
    "total_return",
    "max_drawdown",
    "sharpe",
    "sortino",
    "win_rate",
    "profit_factor",
    "turnover",
    "fee_drag",
    "exposure",
)


def tables(plan: Plan, outcome: Outcome) -> dict[str, pa.Table]:
    """The tables of one outcome, by name."""
    made = {
        "accounts": _accounts(plan, outcome),
        "equity": _equity(plan, outcome),
        "fills": _fills(plan, outcome),
        "rejections": _rejections(plan, outcome),
        "liquidations": _liquidations(plan, outcome),
    }
    if outcome.verdicts is not None:
        made[VERDICTS] = pa.table(
            {
                "account": pa.array(outcome.verdicts["account"], pa.int32()),
                "action": pa.array(outcome.verdicts["action"], pa.int64()),
                "code": _words(outcome.verdicts["code"], ("filled", *GATES)),
                **{name: money(outcome.verdicts[name]) for name in ("price", "quantity", "fee", "realized")},
            }
        )
    return made


def joined(parts: Iterable[Mapping[str, pa.Table]]) -> dict[str, pa.Table]:
    """Tables of consecutive outcomes, one after another."""
    found = list(parts)
    return {name: pa.concat_tables([part[name] for part in found]).unify_dictionaries() for name in found[0]}


def money(units: Ints, known: Flags | None = None) -> pa.Array:
    """Units of 1e-8 as decimals, without a detour: the lower half of 128 bits, and the sign as the upper."""
    whole = np.empty((len(units), 2), np.int64)
    whole[:, 0] = units
    whole[:, 1] = np.asarray(units, np.int64) >> 63
    made = pa.Array.from_buffers(MONEY, len(units), [None, pa.py_buffer(whole)])
    return made if known is None else pa.compute.if_else(pa.array(known), made, pa.scalar(None, MONEY))


def _accounts(plan: Plan, outcome: Outcome) -> pa.Table:
    rows, count = outcome.accounts, len(outcome)
    index = outcome.first + np.arange(count)
    variants = index // plan.accounts
    swept = {name for variant in plan.variants for name, _ in variant.settings}
    ended = rows["ended_tick"]
    shares = {name: pa.array(rows[name], pa.float64(), mask=np.isnan(rows[name])) for name in RATIOS}
    return pa.table(
        {
            "account": pa.array(index, pa.int32()),
            "account_id": pa.array([None] * count if outcome.account_ids is None else outcome.account_ids, pa.string()),
            "number": pa.array(index % plan.accounts, pa.int32()),
            "variant": _words(variants, [variant.name for variant in plan.variants]),
            **{swept_column(name): _settings(plan, variants, name) for name in sorted(swept)},
            "status": _words(rows["status"], STATUSES),
            "end_reason": pa.array(outcome.end_reasons, pa.string()).dictionary_encode().cast(WORD),
            "ended_at": _times(plan, ended, ended != NO_TICK),
            **{name: money(rows[name]) for name in MONEYS},
            **{name: pa.array(rows[name], pa.int64()) for name in COUNTS},
            **shares,
        }
    )


def swept_column(name: str) -> str:
    """Where the accounts table has a swept figure: not in the place of another column."""
    return f"policy_{name}" if name in (*FIRST, *MONEYS, *COUNTS, *RATIOS) else name


def _settings(plan: Plan, variants: Ints, name: str) -> pa.Array:
    values = [dict(variant.settings).get(name, "") for variant in plan.variants]
    return _words(variants, values)


def _equity(plan: Plan, outcome: Outcome) -> pa.Table:
    """Account after account, each over its marks."""
    marks, accounts = outcome.equity.shape
    tick = np.tile(outcome.equity_ticks, accounts)
    return pa.table(
        {
            "account": pa.array(np.repeat(outcome.first + np.arange(accounts), marks), pa.int32()),
            "tick": pa.array(tick, pa.int32()),
            "at": _times(plan, tick),
            "equity": money(outcome.equity.T.ravel()),
        }
    )


def _fills(plan: Plan, outcome: Outcome) -> pa.Table:
    rows = outcome.fills
    return pa.table(
        {
            **_where(plan, rows),
            **_what(plan, rows),
            "intent": _words(rows["intent"], INTENTS),
            **{name: money(rows[name]) for name in ("quantity", "price", "notional", "fee", "realized")},
        }
    )


def _rejections(plan: Plan, outcome: Outcome) -> pa.Table:
    rows = outcome.rejections
    failed = rows["gates"][:, None] >> np.arange(len(GATES)) & 1 == 1
    offsets = np.concatenate(([0], failed.sum(axis=1).cumsum())).astype(np.int32)
    gates = _words(np.nonzero(failed)[1], GATES)
    return pa.table(
        {
            **_where(plan, rows),
            **_what(plan, rows),
            "action": _words(rows["kind"], WORDS),
            "code": _words(rows["code"] - 1, GATES),
            "gates": pa.ListArray.from_arrays(pa.array(offsets), gates.cast(pa.string())),
            "max_quantity": money(rows["max_quantity"], rows["max_quantity"] != NONE),
        }
    )


def _liquidations(plan: Plan, outcome: Outcome) -> pa.Table:
    rows = outcome.liquidations
    return pa.table(
        {
            **_where(plan, rows),
            "rule": _words(rows["rule"], RULES),
            "equity": money(rows["equity"]),
            "floor": money(rows["floor"]),
        }
    )


def _where(plan: Plan, rows: Mapping[str, Any]) -> dict[str, pa.Array]:
    return {
        "account": pa.array(rows["account"], pa.int32()),
        "tick": pa.array(rows["tick"], pa.int32()),
        "at": _times(plan, rows["tick"]),
    }


def _what(plan: Plan, rows: Mapping[str, Any]) -> dict[str, pa.Array]:
    return {
        "symbol": _words(rows["symbol"], plan.prices.symbols, rows["symbol"] != NO_SYMBOL),
        "side": _words(rows["side"], SIDES, rows["side"] != NO_SIDE),
    }


def _times(plan: Plan, ticks: Ints, known: Flags | None = None) -> pa.Array:
    at = plan.prices.times[np.maximum(ticks, 0)]
    return pa.array(at, pa.int64(), mask=None if known is None else ~known).cast(TIME)


def _words(indices: Any, words: Sequence[str], known: Flags | None = None) -> pa.DictionaryArray:
    chosen = pa.array(np.asarray(indices, np.int32), mask=None if known is None else ~known)
    return pa.DictionaryArray.from_arrays(chosen, pa.array(words, pa.string()))
