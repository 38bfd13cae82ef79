"""Exposure: the account valued for a decision, and the largest order its limits would let through."""

from datetime import datetime
from decimal import Decimal

import msgspec

from engine import money
from engine.account import Account
from engine.bounds import Carried, Exceeded
from engine.money import UNIT, ZERO, plus
from engine.policy import LONG, Policy
from engine.positions import Position, PositionKey, believed
from engine.quotes import Quote, Quotes, usable


class Valuation(msgspec.Struct, frozen=True, gc=False):
    """Account currency, at fresh quotes where there are, else at the last marks."""

    equity: Decimal
    open_notional: Decimal
    margin_used: Decimal
    notionals: dict[PositionKey, Decimal]

    @property
    def free_margin(self) -> Decimal:
        return self.equity - self.margin_used


def valued(account: Account, quotes: Quotes, now: datetime) -> Valuation:
    """What the gates compare with: freshness is the policy's trade age."""
    equity, margin_used = account.cash, ZERO
    notionals: dict[PositionKey, Decimal] = {}
    for key, position in account.positions.items():
        worth = _worth(position, quotes, now, account.policy)
        gain = worth - position.entry_notional
        equity += gain if position.side == LONG else -gain
        margin_used += money.ratio(worth, position.leverage)
        notionals[key] = worth
    return Valuation(equity, sum(notionals.values(), ZERO), margin_used, notionals)


def _worth(position: Position, quotes: Quotes, now: datetime, policy: Policy) -> Decimal:
    quote = usable(quotes, position.symbol, now, policy.quote_max_age_ms.trade)
    if isinstance(quote, Quote) and believed(position, quote) is quote:
        return money.notional(position.quantity, quote.mid)
    return position.mark_notional


class Room(msgspec.Struct, frozen=True, gc=False):
    """What is left under the limits of one opening: gates 11, 13, 14 and 15 as predicates over a quantity.

    `ask` is the highest price of the quote, at which the bounds value the position.
    """

    policy: Policy
    valuation: Valuation
    held_notional: Decimal
    carried: Carried
    price: Decimal
    ask: Decimal
    leverage: Decimal

    @property
    def aggregate_limit(self) -> Decimal:
        return money.times(self.valuation.equity, self.policy.max_leverage)

    @property
    def position_limit(self) -> Decimal:
        return money.times(self.valuation.equity, self.policy.position_equity_ratio)

    def within_notional(self, order_notional: Decimal) -> bool:
        return order_notional <= self.policy.max_notional

    def exceeded(self, quantity: Decimal, order_notional: Decimal) -> Exceeded | None:
        """The bound of what is stored that this quantity, of this notional, would reach."""
        return self.carried.exceeded(
            quantity=quantity,
            order_notional=order_notional,
            value=money.notional(plus(self.carried.quantity, quantity), self.ask),
        )

    def within_aggregate(self, order_notional: Decimal) -> bool:
        return self.valuation.equity > 0 and plus(self.valuation.open_notional, order_notional) <= self.aggregate_limit

    def within_position(self, order_notional: Decimal) -> bool:
        return plus(self.held_notional, order_notional) <= self.position_limit

    def margin_needed(self, order_notional: Decimal) -> Decimal:
        """Initial margin and fee of the order."""
        return plus(money.ratio(order_notional, self.leverage), money.fee(order_notional, self.policy.fee_bps))

    def within_margin(self, order_notional: Decimal) -> bool:
        return self.margin_needed(order_notional) <= self.valuation.free_margin

    def admits(self, quantity: Decimal) -> bool:
        order_notional = money.notional(quantity, self.price)
        return (
            self.within_notional(order_notional)
            and self.exceeded(quantity, order_notional) is None
            and self.within_aggregate(order_notional)
            and self.within_position(order_notional)
            and self.within_margin(order_notional)
        )

    def quantity_max(self) -> Decimal | None:
        """The largest 8-decimal quantity that all four admit; None where not even the smallest is.

        Every predicate is monotone in the quantity, so the answer is searched for in units of 1e-8: from an
        estimate outwards in doubling steps until it is bracketed, then by halves.
        """
        if self.valuation.equity <= 0 or not self.admits(UNIT):
            return None
        low, high = self._bracket(self._estimate())
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if self._admits_units(middle) else (low, middle)
        return money.round8(Decimal(low).scaleb(-money.DECIMALS, money.EXACT))

    def _estimate(self) -> int:
        per_notional = money.EXACT.add(
            money.EXACT.divide(Decimal(1), self.leverage), self.policy.fee_bps.scaleb(-4, money.EXACT)
        )
        notional_max = min(
            self.policy.max_notional,
            self.aggregate_limit - self.valuation.open_notional,
            self.position_limit - self.held_notional,
            money.EXACT.divide(self.valuation.free_margin, per_notional),
        )
        quantity = money.quantity_for(max(notional_max, ZERO), self.price)
        return max(1, int(quantity.scaleb(money.DECIMALS, money.EXACT)))

    def _admits_units(self, units: int) -> bool:
        return self.admits(money.round8(Decimal(units).scaleb(-money.DECIMALS, money.EXACT)))

    def _bracket(self, estimate: int) -> tuple[int, int]:
        """(admitted, refused) units around the estimate."""
        step = 1
        if self._admits_units(estimate):
            low, high = estimate, estimate + step
            while self._admits_units(high):
                step *= 2
                low, high = high, high + step
            return low, high
        low, high = max(1, estimate - step), estimate
        while not self._admits_units(low):
            step *= 2
            low, high = max(1, low - step), low
        return low, high
