"""Fills: the price an order gets from a quote, and the events one whole fill brings.

The price is the latest quote's, moved by the policy's slippage model against the taker (DESIGN section 3).
"""

from decimal import Decimal

from engine import money, positions
from engine.account import Account
from engine.events import (
    FillBooked,
    Intent,
    OrderValidated,
    PositionChanged,
    PositionClosed,
    PositionIncreased,
    PositionOpened,
    PositionReduced,
)
from engine.money import ZERO
from engine.policy import LONG, Policy, Side
from engine.quotes import Quote


def is_buy(side: Side, intent: Intent) -> bool:
    """Opening long and taking a short off buy; the others sell."""
    return (side == LONG) == (intent == "open")


def fill_price(quote: Quote, policy: Policy, *, side: Side, intent: Intent) -> Decimal:
    """Account currency a unit; positive for every valid quote."""
    buy = is_buy(side, intent)
    match policy.slippage_model:
        case "mid_price":
            return quote.mid
        case "fixed_bps":
            return money.slipped(quote.mid, policy.slippage_bps, 1 if buy else -1)
        case "spread":
            return quote.ask if buy else quote.bid


def booked(account: Account, order: OrderValidated, fill_id: str) -> FillBooked:
    """The fill of the whole order."""
    order_notional = money.notional(order.quantity, order.price)
    taken = None
    if order.intent != "open":
        held = account.positions[order.symbol, order.side]
        taken = positions.reduction(held, quantity=order.quantity, order_notional=order_notional)
    return FillBooked(
        fill_id=fill_id,
        order_id=order.order_id,
        prop_action_id=order.prop_action_id,
        symbol=order.symbol,
        side=order.side,
        intent=order.intent,
        quantity=order.quantity,
        price=order.price,
        notional=order_notional,
        fee=money.fee(order_notional, account.policy.fee_bps),
        cost=taken.cost if taken else ZERO,
        realized_pnl=taken.realized_pnl if taken else ZERO,
        quote=order.quote,
    )


def moved(account: Account, fill: FillBooked, leverage: Decimal) -> PositionChanged:
    """What the fill made of its position; `account` has the fill's cash already, `leverage` is the order's."""
    held = account.positions.get((fill.symbol, fill.side))
    at, mark_price = account.last_at, fill.quote.mid
    kind: type[PositionChanged]
    if fill.intent != "open":
        if held is None:
            raise AssertionError(f"nothing of {fill.symbol} {fill.side} to take off")
        taken = positions.Reduction(fill.cost, fill.realized_pnl)
        after = positions.reduced(held, taken, quantity=fill.quantity, fee=fill.fee, mark_price=mark_price, at=at)
        kind = PositionReduced if after.quantity else PositionClosed
    elif held is None:
        kind = PositionOpened
        after = positions.opened(
            symbol=fill.symbol,
            side=fill.side,
            quantity=fill.quantity,
            order_notional=fill.notional,
            leverage=leverage,
            fee=fill.fee,
            mark_price=mark_price,
            at=at,
            seq=account.seq + 1,
        )
    else:
        kind = PositionIncreased
        after = positions.increased(
            held,
            quantity=fill.quantity,
            order_notional=fill.notional,
            leverage=leverage,
            fee=fill.fee,
            mark_price=mark_price,
            at=at,
        )
    equity = account.equity + after.unrealized_pnl - (held.unrealized_pnl if held else ZERO)
    return kind(position=after, cash=account.cash, equity=equity, high_watermark=max(account.high_watermark, equity))
