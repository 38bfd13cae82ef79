"""Exact money: eight decimals, half-even, and the only place that rounds.

Owns every multiplication and division of the exact engine. Sums and differences are written plainly
elsewhere: Python's decimal keeps 28 digits, and `invariants` holds every figure below 1e20 with eight
decimals, so `+` and `-` are exact. Products and quotients need more digits and go through `EXACT`.
Rounding follows DESIGN section 2: ROUND_HALF_EVEN, sizes rounded down.
"""

import re
from decimal import (
    ROUND_CEILING,
    ROUND_DOWN,
    ROUND_HALF_EVEN,
    Context,
    Decimal,
    DivisionByZero,
    InvalidOperation,
    Overflow,
)
from typing import Final

DECIMALS: Final = 8
UNIT: Final = Decimal("0.00000001")
ZERO: Final = Decimal("0.00000000")
ONE: Final = Decimal("1.00000000")
INPUT_MAGNITUDE: Final = Decimal(10) ** 12
"""Figures a client sends are below this."""
STORED_MAGNITUDE: Final = Decimal(10) ** 20
"""Figures the engine keeps are below this: NUMERIC(28, 8) holds no more."""
STORED_MAX: Final = STORED_MAGNITUDE - UNIT

RETURN_UNIT: Final = Decimal("1e-18")

# 80 digits: a product of two stored figures has 56, and a quotient of such a product by a stored figure
# lies at least 5e-29 from a rounding tie, so rounding it twice (to 80 digits, then to 8 decimals) is safe.
EXACT: Final = Context(prec=80, rounding=ROUND_HALF_EVEN, traps=[InvalidOperation, DivisionByZero, Overflow])

_DECIMAL_TEXT: Final = re.compile(r"(-?)([0-9]{1,12})(?:\.([0-9]{1,8}))?")


class NotMoney(ValueError):
    """A text that is no decimal with at most 8 decimals and magnitude below 1e12."""


def parse(text: str) -> Decimal:
    """Read a client's decimal text at scale 8; raises `NotMoney`.

    The text is checked before Decimal sees it: Decimal accepts exponents, `1_0`, NaN and foreign digits.
    """
    found = _DECIMAL_TEXT.fullmatch(text)
    if found is None:
        raise NotMoney("a decimal with at most 12 digits before and 8 after the point, like 50000.25")
    return round8(Decimal(text)) + ZERO


def text(value: Decimal) -> str:
    """Plain notation, never an exponent: `50000.25000000`."""
    return format(value, "f")


def round8(value: Decimal) -> Decimal:
    """To 8 decimals, half-even."""
    return value.quantize(UNIT, ROUND_HALF_EVEN, EXACT)


def floor8(value: Decimal) -> Decimal:
    """To 8 decimals, towards zero: a size is never rounded up."""
    return value.quantize(UNIT, ROUND_DOWN, EXACT)


def notional(quantity: Decimal, price: Decimal) -> Decimal:
    """Value of `quantity` units at `price` a unit, in account currency."""
    return round8(EXACT.multiply(quantity, price))


def fee(order_notional: Decimal, fee_bps: Decimal) -> Decimal:
    """Fee on a notional; `fee_bps` in hundredths of a per cent."""
    return round8(EXACT.multiply(order_notional, fee_bps).scaleb(-4, EXACT))


def portion(amount: Decimal, part: Decimal, whole: Decimal) -> Decimal:
    """The share of `amount` that `part` of `whole` carries: the cost of a partial reduction."""
    return round8(EXACT.divide(EXACT.multiply(amount, part), whole))


def ratio(numerator: Decimal, denominator: Decimal) -> Decimal:
    """A quotient at 8 decimals: average entry price, margin of a notional."""
    return round8(EXACT.divide(numerator, denominator))


def growth(after: Decimal, before: Decimal) -> Decimal:
    """A return, `after / before - 1`, at 18 decimals: what ratios of returns are computed with."""
    return EXACT.divide(EXACT.subtract(after, before), before).quantize(RETURN_UNIT, ROUND_HALF_EVEN, EXACT)


def square(value: Decimal) -> Decimal:
    """Exact, for a return."""
    return EXACT.multiply(value, value)


def total(left: Decimal, right: Decimal) -> Decimal:
    """An exact sum of returns or of their squares, which have more decimals than money."""
    return EXACT.add(left, right)


def shortfall(value: Decimal, peak: Decimal) -> Decimal:
    """The share by which `value` lies below `peak`, at 8 decimals."""
    return round8(EXACT.divide(EXACT.subtract(peak, value), peak))


def risk_adjusted(*, returns: Decimal, squares: Decimal, count: int, a_year: int, is_sample: bool) -> Decimal | None:
    """Mean of `count` returns by their deviation, times the root of `a_year`; None where nothing deviates.

    The deviation is the root of the mean of `squares` or, `is_sample`, of the variance that they make with the mean,
    over `count - 1`. `returns` and `squares` are sums.
    """
    number = Decimal(count)
    if is_sample:
        spread = EXACT.subtract(EXACT.multiply(number, squares), square(returns))
        variance = EXACT.divide(spread, number * (number - 1))
    else:
        variance = EXACT.divide(squares, number)
    if variance <= 0:
        return None
    mean = EXACT.divide(returns, number)
    return round8(EXACT.multiply(mean, EXACT.sqrt(EXACT.divide(Decimal(a_year), variance))))


def share_up(amount: Decimal, fraction: Decimal) -> Decimal:
    """`fraction` of an amount, rounded up: a figure of 8 decimals reaches it just where it reaches the exact share."""
    return EXACT.multiply(amount, fraction).quantize(UNIT, ROUND_CEILING, EXACT)


def per_cent(part: Decimal, whole: Decimal) -> Decimal:
    """`part` in hundredths of `whole`; 0 where there is no whole."""
    return ZERO if whole <= 0 else round8(EXACT.divide(EXACT.multiply(part, Decimal(100)), whole))


def times(amount: Decimal, factor: Decimal) -> Decimal:
    """A product kept exact, for comparing against a limit without rounding it."""
    return EXACT.multiply(amount, factor)


def plus(amount: Decimal, asked: Decimal) -> Decimal:
    """An exact sum with a figure that only was asked for: an order may be larger than any that is kept."""
    return EXACT.add(amount, asked)


def quantity_for(order_notional: Decimal, price: Decimal) -> Decimal:
    """Units that `order_notional` buys at `price`, rounded down."""
    return floor8(EXACT.divide(order_notional, price))


def fraction_of(quantity: Decimal, fraction: Decimal) -> Decimal:
    """`fraction` of a position's quantity, rounded down unless it is the whole."""
    return quantity if fraction == 1 else floor8(EXACT.multiply(quantity, fraction))


def slipped(price: Decimal, slippage_bps: Decimal, direction: int) -> Decimal:
    """`price` moved by `slippage_bps` up (`direction` +1) or down (-1)."""
    return round8(EXACT.multiply(price, EXACT.add(Decimal(1), (direction * slippage_bps).scaleb(-4, EXACT))))


def midpoint(bid: Decimal, ask: Decimal) -> Decimal:
    """The middle of a quote."""
    return round8(EXACT.divide(EXACT.add(bid, ask), Decimal(2)))
