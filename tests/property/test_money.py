"""The money functions against exact fractions, over everything that a table can hold."""

from decimal import Decimal
from fractions import Fraction

from hypothesis import example, given
from hypothesis import strategies as st

from engine import money
from tests.property.auditor import GRID, below, nearest


def on_grid(low: int, high: int) -> st.SearchStrategy[Decimal]:
    """Figures of 8 decimals, from low to high units of the last."""
    return st.integers(low, high).map(lambda units: Decimal(units).scaleb(-8))


STORED = on_grid(0, 10**28 - 1)
POSITIVE = on_grid(1, 10**28 - 1)
SIGNED = on_grid(-(10**28) + 1, 10**28 - 1)
PRICES = on_grid(1, 10**20 - 1)
BPS = on_grid(0, 10_000 * 10**8)


def same(value: Decimal, wanted: Fraction) -> bool:
    """Equal, and at scale 8."""
    return Fraction(value) == wanted and value.as_tuple().exponent == -8


@given(value=st.decimals(allow_nan=False, allow_infinity=False, places=20, min_value=-(10**19), max_value=10**19))
def test_rounding(value):
    assert same(money.round8(value), nearest(Fraction(value)))
    towards_zero = below(abs(Fraction(value)))
    assert same(money.floor8(value), towards_zero if value > 0 else -towards_zero)


@given(units=st.integers(0, 10**27), away=st.sampled_from([-1, 0, 1]))
def test_ties_go_to_even(units, away):
    tie = Decimal(2 * units + 1).scaleb(-8) / 2 if units < 10**19 else Decimal(5).scaleb(-9)
    value = money.EXACT.add(tie, Decimal(away).scaleb(-40))
    assert Fraction(money.round8(value)) == nearest(Fraction(value))


@given(quantity=STORED, price=PRICES)
def test_notional(quantity, price):
    assert same(money.notional(quantity, price), nearest(Fraction(quantity) * Fraction(price)))


@given(notional=STORED, bps=BPS)
def test_fee(notional, bps):
    assert same(money.fee(notional, bps), nearest(Fraction(notional) * Fraction(bps) / 10_000))


@given(amount=STORED, whole=POSITIVE, share=st.fractions(0, 1))
@example(amount=Decimal("0.00000001"), whole=Decimal("0.00000002"), share=Fraction(1, 2))
@example(amount=Decimal("0.00000003"), whole=Decimal("0.00000002"), share=Fraction(1, 2))
def test_portion(amount, whole, share):
    units = Fraction(whole) * share * GRID
    part = Decimal(units.numerator // units.denominator).scaleb(-8)
    exact = Fraction(amount) * Fraction(part) / Fraction(whole)
    assert same(money.portion(amount, part, whole), nearest(exact))
    assert 0 <= money.portion(amount, part, whole) <= amount


@given(numerator=SIGNED, denominator=POSITIVE)
def test_ratio(numerator, denominator):
    assert same(money.ratio(numerator, denominator), nearest(Fraction(numerator) / Fraction(denominator)))


@given(notional=on_grid(0, 10**20 - 1), price=PRICES)
def test_quantity_for_never_costs_more_than_was_offered(notional, price):
    quantity = money.quantity_for(notional, price)
    assert same(quantity, below(Fraction(notional) / Fraction(price)))
    assert money.notional(quantity, price) <= notional


@given(quantity=STORED, fraction=on_grid(0, 10**8))
def test_fraction_of(quantity, fraction):
    assert same(money.fraction_of(quantity, fraction), below(Fraction(quantity) * Fraction(fraction)))
    assert money.fraction_of(quantity, Decimal("1.00000000")) == quantity


@given(price=PRICES, bps=on_grid(0, 4_000 * 10**8), direction=st.sampled_from([1, -1]))
def test_slipped_is_against_the_taker_and_stays_a_price(price, bps, direction):
    slipped = money.slipped(price, bps, direction)
    assert same(slipped, nearest(Fraction(price) * (1 + direction * Fraction(bps) / 10_000)))
    assert slipped > 0
    assert (slipped - price) * direction >= 0


@given(bid=PRICES, gap=STORED)
def test_midpoint_lies_between(bid, gap):
    ask = min(money.EXACT.add(bid, gap), Decimal(10) ** 12 - money.UNIT)
    middle = money.midpoint(bid, ask)
    assert same(middle, nearest((Fraction(bid) + Fraction(ask)) / 2))
    assert bid <= middle <= ask


@given(amount=SIGNED, factor=POSITIVE)
def test_products_and_sums_for_comparing_are_exact(amount, factor):
    assert Fraction(money.times(amount, factor)) == Fraction(amount) * Fraction(factor)
    assert Fraction(money.plus(amount, factor)) == Fraction(amount) + Fraction(factor)


@given(value=on_grid(-(10**20) + 1, 10**20 - 1))
def test_text_and_parse_are_inverse(value):
    assert money.parse(money.text(value)) == value


@given(written=st.text(alphabet="0123456789.-+eE_ naif\u0661\uff11", max_size=24))
def test_a_text_is_money_or_refused(written):
    try:
        value = money.parse(written)
    except money.NotMoney:
        return
    assert value.is_finite()
    assert abs(value) < money.INPUT_MAGNITUDE
    assert Fraction(value) == Fraction(written)
    assert value.as_tuple().exponent == -8
