"""Policy: what an account may do, frozen on it at creation.

Defaults are those of an audition (DESIGN section 3). Ranges are held by `faults`, so that a policy which
exists can be computed with.
"""

from collections.abc import Iterator
from decimal import Decimal
from typing import Final, Literal

import msgspec

from engine.quotes import QUOTE_AGE_MS_MARK, QUOTE_AGE_MS_TRADE, Use

Side = Literal["long", "short"]
LONG: Final[Side] = "long"
SHORT: Final[Side] = "short"
SlippageModel = Literal["mid_price", "fixed_bps", "spread"]

LEVERAGE_MAX: Final = Decimal(1000)
FEE_BPS_MAX: Final = Decimal(10_000)
SLIPPAGE_BPS_MAX: Final = Decimal(4_000)
"""Below half, so that no positive price slips to zero."""
OPEN_POSITIONS_MAX: Final = 1_000
OPEN_ORDERS_MAX: Final = 1_000
ALLOWED_ASSETS_MAX: Final = 1_000
QUOTE_AGE_MS_MAX: Final = 7 * 24 * 3600 * 1000


class QuoteMaxAge(msgspec.Struct, frozen=True, rename="camel"):
    """Oldest usable quote, in milliseconds, by what it is used for."""

    trade: int = QUOTE_AGE_MS_TRADE
    mark: int = QUOTE_AGE_MS_MARK
    liquidate: int = QUOTE_AGE_MS_TRADE

    def of(self, use: Use) -> int:
        return self.trade if use == "trade" else self.mark if use == "mark" else self.liquidate


class Policy(msgspec.Struct, frozen=True, rename="camel"):
    """Limits of one account. Money in account currency, ratios as plain decimals, `_bps` in basis points."""

    max_leverage: Decimal = Decimal("5.00000000")
    max_notional: Decimal = Decimal("50000.00000000")
    max_open_positions: int = 5
    max_open_orders: int = 10
    allowed_directions: tuple[Side, ...] = (LONG, SHORT)
    allowed_assets: tuple[str, ...] | None = None
    fee_bps: Decimal = Decimal("10.00000000")
    slippage_model: SlippageModel = "mid_price"
    slippage_bps: Decimal = Decimal("0.00000000")
    max_drawdown: Decimal = Decimal("0.50000000")
    max_position_equity_ratio: Decimal | None = None
    allow_hedging: bool = True
    quote_max_age_ms: QuoteMaxAge = QuoteMaxAge()

    @property
    def position_equity_ratio(self) -> Decimal:
        """Largest position notional as a multiple of equity; the maximum leverage unless set."""
        return self.max_leverage if self.max_position_equity_ratio is None else self.max_position_equity_ratio


def faults(policy: Policy) -> Iterator[tuple[str, str]]:
    """(wire field, what it must be) for every figure out of range."""
    ages, ratio = policy.quote_max_age_ms, policy.max_position_equity_ratio
    checks = (
        ("maxLeverage", 1 <= policy.max_leverage <= LEVERAGE_MAX, f"between 1 and {LEVERAGE_MAX}"),
        ("maxNotional", policy.max_notional > 0, "above 0"),
        ("maxOpenPositions", 0 <= policy.max_open_positions <= OPEN_POSITIONS_MAX, f"0 to {OPEN_POSITIONS_MAX}"),
        ("maxOpenOrders", 0 <= policy.max_open_orders <= OPEN_ORDERS_MAX, f"0 to {OPEN_ORDERS_MAX}"),
        ("allowedDirections", len(set(policy.allowed_directions)) == len(policy.allowed_directions), "without repeats"),
        ("allowedAssets", len(policy.allowed_assets or ()) <= ALLOWED_ASSETS_MAX, f"at most {ALLOWED_ASSETS_MAX}"),
        ("feeBps", 0 <= policy.fee_bps <= FEE_BPS_MAX, f"0 to {FEE_BPS_MAX}"),
        ("slippageBps", 0 <= policy.slippage_bps <= SLIPPAGE_BPS_MAX, f"0 to {SLIPPAGE_BPS_MAX}"),
        ("maxDrawdown", 0 < policy.max_drawdown <= 1, "above 0, at most 1"),
        ("maxPositionEquityRatio", ratio is None or ratio > 0, "above 0"),
        ("quoteMaxAgeMs/trade", 0 < ages.trade <= QUOTE_AGE_MS_MAX, f"1 to {QUOTE_AGE_MS_MAX}"),
        ("quoteMaxAgeMs/mark", 0 < ages.mark <= QUOTE_AGE_MS_MAX, f"1 to {QUOTE_AGE_MS_MAX}"),
        ("quoteMaxAgeMs/liquidate", 0 < ages.liquidate <= QUOTE_AGE_MS_MAX, f"1 to {QUOTE_AGE_MS_MAX}"),
    )
    yield from ((field, must_be) for field, holds, must_be in checks if not holds)
