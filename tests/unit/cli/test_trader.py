"""The demo's trader: accounts under keys of their own, decisions that are sent again as they were."""

import json
from collections.abc import Mapping
from typing import Any

import pytest

from gateway.demo.strategies import Action, Sight
from gateway.demo.trader import Event, Standing, Trader
from prop import transport
from tests.support.replies import described
from tests.support.scripted import Answer, Scripted


class BuysOnce:
    name = "buys-once"
    policy: Mapping[str, Any] = {}

    def decide(self, sight: Sight) -> list[Action]:
        return [] if sight.held else [{"action": "open", "symbol": "IBM", "side": "long", "quantity": "1"}]

    def second_try(self, action: Action, max_quantity: Any) -> Action | None:
        return None


def account(number: int, status: str) -> dict[str, Any]:
    reason = "drawdown" if status == "liquidated" else None
    return dict(described("AccountView", id=f"account-{number}", status=status, endReason=reason))


def context(status: str) -> dict[str, Any]:
    balance = described("BalanceView", equity="40000.00000000", drawdown="0.60000000")
    snapshot = described("AgedSnapshot", account=account(2, status), balance=balance, positions=[])
    return dict(described("AgedDecisionContext", snapshot=snapshot, symbols=[]))


async def test_it_takes_the_account_that_is_still_open_and_sends_a_lost_decision_again_as_it_was(
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr(transport, "PAUSE_SECONDS_FIRST", 0.01)
    fill = described("FillView", symbol="IBM", quantity="1.00000000", price="100.00000000")
    taken = described("DecisionActions", results=[described("ActionResult", fill=fill)])

    def answers(path: str, times: int) -> Answer:
        match path.rpartition("/")[2]:
            case "accounts":
                return 200, account(times + 1, "liquidated" if times == 0 else "pending")
            case "start":
                return 200, account(2, "active")
            case "decision-context":
                return 200, context("active" if times == 0 else "liquidated")
            case _:
                return None if times == 0 else (200, taken)

    told: list[Event] = []

    class Ended(Exception):
        pass

    def tell(event: Event, standing: Standing) -> None:
        told.append(event)
        if event.kind == "liquidated":
            raise Ended

    gateway = Scripted(by=answers)
    async with gateway.client() as client:
        with pytest.raises(Ended):
            await Trader(BuysOnce(), client, seconds=0, tell=tell).run()

    opened = [json.loads(body)["idempotencyKey"] for _, path, body in gateway.asked if path.endswith("/accounts")]
    assert opened == ["demo-buys-once-1", "demo-buys-once-2"]
    first, second = (body for _, path, body in gateway.asked if path.endswith("decision-actions"))
    assert first == second
    assert [event.text for event in told] == [
        "started with 100,000 USDC",
        "fill long 1 IBM @ 100",
        "LIQUIDATED at equity 40,000.00, drawdown 60.0%",
    ]
