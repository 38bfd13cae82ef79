"""The auditor's look at prices: each way in which a fill or a mark can stand on a wrong one is found, and no other."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from tests.support.audit_prices import QuoteKey, prices

NOW = datetime(2026, 1, 5, 12, tzinfo=UTC)
AGES_MS = {"trade": 2_000, "mark": 3_000, "liquidate": 1_000}
BID, ASK = Decimal(99), Decimal(103)


@dataclass(frozen=True)
class Page:
    seq: int
    type: str
    at: datetime
    payload: Mapping[str, Any]


def _ledger(
    *,
    model: str = "mid_price",
    side: str = "long",
    intent: str = "open",
    price: str = "101",
    age_s: float = 0.0,
    mark_age_s: float = 0.0,
) -> list[Page]:
    """A fill at a quote that was so old, and a mark of it a second later."""
    policy = {"slippageModel": model, "slippageBps": "100", "quoteMaxAgeMs": AGES_MS}
    observed_at, marked_at = NOW - timedelta(seconds=age_s), NOW + timedelta(seconds=1 - mark_age_s)
    quote = {"symbol": "X", "bid": "99", "ask": "103", "mid": "101", "observedAt": observed_at.isoformat()}
    fill = {"symbol": "X", "side": side, "intent": intent, "price": price, "quote": quote}
    mark = {"symbol": "X", "side": side, "price": "101", "observedAt": marked_at.isoformat()}
    return [
        Page(1, "account_created", NOW - timedelta(hours=1), {"opening": {"policy": policy}}),
        Page(2, "order_validated", NOW, {"quoteAgeMs": int(age_s * 1000)}),
        Page(3, "fill_booked", NOW, fill),
        Page(4, "position_opened", NOW, {}),
        Page(5, "mark_to_market", NOW + timedelta(seconds=1), {"marks": [mark]}),
    ]


def _recorded(ledger: list[Page]) -> set[QuoteKey]:
    times = ledger[2].payload["quote"]["observedAt"], ledger[4].payload["marks"][0]["observedAt"]
    return {("X", BID, ASK, datetime.fromisoformat(at)) for at in times}


def _found(ledger: list[Page]) -> list[str]:
    return list(prices(ledger, _recorded(ledger)))


@pytest.mark.parametrize(
    ("model", "side", "intent", "price"),
    [
        ("mid_price", "long", "open", "101"),
        ("mid_price", "short", "liquidate", "101"),
        ("spread", "long", "open", "103"),
        ("spread", "short", "open", "99"),
        ("spread", "long", "close", "99"),
        ("spread", "short", "reduce", "103"),
        ("fixed_bps", "long", "open", "102.01"),
        ("fixed_bps", "short", "open", "99.99"),
        ("fixed_bps", "long", "liquidate", "99.99"),
    ],
)
def test_each_slippage_model_has_its_price_and_no_other(model: str, side: str, intent: str, price: str) -> None:
    assert _found(_ledger(model=model, side=side, intent=intent, price=price)) == []
    off = str(Decimal(price) + Decimal("1e-8"))
    assert [
        f"was filled at {off}" in each for each in _found(_ledger(model=model, side=side, intent=intent, price=off))
    ]


@pytest.mark.parametrize(
    ("intent", "age_s", "is_sound"),
    [
        ("open", 2.0, True),
        ("open", 2.001, False),
        ("liquidate", 1.0, True),
        ("liquidate", 1.001, False),
        ("close", -5.0, True),
        ("close", -5.001, False),
    ],
)
def test_a_fill_needs_a_quote_of_its_age(intent: str, age_s: float, is_sound: bool) -> None:
    found = _found(_ledger(intent=intent, age_s=age_s))
    assert found == [] if is_sound else "was filled at a quote of" in found[0]


def test_where_the_ledger_stands_still_the_order_says_how_old_its_quote_was() -> None:
    ledger = _ledger(age_s=60.0)
    ledger[0] = replace(ledger[0], at=NOW)
    assert len(_found(ledger)) == 1
    ledger[1] = replace(ledger[1], payload={"quoteAgeMs": 1_500})
    assert _found(ledger) == []


@pytest.mark.parametrize(("age_s", "is_sound"), [(3.0, True), (3.001, False), (-5.0, True), (-5.001, False)])
def test_a_mark_needs_a_quote_of_its_age(age_s: float, is_sound: bool) -> None:
    found = _found(_ledger(mark_age_s=age_s))
    assert found == [] if is_sound else "marks at a quote of" in found[0]


@pytest.mark.parametrize("figure", ["bid", "ask", "mid", "symbol"])
def test_a_quote_of_which_anything_is_invented_was_not_recorded(figure: str) -> None:
    ledger = _ledger()
    quote = {**ledger[2].payload["quote"], figure: "101.00000001"}
    invented = [*ledger[:2], replace(ledger[2], payload={**ledger[2].payload, "quote": quote})]
    assert any("nobody recorded" in each for each in prices(invented, _recorded(ledger)))


def test_a_mark_at_a_price_that_was_not_recorded_is_found() -> None:
    ledger = _ledger()
    mark = {**ledger[4].payload["marks"][0], "price": "101.00000001"}
    invented = [*ledger[:4], replace(ledger[4], payload={"marks": [mark]})]
    assert any("which is no quote of" in each for each in prices(invented, _recorded(ledger)))
