"""PolicyTable: policies of many accounts as columns, for the kernel. Made from `engine.policy.Policy` and never alone.

Equal policies share a row, since most simulations have few: `row` says which one an account has. Figures are in units
of 1e-8, exact; `None` becomes a kind of 0, never a magic figure.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, Final

import numpy as np

from engine import policy as rules
from engine.policy import LONG, SHORT, Policy, PropRule
from engine.simulation.faults import BadInput, InputCode
from engine.simulation.units import Flags, Int8s, Int32s, Ints, units

MID_PRICE, FIXED_BPS, SPREAD = range(3)
SLIPPAGE_MODELS: Final = ("mid_price", "fixed_bps", "spread")
NO_RULE, BY_FRACTION, BY_AMOUNT = range(3)
INITIAL, DAY_START = range(2)
BALANCE, EQUITY = range(2)
INTRADAY_EQUITY, END_OF_DAY = range(2)
LOSS_BASES: Final = ("initial", "day_start")
ANCHORS: Final = ("balance", "equity")
TRAILING_MODES: Final = ("intraday_equity", "end_of_day")


@dataclass(frozen=True, eq=False, kw_only=True)
class PolicyTable:
    """`row` [A]: an account's row of every other column, of which there are P. `allows_symbol` is [P, S].

    `*_kind` of a rule is NO_RULE, BY_FRACTION or BY_AMOUNT and its `*_size` that fraction or amount; ages are in
    milliseconds. `policies` are the rows as the live engine has them.
    """

    row: Int32s
    policies: tuple[Policy, ...]
    max_leverage: Ints
    max_notional: Ints
    max_open_positions: Int32s
    max_open_orders: Int32s
    allows_long: Flags
    allows_short: Flags
    allows_symbol: Flags
    fee_bps: Ints
    slippage_model: Int8s
    slippage_bps: Ints
    max_drawdown: Ints
    position_equity_ratio: Ints
    allow_hedging: Flags
    trade_age_ms: Ints
    mark_age_ms: Ints
    liquidate_age_ms: Ints
    daily_loss_kind: Int8s
    daily_loss_size: Ints
    daily_loss_basis: Int8s
    daily_loss_of: Int8s
    trailing_kind: Int8s
    trailing_size: Ints
    trailing_mode: Int8s
    trailing_locks_at_start: Flags
    target_kind: Int8s
    target_size: Ints
    target_min_trading_days: Int32s

    def __len__(self) -> int:
        """Accounts."""
        return len(self.row)

    @classmethod
    def of(cls, policies: Sequence[Policy], symbols: tuple[str, ...]) -> "PolicyTable":
        """One policy an account, in order. Raises `BadInput` where a figure is out of the range of `policy.faults`."""
        places: dict[Policy, int] = {}
        row = np.fromiter((places.setdefault(each, len(places)) for each in policies), np.int32, len(policies))
        if not places:
            raise BadInput(InputCode.EMPTY, "there are no accounts")
        return cls(row=row, policies=tuple(places), **_columns(tuple(places), symbols))

    def of_accounts(self, start: int, stop: int) -> "PolicyTable":
        """Accounts from `start` to before `stop`; the columns are shared."""
        columns = {field.name: getattr(self, field.name) for field in fields(self)}
        return PolicyTable(**columns | {"row": self.row[start:stop]})


def checked(policy: Policy) -> Policy:
    """The policy, if it is one that the live engine would open an account with; raises `BadInput`."""
    for field, must_be in rules.faults(policy):
        raise BadInput(InputCode.OUT_OF_RANGE, f"the policy's {field} must be {must_be}", field=field)
    return policy


def _columns(policies: tuple[Policy, ...], symbols: tuple[str, ...]) -> dict[str, Any]:
    rows = [_row(checked(policy), symbols) for policy in policies]
    return {name: np.array([row[name] for row in rows], dtype) for name, dtype in _DTYPES.items()}


def _row(policy: Policy, symbols: tuple[str, ...]) -> dict[str, object]:
    ages, allowed = policy.quote_max_age_ms, policy.allowed_assets
    daily, trailing, target = policy.max_daily_loss, policy.trailing_drawdown, policy.profit_target
    return {
        "max_leverage": units(policy.max_leverage, "maxLeverage"),
        "max_notional": units(policy.max_notional, "maxNotional"),
        "max_open_positions": policy.max_open_positions,
        "max_open_orders": policy.max_open_orders,
        "allows_long": LONG in policy.allowed_directions,
        "allows_short": SHORT in policy.allowed_directions,
        "allows_symbol": [allowed is None or symbol in allowed for symbol in symbols],
        "fee_bps": units(policy.fee_bps, "feeBps"),
        "slippage_model": SLIPPAGE_MODELS.index(policy.slippage_model),
        "slippage_bps": units(policy.slippage_bps, "slippageBps"),
        "max_drawdown": units(policy.max_drawdown, "maxDrawdown"),
        "position_equity_ratio": units(policy.position_equity_ratio, "maxPositionEquityRatio"),
        "allow_hedging": policy.allow_hedging,
        "trade_age_ms": ages.trade,
        "mark_age_ms": ages.mark,
        "liquidate_age_ms": ages.liquidate,
        "daily_loss_kind": _kind(daily),
        "daily_loss_size": _size(daily, "maxDailyLoss"),
        "daily_loss_basis": LOSS_BASES.index(daily.basis) if daily else INITIAL,
        "daily_loss_of": ANCHORS.index(daily.of) if daily else BALANCE,
        "trailing_kind": _kind(trailing),
        "trailing_size": _size(trailing, "trailingDrawdown"),
        "trailing_mode": TRAILING_MODES.index(trailing.mode) if trailing else INTRADAY_EQUITY,
        "trailing_locks_at_start": bool(trailing and trailing.locks_at_start),
        "target_kind": _kind(target),
        "target_size": _size(target, "profitTarget"),
        "target_min_trading_days": target.min_trading_days if target else 0,
    }


def _kind(rule: PropRule | None) -> int:
    return NO_RULE if rule is None else BY_AMOUNT if rule.amount is not None else BY_FRACTION


def _size(rule: PropRule | None, name: str) -> int:
    if rule is None:
        return 0
    size = rule.amount if rule.amount is not None else rule.fraction
    if size is None:
        raise AssertionError(f"{name} has neither a fraction nor an amount")
    return units(size, name)


_WHOLE: Final = ("max_open_positions", "max_open_orders", "target_min_trading_days")
_CHOICES: Final = ("slippage_model", "daily_loss_basis", "daily_loss_of", "trailing_mode")
_FLAGS: Final = ("allow_hedging", "allows_long", "allows_short", "allows_symbol", "trailing_locks_at_start")


def _dtype(name: str) -> type[np.generic]:
    if name in _FLAGS:
        return np.bool_
    if name in _CHOICES or name.endswith("_kind"):
        return np.int8
    return np.int32 if name in _WHOLE else np.int64


_DTYPES: Final = {
    field.name: _dtype(field.name) for field in fields(PolicyTable) if field.name not in ("row", "policies")
}
