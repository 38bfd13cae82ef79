"""The policy of an audition, and the ranges within which any policy can be computed with."""

from decimal import Decimal
from typing import Any

import msgspec
import pytest

from engine.canonical import plain
from engine.policy import Policy, QuoteMaxAge, faults
from tests.support.ledger_page import policy


def test_the_defaults_are_those_of_an_audition():
    assert plain(Policy()) == {
        "maxLeverage": "5.00000000",
        "maxNotional": "50000.00000000",
        "maxOpenPositions": 5,
        "maxOpenOrders": 10,
        "allowedDirections": ["long", "short"],
        "allowedAssets": None,
        "feeBps": "10.00000000",
        "slippageModel": "mid_price",
        "slippageBps": "0.00000000",
        "maxDrawdown": "0.50000000",
        "maxPositionEquityRatio": None,
        "allowHedging": True,
        "quoteMaxAgeMs": {"trade": 60_000, "mark": 120_000, "liquidate": 60_000},
        "maxDailyLoss": None,
        "trailingDrawdown": None,
        "profitTarget": None,
    }
    assert list(faults(Policy())) == []
    assert Policy().position_equity_ratio == 5


@pytest.mark.parametrize(
    ("name", "wire", "inside", "outside"),
    [
        ("max_leverage", "maxLeverage", ["1", "1000"], ["0.99999999", "0", "-1", "1000.00000001"]),
        ("max_notional", "maxNotional", ["0.00000001", "999999999999"], ["0", "-1"]),
        ("max_open_positions", "maxOpenPositions", [0, 1000], [-1, 1001]),
        ("max_open_orders", "maxOpenOrders", [0, 1000], [-1, 1001]),
        ("allowed_directions", "allowedDirections", [(), ("long",), ("short", "long")], [("long", "long")]),
        ("allowed_assets", "allowedAssets", [None, (), tuple(map(str, range(1000)))], [tuple(map(str, range(1001)))]),
        ("fee_bps", "feeBps", ["0", "10000"], ["-0.00000001", "10000.00000001"]),
        ("slippage_bps", "slippageBps", ["0", "4000"], ["-0.00000001", "4000.00000001"]),
        ("max_drawdown", "maxDrawdown", ["0.00000001", "1"], ["0", "-1", "1.00000001"]),
        ("max_position_equity_ratio", "maxPositionEquityRatio", [None, "0.00000001", "9999"], ["0", "-1"]),
    ],
)
def test_range(name, wire, inside: list[Any], outside: list[Any]):
    assert [list(faults(policy(**{name: value}))) for value in inside] == [[] for _ in inside]
    assert [[field for field, _ in faults(policy(**{name: value}))] for value in outside] == [[wire] for _ in outside]


@pytest.mark.parametrize("use", ["trade", "mark", "liquidate"])
@pytest.mark.parametrize(("age_ms", "holds"), [(0, False), (1, True), (604_800_000, True), (604_800_001, False)])
def test_range_of_ages(use, age_ms, holds):
    ages = msgspec.structs.replace(QuoteMaxAge(), **{use: age_ms})
    assert [field for field, _ in faults(Policy(quote_max_age_ms=ages))] == ([] if holds else [f"quoteMaxAgeMs/{use}"])
    assert ages.of(use) == age_ms


def test_every_fault_is_told():
    broken = policy(max_leverage=0, max_notional=0, fee_bps=-1)
    assert [field for field, _ in faults(broken)] == ["maxLeverage", "maxNotional", "feeBps"]
    assert all(must_be for _, must_be in faults(broken))


def test_the_ratio_is_the_maximum_leverage_unless_set():
    assert policy(max_leverage=7).position_equity_ratio == 7
    assert policy(max_leverage=7, max_position_equity_ratio="0.5").position_equity_ratio == Decimal("0.5")
