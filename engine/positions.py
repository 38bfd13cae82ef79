"""Position math: what opening, adding, reducing and marking do to one position (DESIGN section 2).

Every function returns a new position. Costs are carried in `entry_notional`; the average entry price is
shown, never computed with.
"""

from datetime import datetime
from decimal import Decimal

import msgspec

from engine.bounds import NOTIONAL_MAGNITUDE
from engine.money import ZERO, notional, portion, ratio
from engine.policy import LONG, Side
from engine.quotes import Quote
from engine.rejections import Failure, GateCode

PositionKey = tuple[str, Side]


class Position(msgspec.Struct, frozen=True, gc=False, rename="camel", kw_only=True):
    """One episode of a (symbol, side), from opening to close. `mark_notional` is round8(quantity * mark_price)."""

    symbol: str
    side: Side
    quantity: Decimal
    entry_notional: Decimal
    avg_entry_price: Decimal
    leverage: Decimal
    mark_price: Decimal
    mark_notional: Decimal
    marked_at: datetime
    realized_pnl: Decimal
    fees: Decimal
    opened_at: datetime
    opened_seq: int
    closed_at: datetime | None = None

    @property
    def key(self) -> PositionKey:
        return self.symbol, self.side

    @property
    def unrealized_pnl(self) -> Decimal:
        """Gross; at the last mark."""
        worth, cost = self.mark_notional, self.entry_notional
        return worth - cost if self.side == LONG else cost - worth

    def gain(self, worth: Decimal) -> Decimal:
        """Gross PnL that is not realized, where the position is worth so much."""
        return worth - self.entry_notional if self.side == LONG else self.entry_notional - worth

    @property
    def margin_used(self) -> Decimal:
        return ratio(self.mark_notional, self.leverage)


class Reduction(msgspec.Struct, frozen=True, gc=False):
    """What taking a quantity off brings: its cost at entry and the gross realized PnL."""

    cost: Decimal
    realized_pnl: Decimal


def opened(
    *,
    symbol: str,
    side: Side,
    quantity: Decimal,
    order_notional: Decimal,
    leverage: Decimal,
    fee: Decimal,
    mark_price: Decimal,
    at: datetime,
    seq: int,
) -> Position:
    """A new position; `seq` is that of its `position_opened` event and tells episodes apart."""
    return Position(
        symbol=symbol,
        side=side,
        quantity=quantity,
        entry_notional=order_notional,
        avg_entry_price=ratio(order_notional, quantity),
        leverage=leverage,
        mark_price=mark_price,
        mark_notional=notional(quantity, mark_price),
        marked_at=at,
        realized_pnl=ZERO,
        fees=fee,
        opened_at=at,
        opened_seq=seq,
    )


def increased(
    position: Position,
    *,
    quantity: Decimal,
    order_notional: Decimal,
    leverage: Decimal,
    fee: Decimal,
    mark_price: Decimal,
    at: datetime,
) -> Position:
    """More of the same; the whole position takes the new leverage."""
    total, cost = position.quantity + quantity, position.entry_notional + order_notional
    return msgspec.structs.replace(
        position,
        quantity=total,
        entry_notional=cost,
        avg_entry_price=ratio(cost, total),
        leverage=leverage,
        mark_price=mark_price,
        mark_notional=notional(total, mark_price),
        marked_at=at,
        fees=position.fees + fee,
    )


def reduction(position: Position, *, quantity: Decimal, order_notional: Decimal) -> Reduction:
    """Cost and gross realized PnL of taking `quantity` (at most all of it) off for `order_notional`."""
    whole = quantity == position.quantity
    cost = position.entry_notional if whole else portion(position.entry_notional, quantity, position.quantity)
    gain = order_notional - cost
    return Reduction(cost, gain if position.side == LONG else -gain)


def reduced(
    position: Position, taken: Reduction, *, quantity: Decimal, fee: Decimal, mark_price: Decimal, at: datetime
) -> Position:
    """What is left; nothing left closes the episode and keeps its last average entry price for show."""
    left, cost = position.quantity - quantity, position.entry_notional - taken.cost
    return msgspec.structs.replace(
        position,
        quantity=left,
        entry_notional=cost,
        avg_entry_price=ratio(cost, left) if left else position.avg_entry_price,
        mark_price=mark_price,
        mark_notional=notional(left, mark_price),
        marked_at=at,
        realized_pnl=position.realized_pnl + taken.realized_pnl,
        fees=position.fees + fee,
        closed_at=None if left else at,
    )


def is_valuable(position: Position, price: Decimal) -> bool:
    """Whether the position's value at this price is one that can be kept; a bad tick may lie far beyond."""
    return notional(position.quantity, price) < NOTIONAL_MAGNITUDE


def believed(position: Position, quote: Quote) -> Quote | Failure:
    """The quote, unless its ask, the highest of its prices, would value the position beyond the bounds."""
    if is_valuable(position, quote.ask):
        return quote
    return Failure(GateCode.PRICE_MISSING, {"symbol": position.symbol, "reason": "out_of_range"})


def marked(position: Position, *, mark_price: Decimal, at: datetime) -> Position:
    """The same position valued at `mark_price`."""
    return msgspec.structs.replace(
        position, mark_price=mark_price, mark_notional=notional(position.quantity, mark_price), marked_at=at
    )
