"""Bounds: how large the figures of one account may become, so that no table ever meets one it cannot hold.

Guarantee: whatever actions are accepted and whatever prices come, every figure of an account stays below
`money.STORED_MAGNITUDE`. Openings are refused at the bounds (gate 11) and a price that would value an open position
beyond them is not believed, so nothing has to be refused that only makes an account smaller.

Why it holds. A position is worth less than `NOTIONAL_MAGNITUDE` at every price it is marked or filled at, and cost no
more; there are at most 1,000. Taking a position off in parts, `q` of `Q` at a time, trades less than 1.4 *
`NOTIONAL_MAGNITUDE` * `q / Q` each time (1.4: the largest slippage), in all less than 1.4e14 * (1 + ln(1e16 / 1e-8)),
so 1,000 positions trade less than 8e18 on their way out, and no opening is accepted beyond `TRADED_MAGNITUDE`. All that
was ever traded is therefore below 2e19. Fees are no more than that, realized PnL either way no more than that, cash
moved by no more than both: below 5e19, with unrealized PnL still below 1e20.
"""

from decimal import Decimal
from typing import Final, Literal

import msgspec

from engine.money import plus

QUANTITY_MAGNITUDE: Final = Decimal(10) ** 16
"""Units of a symbol that one position may hold are below this."""
NOTIONAL_MAGNITUDE: Final = Decimal(10) ** 14
"""What one position costs, and what it is worth at a price that is believed, is below this."""
TRADED_MAGNITUDE: Final = Decimal(10) ** 19
"""The notional of all fills of an account is below this when it opens or adds to a position."""

Bound = Literal["position_quantity", "position_cost", "position_value", "account_traded"]


class Exceeded(msgspec.Struct, frozen=True, gc=False):
    """A bound that an opening would reach: what it would make of the figure, which must stay below `limit`."""

    bound: Bound
    actual: Decimal
    limit: Decimal


class Carried(msgspec.Struct, frozen=True, gc=False):
    """What an opening adds to: quantity and cost of its position, both 0 where it is new, and what was ever traded."""

    quantity: Decimal
    cost: Decimal
    traded: Decimal

    def exceeded(self, *, quantity: Decimal, order_notional: Decimal, value: Decimal) -> Exceeded | None:
        """The first bound that adding `quantity` for `order_notional` reaches; `value`: of all of it, at the ask."""
        figures: tuple[tuple[Bound, Decimal, Decimal], ...] = (
            ("position_quantity", plus(self.quantity, quantity), QUANTITY_MAGNITUDE),
            ("position_cost", plus(self.cost, order_notional), NOTIONAL_MAGNITUDE),
            ("position_value", value, NOTIONAL_MAGNITUDE),
            ("account_traded", plus(self.traded, order_notional), TRADED_MAGNITUDE),
        )
        for bound, actual, limit in figures:
            if actual >= limit:
                return Exceeded(bound, actual, limit)
        return None
