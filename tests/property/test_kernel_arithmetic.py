"""The kernel's arithmetic rounds as the exact engine's does, to the last digit."""

from decimal import ROUND_CEILING, ROUND_DOWN, ROUND_HALF_EVEN, Decimal

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from engine import money
from engine.money import EXACT
from engine.simulation.arithmetic import BEYOND, BPS, ONE, PRODUCT_MAX, above, below, fee, nearest, notional, slipped
from engine.simulation.units import decimal, units

FIGURES = st.integers(0, BEYOND - 1)
ROUND = st.sampled_from((1, 5, 10**4, 10**7, ONE // 2, ONE, 3 * ONE, 5 * 10**12))
"""Their products lie on ties, or a unit beside them."""
NEAR_ROUND = st.builds(
    lambda figure, times, off: max(0, figure * times + off), ROUND, st.integers(1, 99), st.integers(-1, 1)
)
ANY = FIGURES | NEAR_ROUND
POSITIVE = st.integers(1, BEYOND - 1) | st.sampled_from((ONE, BPS, 3 * ONE, 7))


def rounded(left: int, right: int, whole: int, rounding: str) -> int:
    return int(EXACT.divide(Decimal(left * right), Decimal(whole)).quantize(Decimal(1), rounding, EXACT))


@given(ANY, ANY, POSITIVE)
@example(ONE // 2, 1, ONE)
@example(3 * ONE // 2, 1, ONE)
@example(2**61, 2**50, 2**50)
def test_quotients_of_products(left: int, right: int, whole: int) -> None:
    product, expected = left * right, rounded(left, right, whole, ROUND_HALF_EVEN)
    if product >= 0.999 * PRODUCT_MAX or expected >= 0.999 * BEYOND:
        assert nearest(left, right, whole) in (BEYOND, expected)
        return
    assert nearest(left, right, whole) == expected
    assert below(left, right, whole) == rounded(left, right, whole, ROUND_DOWN)
    assert above(left, right, whole) == rounded(left, right, whole, ROUND_CEILING)


@given(ANY, ANY)
@example(ONE // 2, 1)
@example(ONE // 2, 3)
def test_notional(quantity: int, price: int) -> None:
    expected = (
        units(money.notional(decimal(quantity), decimal(price)), "n") if quantity * price < 2**62 * ONE else BEYOND
    )
    if abs(expected - BEYOND) > 2**12:
        assert notional(quantity, price) == expected
    else:
        assert notional(quantity, price) in (expected, BEYOND)


@given(ANY, st.integers(0, 10_000 * ONE))
def test_fee(order_notional: int, bps: int) -> None:
    assert fee(order_notional, bps) == units(money.fee(decimal(order_notional), decimal(bps)), "fee")


@given(st.integers(1, 2**60), st.integers(0, 4_000 * ONE), st.sampled_from((1, -1)))
def test_slipped(price: int, bps: int, direction: int) -> None:
    assert slipped(price, bps, direction) == units(money.slipped(decimal(price), decimal(bps), direction), "price")


@pytest.mark.parametrize(("equity", "leverage"), [(-5 * ONE, ONE // 3), (-1, 1), (-7 * ONE - 1, 2 * ONE)])
def test_a_limit_of_an_equity_below_zero_is_rounded_down_too(equity: int, leverage: int) -> None:
    assert below(equity, leverage, ONE) == equity * leverage // ONE
