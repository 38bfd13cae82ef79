"""Money: which texts are money, and how it rounds."""

from decimal import Decimal, localcontext

import pytest

from engine import money
from engine.money import NotMoney, parse


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("0", "0.00000000"),
        ("-0", "0.00000000"),
        ("0.0", "0.00000000"),
        ("1", "1.00000000"),
        ("-1", "-1.00000000"),
        ("007", "7.00000000"),
        ("50000.25", "50000.25000000"),
        ("0.00000001", "0.00000001"),
        ("-0.00000001", "-0.00000001"),
        ("999999999999.99999999", "999999999999.99999999"),
        ("-999999999999.99999999", "-999999999999.99999999"),
    ],
)
def test_what_is_money(written, read):
    value = parse(written)
    assert money.text(value) == read
    assert value.as_tuple().exponent == -8


@pytest.mark.parametrize(
    "written",
    [
        "1000000000000",
        "0.000000001",
        "1.123456789",
        "1e5",
        "1E-8",
        "1e1000000",
        "1e999999999",
        ".5",
        "5.",
        ".",
        "-",
        "+1",
        "--1",
        "1_0",
        "1,5",
        "1.5.5",
        "0x10",
        "NaN",
        "nan",
        "sNaN",
        "Infinity",
        "-Infinity",
        "inf",
        "1e308",
        "true",
        "None",
        "١٢",
        "１",
        "1٫5",
        "½",
        "",
        " ",
        " 1",
        "1 ",
        "1\n",
        "\n1",
        "1\x00",
        "1\u200b",
        "9" * 5_000,
        "0." + "0" * 5_000,
    ],
)
def test_what_is_not(written):
    with pytest.raises(NotMoney, match="a decimal with at most 12 digits"):
        parse(written)


@pytest.mark.parametrize(
    ("value", "rounded"),
    [
        ("0.000000005", "0"),
        ("0.000000015", "0.00000002"),
        ("0.000000025", "0.00000002"),
        ("-0.000000005", "0"),
        ("-0.000000015", "-0.00000002"),
        ("0.0000000050000000000000000000000001", "0.00000001"),
        ("0.00000000499999999999999999999999", "0"),
        ("99999999999999999999.999999994", "99999999999999999999.99999999"),
    ],
)
def test_round8_is_half_even(value, rounded):
    assert money.round8(Decimal(value)) == Decimal(rounded)


@pytest.mark.parametrize(("value", "floored"), [("0.000000019", "0.00000001"), ("-0.000000019", "-0.00000001")])
def test_floor8_goes_towards_zero(value, floored):
    assert money.floor8(Decimal(value)) == Decimal(floored)


def test_the_callers_decimal_context_changes_no_product():
    with localcontext() as context:
        context.prec = 5
        assert money.notional(Decimal("123456.78901234"), Decimal("98765.43210987")) == Decimal("12193263113.70081084")


def test_text_has_no_exponent():
    assert money.text(Decimal("1E-8")) == "0.00000001"
    assert money.text(money.ZERO) == "0.00000000"
