"""Strategies: what accounts do in a simulation, one object an account, asked once a tick.

A strategy sees what an agent sees: the decision context that the API gives, the quotes of the tick, the prices before
it, and nothing of what comes after. Chance is handed to it, so a seed gives the same run.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from functools import cached_property
from typing import Any, Final, Protocol

from engine.account import Account
from engine.commands import Action
from engine.decide import Context
from engine.decision_context import DecisionContextView, decision_context
from engine.money import NotMoney, parse
from engine.policy import LONG, Policy, Side
from engine.positions import Position
from engine.quotes import Quote
from engine.simulation.chance import Chance
from engine.simulation.faults import BadInput, InputCode
from engine.simulation.prices import PriceTable
from engine.simulation.units import decimal

SIZES: Final[Mapping[str, tuple[str, ...]]] = {
    "open": ("quantity", "notional"),
    "reduce": ("quantity", "fraction"),
    "close": (),
}
Number = Decimal | int | str
"""A figure of at most 8 decimals. No float: 0.1 is none of those."""


@dataclass(frozen=True, kw_only=True)
class Entrant:
    """What a strategy is made with: which account it is, of how many, under which policy, and its own chance."""

    account: int
    accounts: int
    policy: Policy
    symbols: tuple[str, ...]
    chance: Chance


class Sight:
    """One account at one tick. What is dear to make is made when it is looked at."""

    def __init__(self, account: Account, market: Context, prices: PriceTable, tick: int) -> None:
        self.account = account
        self.tick = tick
        self._market = market
        self._prices = prices

    @property
    def now(self) -> datetime:
        return self._market.now

    @property
    def equity(self) -> Decimal:
        """At the last marks."""
        return self.account.equity

    @cached_property
    def context(self) -> DecisionContextView:
        """What the API's decision context says: snapshot, policy, quotes with ages, room a symbol and side."""
        return decision_context(self.account, self._market.quotes, self._market.now)

    def quote(self, symbol: str) -> Quote | None:
        """The last one observed, however old."""
        return self._market.quotes.get(symbol)

    def held(self, symbol: str, side: Side = LONG) -> Position | None:
        return self.account.positions.get((symbol, side))

    def mids(self, symbol: str, count: int) -> list[Decimal]:
        """The mids of the last `count` ticks, this one last; fewer where there are fewer or none was known yet."""
        column = self._prices.column(symbol)
        first = max(0, self.tick + 1 - count)
        return [decimal(mid) for mid in self._prices.mid[first : self.tick + 1, column].tolist() if mid > 0]


class Strategy(Protocol):
    """One account's way to trade."""

    def decide(self, sight: Sight) -> Iterable[Action]:
        """What to do now, in order; nothing, mostly. Not asked again once the account has ended."""


MakesStrategy = Callable[[Entrant], Strategy]
"""A strategy's class, or anything else that makes one an account."""


def opening(
    symbol: str,
    side: Side,
    *,
    quantity: Number | None = None,
    notional: Number | None = None,
    leverage: Number | None = None,
) -> Action:
    """Open a position, or add to it."""
    return Action(
        decision_action_id="",
        action="open",
        symbol=symbol,
        side=side,
        quantity=_figure(quantity),
        notional=_figure(notional),
        leverage=_figure(leverage),
    )


def reducing(symbol: str, side: Side, *, quantity: Number | None = None, fraction: Number | None = None) -> Action:
    """Take a part of a position off."""
    return Action(
        decision_action_id="",
        action="reduce",
        symbol=symbol,
        side=side,
        quantity=_figure(quantity),
        fraction=_figure(fraction),
    )


def closing(symbol: str, side: Side) -> Action:
    """Take all of a position off."""
    return Action(decision_action_id="", action="close", symbol=symbol, side=side)


def checked(action: Any) -> Action:
    """The action, if it is one and the live door would let it in; raises `BadInput`, which names what was wrong."""
    if not isinstance(action, Action):
        kind = type(action).__name__
        raise BadInput(InputCode.WRONG_TYPE, f"a strategy gave a {kind}, which is no action", type=kind)
    sizes = {name: getattr(action, name) for name in ("quantity", "notional", "fraction")}
    given = {name: size for name, size in sizes.items() if size is not None}
    taken = SIZES.get(action.action)
    if taken is None:
        return action
    fault = None
    if action.symbol is None or action.side is None:
        fault = "names no symbol or no side"
    elif not given.keys() <= set(taken) or len(given) != bool(taken):
        fault = f"takes {'exactly one of ' + ', '.join(taken) if taken else 'no size'}"
    elif any(size <= 0 for size in given.values()) or given.get("fraction", 0) > 1:
        fault = "has a size out of range"
    if fault is not None:
        raise BadInput(InputCode.OUT_OF_RANGE, f"a strategy's {action.action} {fault}", action=action.action)
    return action


def _figure(value: Number | None) -> Decimal | None:
    """At scale 8, as the live door reads it."""
    if value is None:
        return None
    if isinstance(value, float):
        raise NotMoney(f"{value!r} is a float: give a Decimal, a whole number or a text")
    return parse(format(value, "f") if isinstance(value, Decimal) else str(value))
