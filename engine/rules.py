"""Rules: the floors under an account and its goal, as values.

A floor breaks when equity, open PnL included, is at it or below; a goal is reached when equity is at it or above and
enough days were traded. Figures have 8 decimals and are rounded so that equity, which has 8 too, meets them exactly
where it meets the unrounded ones. Conventions: docs/prop-rules.md.
"""

from collections.abc import Iterator
from decimal import Decimal
from typing import Final

import msgspec

from engine.account import Account
from engine.day import Day, FloorRule
from engine.money import ZERO, share_up
from engine.policy import PropRule

WARNING_SHARE: Final = Decimal("0.8")
"""How much of the way from the anchor to the floor is gone when a warning is given."""


class Floor(msgspec.Struct, frozen=True, gc=False, rename="camel", kw_only=True):
    """Equity that ends the account, and what it hangs from. `warns_at`: equity at which a warning is due."""

    rule: FloorRule
    anchor: Decimal
    floor: Decimal
    warns_at: Decimal

    def is_broken_at(self, equity: Decimal) -> bool:
        return equity <= self.floor


class Goal(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """Equity that completes the account once `trading_days` are enough."""

    anchor: Decimal
    goal: Decimal
    trading_days: int
    min_trading_days: int

    def is_reached_at(self, equity: Decimal) -> bool:
        return equity >= self.goal and self.trading_days >= self.min_trading_days


def floors(account: Account, day: Day) -> tuple[Floor, ...]:
    """Those of the prop rules, on that day."""
    return tuple(_floors(account, day))


def broken(account: Account, day: Day | None) -> Floor | None:
    """The floor to blame: of those that are broken the highest, and of equal ones the first rule.

    The maximum drawdown is judged where open positions were valued, as it is without any rule.
    """
    equity = account.equity
    standing = [_max_drawdown(account)] if account.positions and equity <= account.liquidation_equity else []
    standing += floors(account, day) if day is not None else ()
    if not standing:
        return None
    return max((each for each in standing if each.is_broken_at(equity)), key=_height, default=None)


def warnings(account: Account, day: Day) -> tuple[Floor, ...]:
    """Floors whose warning is due and was not given on that day."""
    near = (each for each in floors(account, day) if account.equity <= each.warns_at)
    return tuple(each for each in near if each.rule not in day.warned)


def goal(account: Account, day: Day) -> Goal | None:
    target, start = account.policy.profit_target, account.starting_balance
    if target is None:
        return None
    return Goal(
        anchor=start,
        goal=start + _size(target, start),
        trading_days=day.trading_days,
        min_trading_days=target.min_trading_days,
    )


def _floors(account: Account, day: Day) -> Iterator[Floor]:
    policy, start = account.policy, account.starting_balance
    if policy.max_daily_loss is not None:
        rule = policy.max_daily_loss
        anchor = day.start_balance if rule.of == "balance" else day.start_equity
        basis = start if rule.basis == "initial" else anchor
        yield _hung("max_daily_loss", anchor, anchor - _size(rule, basis))
    if policy.trailing_drawdown is not None:
        trailing = policy.trailing_drawdown
        peak = account.high_watermark if trailing.mode == "intraday_equity" else day.closing_peak
        floor = peak - _size(trailing, start)
        yield _hung("trailing_drawdown", peak, min(floor, start) if trailing.locks_at_start else floor)


def _max_drawdown(account: Account) -> Floor:
    return _hung("max_drawdown", account.starting_balance, account.liquidation_equity)


def _hung(rule: FloorRule, anchor: Decimal, floor: Decimal) -> Floor:
    return Floor(rule=rule, anchor=anchor, floor=floor, warns_at=anchor - share_up(anchor - floor, WARNING_SHARE))


def _size(rule: PropRule, basis: Decimal) -> Decimal:
    """The amount, or the fraction of a basis; nothing is lost of a basis that is gone."""
    if rule.amount is not None:
        return rule.amount
    return share_up(max(basis, ZERO), rule.fraction or ZERO)


def _height(floor: Floor) -> Decimal:
    return floor.floor
