"""The gates: seventeen questions asked of every action, in an order that is part of the API (DESIGN section 4).

A gate is a row of `GATES`: its code, what must be known before it can be judged, and a function that returns
the numbers it compared when it fails. The first failing gate is the verdict's code; later gates are still
judged while what they need is known.
"""

from collections.abc import Callable
from datetime import datetime
from decimal import Decimal
from typing import Final, Literal

import msgspec

from engine import money
from engine.account import Account
from engine.bounds import Carried
from engine.commands import Action
from engine.events import Intent
from engine.exposure import Room, Valuation, valued
from engine.fills import fill_price
from engine.money import UNIT, ZERO, text
from engine.policy import Side
from engine.positions import Position, believed
from engine.quotes import Quote, Quotes, usable
from engine.rejections import Failure, GateCode

SUPPORTED: Final[dict[str, Intent]] = {"open": "open", "reduce": "reduce", "close": "close"}
SIZE_GATES: Final = frozenset(
    {
        GateCode.NOTIONAL_EXCEEDS_MAXIMUM,
        GateCode.AGGREGATE_LEVERAGE_EXCEEDED,
        GateCode.POSITION_EQUITY_EXCEEDED,
        GateCode.INSUFFICIENT_MARGIN,
    }
)
"""Gates a smaller quantity might pass: only where no other fails has `maxQuantity` a meaning."""

Context = dict[str, str | int | None]
Needs = Literal["nothing", "price", "position", "size", "opening"]
_NO_PRICE: Final = frozenset[Needs](["nothing"])
_NO_POSITION: Final = frozenset[Needs](["nothing", "price"])
_NO_SIZE: Final = frozenset[Needs](["nothing", "price", "position"])
_ALL_OF_ANOTHER: Final = frozenset[Needs](["nothing", "price", "position", "size"])
_ALL_OF_AN_OPENING: Final = frozenset[Needs](["nothing", "price", "position", "size", "opening"])


