"""The auditor's bookkeeping, on a ledger whose figures were worked out by hand."""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import pytest

from tests.support.audit_money import money


@dataclass(frozen=True)
class Page:
    seq: int
    type: str
    payload: Mapping[str, Any]


def _fill(name: str, intent: str, quantity: str, price: str, **figures: str) -> dict[str, Any]:
    place = {"symbol": "BTC-USD", "side": "long", "intent": intent}
    return {"fillId": name, **place, "quantity": quantity, "price": price, "quote": {"mid": price}, **figures}


def _ledger() -> list[Page]:
    """One at 100 and one at 120, one of the two taken off at 130 at their mean cost; then the first voided."""
    opening = {"startingBalance": "100000", "policy": {"feeBps": "10"}}
    rows: list[tuple[str, dict[str, Any]]] = [
        ("account_created", {"opening": opening}),
        ("fill_booked", _fill("f1", "open", "1", "100", notional="100", fee="0.1", cost="0", realizedPnl="0")),
        ("fill_booked", _fill("f2", "open", "1", "120", notional="120", fee="0.12", cost="0", realizedPnl="0")),
        ("fill_booked", _fill("f3", "reduce", "1", "130", notional="130", fee="0.13", cost="110", realizedPnl="20")),
        (
            "position_reduced",
            {
                "position": {
                    "symbol": "BTC-USD",
                    "side": "long",
                    "quantity": "1",
                    "entryNotional": "110",
                    "markNotional": "130",
                },
                "cash": "100019.65",
                "equity": "100039.65",
                "highWatermark": "100039.65",
            },
        ),
        (
            "mark_to_market",
            {
                "marks": [{"symbol": "BTC-USD", "side": "long", "price": "90", "unrealizedPnl": "-20"}],
                "cash": "100019.65",
                "equity": "99999.65",
                "unrealizedPnl": "-20",
                "highWatermark": "100039.65",
            },
        ),
        (
            "fill_voided",
            {
                "fillIds": ["f1"],
                "cash": "100009.75",
                "equity": "100009.75",
                "realizedPnl": "10",
                "feesPaid": "0.25",
                "highWatermark": "100009.75",
            },
        ),
    ]
    return [Page(seq, type_, payload) for seq, (type_, payload) in enumerate(rows, 1)]


def test_what_was_worked_out_by_hand_is_right() -> None:
    assert list(money(_ledger(), Decimal("100009.75"))) == []


NOT_COUNTED = {"quantity", "price"}  # what figures are made of
FIGURES = [
    (page.seq, name)
    for page in _ledger()[1:]
    for name, value in {**page.payload, **page.payload.get("position", {})}.items()
    if name not in NOT_COUNTED and isinstance(value, str) and value[-1].isdigit() and not value.startswith("f")
]


@pytest.mark.parametrize(("seq", "name"), FIGURES)
def test_one_unit_in_the_last_place_is_found(seq: int, name: str) -> None:
    ledger = _ledger()
    payload: dict[str, Any] = dict(ledger[seq - 1].payload)
    if name in payload:
        payload[name] = str(Decimal(payload[name]) + Decimal("1e-8"))
    else:
        stated = payload["position"][name]
        payload["position"] = payload["position"] | {name: str(Decimal(stated) + Decimal("1e-8"))}
    ledger[seq - 1] = Page(seq, ledger[seq - 1].type, payload)
    found = list(money(ledger, Decimal("100009.75")))
    assert any(f"event {seq} states {name}" in each for each in found)


@pytest.mark.parametrize("unrealized", ["-20.00000001", None])
def test_a_mark_that_values_a_position_otherwise_or_not_at_all_is_found(unrealized: str | None) -> None:
    ledger = _ledger()
    mark = ledger[5].payload["marks"][0]
    marks = [] if unrealized is None else [{**mark, "unrealizedPnl": unrealized}]
    ledger[5] = Page(6, "mark_to_market", {**ledger[5].payload, "marks": marks})
    assert any("what is held makes" in each for each in money(ledger, Decimal("100009.75")))


def test_a_fill_of_more_than_is_held_is_found() -> None:
    ledger = _ledger()[:4]
    ledger[3] = Page(4, "fill_booked", {**ledger[3].payload, "quantity": "3"})
    assert any("takes more" in each for each in money(ledger, Decimal(0)))
