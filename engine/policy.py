"""Policy: what an account may do, frozen on it at creation.

Defaults are those of an audition (DESIGN section 3). Ranges are held by `faults`, so that a policy which
exists can be computed with.
"""

from collections.abc import Iterator
from decimal import Decimal
from typing import ClassVar, Final, Literal

import msgspec

from engine.money import ONE
from engine.quotes import QUOTE_AGE_MS_MARK, QUOTE_AGE_MS_TRADE, Use

Side = Literal["long", "short"]
LONG: Final[Side] = "long"
SHORT: Final[Side] = "short"
SlippageModel = Literal["mid_price", "fixed_bps", "spread"]
LossBasis = Literal["initial", "day_start"]
AnchorOf = Literal["balance", "equity"]
TrailingMode = Literal["intraday_equity", "end_of_day"]

LEVERAGE_MAX: Final = Decimal(1000)
FEE_BPS_MAX: Final = Decimal(10_000)
SLIPPAGE_BPS_MAX: Final = Decimal(4_000)
"""Below half, so that no positive price slips to zero."""
OPEN_POSITIONS_MAX: Final = 1_000
OPEN_ORDERS_MAX: Final = 1_000
ALLOWED_ASSETS_MAX: Final = 1_000
QUOTE_AGE_MS_MAX: Final = 7 * 24 * 3600 * 1000
TARGET_FRACTION_MAX: Final = Decimal(1000)
TRADING_DAYS_MAX: Final = 10_000


class QuoteMaxAge(msgspec.Struct, frozen=True, gc=False, omit_defaults=True, rename="camel"):
    """Oldest usable quote, in milliseconds, by what it is used for."""

    trade: int = QUOTE_AGE_MS_TRADE
    mark: int = QUOTE_AGE_MS_MARK
    liquidate: int = QUOTE_AGE_MS_TRADE

    def of(self, use: Use) -> int:
        return self.trade if use == "trade" else self.mark if use == "mark" else self.liquidate


class MaxDailyLoss(msgspec.Struct, frozen=True, gc=False, rename="camel", kw_only=True):
    """How far below the UTC day's anchor equity may fall: an `amount`, or a `fraction` of its basis; exactly one.

    The anchor is the balance or the equity (`of`) the day began with. `basis` of a fraction: the starting balance, or
    the anchor itself.
    """

    fraction: Decimal | None = None
    amount: Decimal | None = None
    basis: LossBasis = "initial"
    of: AnchorOf = "balance"


class TrailingDrawdown(msgspec.Struct, frozen=True, gc=False, rename="camel", kw_only=True):
    """How far below its peak equity may fall: an `amount`, or a `fraction` of the starting balance; exactly one.

    The peak is that of equity at any mark or fill, or the highest balance a day ended with. `locks_at_start`: the floor
    does not rise above the starting balance.
    """

    mode: TrailingMode
    fraction: Decimal | None = None
    amount: Decimal | None = None
    locks_at_start: bool = False


class ProfitTarget(msgspec.Struct, frozen=True, gc=False, rename="camel", kw_only=True):
    """What completes the account: equity above the starting balance by `amount`, or by a `fraction` of it; exactly one.

    `min_trading_days`: UTC days on which a position was opened.
    """

    fraction: Decimal | None = None
    amount: Decimal | None = None
    min_trading_days: int = 0


PropRule = MaxDailyLoss | TrailingDrawdown | ProfitTarget


class Policy(msgspec.Struct, frozen=True, gc=False, omit_defaults=True, rename="camel"):
    """Limits of one account. Money in account currency, ratios as plain decimals, `_bps` in basis points."""

    LATER: ClassVar = ("max_daily_loss", "trailing_drawdown", "profit_target")

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
    max_daily_loss: MaxDailyLoss | None = None
    trailing_drawdown: TrailingDrawdown | None = None
    profit_target: ProfitTarget | None = None

    @property
    def has_rules(self) -> bool:
        return any((self.max_daily_loss, self.trailing_drawdown, self.profit_target))

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
    yield from _rule_faults("maxDailyLoss", policy.max_daily_loss, fraction_max=ONE)
    yield from _rule_faults("trailingDrawdown", policy.trailing_drawdown, fraction_max=ONE)
    target = policy.profit_target
    yield from _rule_faults("profitTarget", target, fraction_max=TARGET_FRACTION_MAX)
    if target is not None and not 0 <= target.min_trading_days <= TRADING_DAYS_MAX:
        yield "profitTarget/minTradingDays", f"0 to {TRADING_DAYS_MAX}"


def _rule_faults(field: str, rule: PropRule | None, *, fraction_max: Decimal) -> Iterator[tuple[str, str]]:
    if rule is None:
        return
    if (rule.fraction is None) == (rule.amount is None):
        yield field, "given exactly one of fraction and amount"
    if rule.fraction is not None and not 0 < rule.fraction <= fraction_max:
        yield f"{field}/fraction", f"above 0, at most {int(fraction_max)}"
    if rule.amount is not None and rule.amount <= 0:
        yield f"{field}/amount", "above 0"