class Proposal(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """An action with everything that is known about it before a gate is asked."""

    account: Account
    action: Action
    intent: Intent
    symbol: str
    side: Side
    position: Position | None
    quote: Quote | None
    unusable: Failure | None
    price: Decimal
    quantity: Decimal
    leverage: Decimal
    valuation: Valuation
    order_notional: Decimal
    room: Room
    """The exposure limits at this order's price."""

    @property
    def opening(self) -> bool:
        return self.intent == "open"

    @property
    def known(self) -> frozenset[Needs]:
        """What is known of what gates need."""
        if self.unusable is not None:
            return _NO_PRICE
        if self.position is None and not self.opening:
            return _NO_POSITION
        if self.quantity <= ZERO:
            return _NO_SIZE
        return _ALL_OF_AN_OPENING if self.opening else _ALL_OF_ANOTHER


class Verdict(msgspec.Struct, frozen=True, gc=False):
    """No failures: the proposal may fill. `quantity_max` is the largest size that would have passed."""

    failures: tuple[Failure, ...]
    quantity_max: Decimal | None = None


def proposal(account: Account, action: Action, quotes: Quotes, now: datetime) -> Proposal:
    """Gather what the gates read. `action` is one of `SUPPORTED` and names a symbol and a side."""
    if action.symbol is None or action.side is None:
        raise AssertionError(f"action {action.decision_action_id} reached the gates without symbol or side")
    intent = SUPPORTED[action.action]
    policy = account.policy
    position = account.positions.get((action.symbol, action.side))
    found = usable(quotes, action.symbol, now, policy.quote_max_age_ms.trade)
    if isinstance(found, Quote) and position is not None:
        found = believed(position, found)
    quote = found if isinstance(found, Quote) else None
    unusable = found if isinstance(found, Failure) else None
    price = fill_price(quote, policy, side=action.side, intent=intent) if quote else ZERO
    quantity = _quantity(action, position, price)
    leverage = policy.max_leverage if action.leverage is None else action.leverage
    valuation = valued(account, quotes, now)
    room = Room(
        policy=policy,
        valuation=valuation,
        held_notional=valuation.notionals.get((action.symbol, action.side), ZERO),
        carried=Carried(
            quantity=position.quantity if position else ZERO,
            cost=position.entry_notional if position else ZERO,
            traded=account.tally.traded,
        ),
        price=price,
        ask=quote.ask if quote else ZERO,
        leverage=leverage,
    )
    return Proposal(
        account=account,
        action=action,
        intent=intent,
        symbol=action.symbol,
        side=action.side,
        position=position,
        quote=quote,
        unusable=unusable,
        price=price,
        quantity=quantity,
        leverage=leverage,
        valuation=valuation,
        order_notional=money.notional(quantity, price),
        room=room,
    )


def judge(proposed: Proposal) -> Verdict:
    """Ask every gate that can be judged."""
    failures, known = [], proposed.known
    for code, needs, fails in GATES:
        if needs in known:
            context = fails(proposed)
            if context is not None:
                failures.append(Failure(code, context))
    small_enough = bool(failures) and all(failure.code in SIZE_GATES for failure in failures)
    return Verdict(tuple(failures), proposed.room.quantity_max() if small_enough else None)


def unsupported(action: Action) -> Failure | None:
    """Gate 1, asked before anything is gathered: after it none is judged."""
    if action.action in SUPPORTED:
        return None
    return Failure(GateCode.UNSUPPORTED_ACTION, {"action": action.action, "supported": ", ".join(SUPPORTED)})


def _quantity(action: Action, position: Position | None, price: Decimal) -> Decimal:
    if action.action == "open":
        if action.quantity is not None:
            return action.quantity
        return money.quantity_for(action.notional or ZERO, price) if price > ZERO else ZERO
    if position is None:
        return ZERO
    if action.action == "close":
        return position.quantity
    if action.fraction is not None:
        return money.fraction_of(position.quantity, action.fraction)
    return action.quantity or ZERO


def _account_not_active(p: Proposal) -> Context | None:
    return None if p.account.status == "active" else {"status": p.account.status}


def _asset_not_allowed(p: Proposal) -> Context | None:
    allowed = p.account.policy.allowed_assets
    return None if allowed is None or p.symbol in allowed else {"symbol": p.symbol}


def _direction_not_allowed(p: Proposal) -> Context | None:
    policy = p.account.policy
    if not p.opening:
        return None
    if p.side not in policy.allowed_directions:
        return {"side": p.side, "allowed": ", ".join(policy.allowed_directions)}
    opposite: Side = "short" if p.side == "long" else "long"
    if not policy.allow_hedging and (p.symbol, opposite) in p.account.positions:
        return {"side": p.side, "open": opposite, "allowHedging": "false"}
    return None


def _position_not_found(p: Proposal) -> Context | None:
    return None if p.opening or p.position else {"symbol": p.symbol, "side": p.side}


def _price_unusable(code: GateCode) -> Callable[[Proposal], Context | None]:
    return lambda p: p.unusable.context if p.unusable is not None and p.unusable.code is code else None


def _price_protection(p: Proposal) -> Context | None:
    highest, lowest = p.action.max_price, p.action.min_price
    if highest is not None and p.price > highest:
        return {"price": text(p.price), "maxPrice": text(highest)}
    if lowest is not None and p.price < lowest:
        return {"price": text(p.price), "minPrice": text(lowest)}
    return None


def _quantity_below_minimum(p: Proposal) -> Context | None:
    return None if p.quantity > ZERO else {"quantity": text(p.quantity), "minimum": text(UNIT)}


def _quantity_exceeds_position(p: Proposal) -> Context | None:
    if p.position is None or p.opening or p.quantity <= p.position.quantity:
        return None
    return {"quantity": text(p.quantity), "open": text(p.position.quantity)}


def _notional_exceeds_maximum(p: Proposal) -> Context | None:
    if not p.room.within_notional(p.order_notional):
        return {"notional": text(p.order_notional), "limit": text(p.account.policy.max_notional)}
    exceeded = p.room.exceeded(p.quantity, p.order_notional)
    if exceeded is None:
        return None
    return {
        "notional": text(p.order_notional),
        "bound": exceeded.bound,
        "actual": text(exceeded.actual),
        "limit": text(money.round8(exceeded.limit)),
    }


def _leverage_exceeds_maximum(p: Proposal) -> Context | None:
    limit = p.account.policy.max_leverage
    return None if 1 <= p.leverage <= limit else {"leverage": text(p.leverage), "minimum": 1, "limit": text(limit)}


def _aggregate_leverage_exceeded(p: Proposal) -> Context | None:
    room = p.room
    if room.within_aggregate(p.order_notional):
        return None
    return {
        "notional": text(p.order_notional),
        "openNotional": text(p.valuation.open_notional),
        "equity": text(p.valuation.equity),
        "maxLeverage": text(p.account.policy.max_leverage),
        "limit": text(money.round8(room.aggregate_limit)),
    }


def _position_equity_exceeded(p: Proposal) -> Context | None:
    room = p.room
    if room.within_position(p.order_notional):
        return None
    return {
        "positionNotional": text(money.plus(room.held_notional, p.order_notional)),
        "equity": text(p.valuation.equity),
        "ratio": text(p.account.policy.position_equity_ratio),
        "limit": text(money.round8(room.position_limit)),
    }


def _insufficient_margin(p: Proposal) -> Context | None:
    room = p.room
    if p.leverage <= 0 or room.within_margin(p.order_notional):  # no margin at a leverage that is none: gate 12 says so
        return None
    return {
        "needed": text(room.margin_needed(p.order_notional)),
        "fee": text(money.fee(p.order_notional, p.account.policy.fee_bps)),
        "freeMargin": text(p.valuation.free_margin),
    }


def _max_open_positions_exceeded(p: Proposal) -> Context | None:
    count, limit = len(p.account.positions), p.account.policy.max_open_positions
    return None if p.position or count < limit else {"open": count, "limit": limit}


def _max_open_orders_exceeded(p: Proposal) -> Context | None:
    count, limit = 0, p.account.policy.max_open_orders  # an order fills whole or is never made: none stays open
    return None if count < limit else {"open": count, "limit": limit}


GATES: Final[tuple[tuple[GateCode, Needs, Callable[[Proposal], Context | None]], ...]] = (
    (GateCode.ACCOUNT_NOT_ACTIVE, "nothing", _account_not_active),
    (GateCode.ASSET_NOT_ALLOWED, "nothing", _asset_not_allowed),
    (GateCode.DIRECTION_NOT_ALLOWED, "nothing", _direction_not_allowed),
    (GateCode.POSITION_NOT_FOUND, "nothing", _position_not_found),
    (GateCode.PRICE_MISSING, "nothing", _price_unusable(GateCode.PRICE_MISSING)),
    (GateCode.PRICE_STALE, "nothing", _price_unusable(GateCode.PRICE_STALE)),
    (GateCode.PRICE_PROTECTION, "price", _price_protection),
    (GateCode.QUANTITY_BELOW_MINIMUM, "position", _quantity_below_minimum),
    (GateCode.QUANTITY_EXCEEDS_POSITION, "size", _quantity_exceeds_position),
    (GateCode.NOTIONAL_EXCEEDS_MAXIMUM, "opening", _notional_exceeds_maximum),
    (GateCode.LEVERAGE_EXCEEDS_MAXIMUM, "opening", _leverage_exceeds_maximum),
    (GateCode.AGGREGATE_LEVERAGE_EXCEEDED, "opening", _aggregate_leverage_exceeded),
    (GateCode.POSITION_EQUITY_EXCEEDED, "opening", _position_equity_exceeded),
    (GateCode.INSUFFICIENT_MARGIN, "opening", _insufficient_margin),
    (GateCode.MAX_OPEN_POSITIONS_EXCEEDED, "opening", _max_open_positions_exceeded),
    (GateCode.MAX_OPEN_ORDERS_EXCEEDED, "opening", _max_open_orders_exceeded),
)
"""Gates 2 to 17; gate 1 is `unsupported`. A reduce or close knows no `opening`: no exposure gate asks it anything."""
