"""Arithmetic: products and quotients of figures in units of 1e-8, in 64 bits, rounded as `engine.money` rounds.

Guarantee: every function returns what its namesake of `engine.money` returns, to the last digit, where the result is
below `BEYOND`; one at it or past it comes back as `BEYOND`.

A product of two figures has more than 64 bits, and no wider arithmetic is needed all the same. The quotient is
estimated in float64, which is right to a few parts in 2^52; what the estimate leaves over, `left * right - estimate *
whole`, is then so small that 64 bits that wrap hold it exactly, and it says by how much to correct (docs/adr/0014).
"""

from typing import Final

import numpy as np

from engine.simulation.compiled import compiled

ONE: Final = 100_000_000
"""1.00000000"""
HALF: Final = ONE // 2
BPS: Final = 10_000 * ONE
"""The whole of which a figure in basis points is a part."""
BEYOND: Final = 1 << 62
"""4.6e10 in account currency, or of a quantity."""
PRODUCT_MAX: Final = 2.0**112
"""Past it, what an estimate leaves over might not fit."""


@compiled
def is_beyond(left: int, right: int, whole: int) -> bool:
    product = abs(np.float64(left) * np.float64(right))
    return bool(product >= np.float64(BEYOND) * np.float64(whole) or product >= PRODUCT_MAX)


@compiled
def parted(left: int, right: int, whole: int) -> tuple[int, int]:
    """`left * right` by `whole`: a quotient and the rest, which lies within about half of `whole` either way."""
    quotient = int(np.rint(np.float64(left) * np.float64(right) / np.float64(whole)))
    rest = left * right - quotient * whole
    correction = int(np.rint(np.float64(rest) / np.float64(whole)))
    return quotient + correction, rest - correction * whole


@compiled
def evened(quotient: int, rest: int, whole: int) -> int:
    """The quotient to which the rest rounds it, half even."""
    twice = 2 * rest
    if twice > whole or (twice == whole and quotient & 1):
        return quotient + 1
    if twice < -whole or (twice == -whole and quotient & 1):
        return quotient - 1
    return quotient


@compiled
def nearest(left: int, right: int, whole: int) -> int:
    """`left * right / whole`, half even; `whole` is positive."""
    if is_beyond(left, right, whole):
        return BEYOND
    quotient, rest = parted(left, right, whole)
    return evened(quotient, rest, whole)


@compiled
def below(left: int, right: int, whole: int) -> int:
    """`left * right / whole`, rounded down; `whole` is positive."""
    if is_beyond(left, right, whole):
        return BEYOND
    quotient, rest = parted(left, right, whole)
    return quotient - 1 if rest < 0 else quotient


@compiled
def above(left: int, right: int, whole: int) -> int:
    """`left * right / whole`, rounded up; `whole` is positive."""
    if is_beyond(left, right, whole):
        return BEYOND
    quotient, rest = parted(left, right, whole)
    return quotient + 1 if rest > 0 else quotient


@compiled
def notional(quantity: int, price: int) -> int:
    """Value of a quantity. On the way of every mark: `nearest` by a whole that is known, which saves the divisions."""
    estimate = np.float64(quantity) * np.float64(price) * 1e-8
    if estimate >= BEYOND:
        return BEYOND
    quotient = int(np.rint(estimate))
    rest = quantity * price - quotient * ONE
    if -HALF < rest < HALF:  # below 2^50 the estimate is the answer but for ties and their neighbours
        return quotient
    correction = int(np.rint(np.float64(rest) * 1e-8))
    return evened(quotient + correction, rest - correction * ONE, ONE)


@compiled
def fee(order_notional: int, fee_bps: int) -> int:
    return nearest(order_notional, fee_bps, BPS)


@compiled
def slipped(price: int, slippage_bps: int, direction: int) -> int:
    """`price` moved by `slippage_bps` up (`direction` +1) or down (-1)."""
    return nearest(price, BPS + direction * slippage_bps, BPS)
