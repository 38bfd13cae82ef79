"""The rules in force as the outside sees them, on the day that a clock says it is."""

import datetime
from decimal import Decimal

from engine import rules
from engine.account import Account
from engine.day import FloorRule
from engine.money import per_cent
from engine.rules import Floor, Goal
from engine.views import View


class FloorView(View, frozen=True, kw_only=True):
    """Equity at or below `floor` ends the account at its next mark. `distance`: how far equity is above it, and
    `distancePerCent` the same in per cent of equity. `warned`: the warning at `warnsAt` was given today."""

    rule: FloorRule
    anchor: Decimal
    floor: Decimal
    distance: Decimal
    distance_per_cent: Decimal
    warns_at: Decimal
    warned: bool


class GoalView(View, frozen=True, kw_only=True):
    """Equity at or above `goal`, with enough trading days, completes the account at its next mark. `distance`: how far
    equity is below it, negative where it is above."""

    rule: str
    anchor: Decimal
    goal: Decimal
    distance: Decimal
    distance_per_cent: Decimal
    trading_days: int
    min_trading_days: int


class RulesView(View, frozen=True, kw_only=True):
    """The prop rules of the account's policy. `day` is the UTC day that the figures are of, null without rules."""

    day: datetime.date | None
    floors: tuple[FloorView, ...]
    goal: GoalView | None


def rules_view(account: Account, now: datetime.datetime) -> RulesView:
    """Floors and goal as the next mark would judge them; of an ended account, as they were at its end."""
    day = account.day if account.is_terminal else account.day_at(now)
    if day is None:
        return RulesView(day=None, floors=(), goal=None)
    goal = rules.goal(account, day)
    return RulesView(
        day=day.date,
        floors=tuple(_floor(account, each, warned=each.rule in day.warned) for each in rules.floors(account, day)),
        goal=None if goal is None else _goal(account, goal),
    )


def _floor(account: Account, floor: Floor, *, warned: bool) -> FloorView:
    distance = account.equity - floor.floor
    return FloorView(
        rule=floor.rule,
        anchor=floor.anchor,
        floor=floor.floor,
        distance=distance,
        distance_per_cent=per_cent(distance, account.equity),
        warns_at=floor.warns_at,
        warned=warned,
    )


def _goal(account: Account, goal: Goal) -> GoalView:
    distance = goal.goal - account.equity
    return GoalView(
        rule="profit_target",
        anchor=goal.anchor,
        goal=goal.goal,
        distance=distance,
        distance_per_cent=per_cent(distance, account.equity),
        trading_days=goal.trading_days,
        min_trading_days=goal.min_trading_days,
    )
