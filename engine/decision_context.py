"""Decision context: what an agent needs before it decides, at the quotes and the time it is given."""

from datetime import datetime
from decimal import Decimal

from engine import gates
from engine.account import Account
from engine.commands import Action
from engine.money import UNIT, per_cent
from engine.policy import LONG, SHORT, Policy, Side
from engine.quotes import Quote, Quotes, age_ms, usable
from engine.rejections import GateCode
from engine.views import SnapshotView, View, snapshot_view


class Capacity(View, frozen=True, kw_only=True):
    """The largest quantity an `open` of this side would get through gates 11, 13, 14 and 15 now; null where none."""

    side: Side
    max_quantity: Decimal | None
    price: Decimal | None
    blocked_by: GateCode | None


class SymbolContext(View, frozen=True, kw_only=True):
    """A symbol as an agent may trade it now."""

    symbol: str
    quote: Quote | None
    age_ms: int | None
    fresh: bool
    capacity: tuple[Capacity, ...]


class LiquidationDistance(View, frozen=True, kw_only=True):
    """How far equity is from where a mark liquidates; `per_cent` of equity, 0 where there is none left."""

    liquidation_equity: Decimal
    money: Decimal
    per_cent: Decimal


class DecisionContextView(View, frozen=True, kw_only=True):
    """What an agent needs before it decides."""

    snapshot: SnapshotView
    policy: Policy
    symbols: tuple[SymbolContext, ...]
    liquidation_distance: LiquidationDistance


def decision_context(account: Account, quotes: Quotes, now: datetime) -> DecisionContextView:
    """Snapshot, policy, quotes with ages, room per symbol and side, distance to liquidation."""
    policy = account.policy
    symbols = set(quotes) | {position.symbol for position in account.positions.values()}
    if policy.allowed_assets is not None:
        symbols &= set(policy.allowed_assets)
    distance = account.equity - account.liquidation_equity
    return DecisionContextView(
        snapshot=snapshot_view(account),
        policy=policy,
        symbols=tuple(_symbol_context(account, symbol, quotes, now) for symbol in sorted(symbols)),
        liquidation_distance=LiquidationDistance(
            liquidation_equity=account.liquidation_equity, money=distance, per_cent=per_cent(distance, account.equity)
        ),
    )


def _symbol_context(account: Account, symbol: str, quotes: Quotes, now: datetime) -> SymbolContext:
    found = usable(quotes, symbol, now, account.policy.quote_max_age_ms.trade)
    quote = found if isinstance(found, Quote) else None
    shown = quotes.get(symbol)
    sides: tuple[Side, ...] = (LONG, SHORT)
    return SymbolContext(
        symbol=symbol,
        quote=quote,
        age_ms=age_ms(shown, now) if shown else None,
        fresh=quote is not None,
        capacity=tuple(_capacity(account, symbol, side, quotes, now) for side in sides),
    )


def _capacity(account: Account, symbol: str, side: Side, quotes: Quotes, now: datetime) -> Capacity:
    """What the gates themselves say of the smallest opening, and how far a larger one could go."""
    probe = Action(decision_action_id="", action="open", symbol=symbol, side=side, quantity=UNIT)
    proposed = gates.proposal(account, probe, quotes, now)
    codes = [failure.code for failure in gates.judge(proposed).failures]
    shut = next((code for code in codes if code not in gates.SIZE_GATES), None)
    if shut is not None:
        return Capacity(side=side, max_quantity=None, price=None, blocked_by=shut)
    quantity_max = None if codes else proposed.room.quantity_max()
    return Capacity(side=side, max_quantity=quantity_max, price=proposed.price, blocked_by=codes[0] if codes else None)
