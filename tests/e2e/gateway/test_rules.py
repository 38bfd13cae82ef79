"""Prop rules over HTTP on a real Postgres: accounts that break one or reach one, and books that hold afterwards."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import pytest

from persistence.reconcile import verify
from tests.e2e.gateway.conftest import gateway_on
from tests.e2e.gateway.door import Door
from tests.support.desk import Desk, desk

pytestmark = pytest.mark.postgres

ACCOUNTS = "/api/v1/prop/accounts"
DOCUMENT = Path(__file__).parents[3] / "docs" / "prop-rules.md"
POLICY = {"feeBps": "0", "maxNotional": "100000"}


async def bought(door: Door, **rules: Any) -> str:
    """An account of 100,000 that holds one bitcoin, bought at 50,000."""
    account_id = await door.opened(policy={**POLICY, **rules})
    action = {"decisionActionId": "a1", "action": "open", "symbol": "BTC-USD", "side": "long", "quantity": "1"}
    heard = await door.post(f"{ACCOUNTS}/{account_id}/decision-actions", {"decisionRunId": "r", "actions": [action]})
    assert heard.json["results"][0]["status"] == "executed", heard.body
    return account_id


async def marked(door: Door, account_id: str) -> str:
    heard = await door.post(f"{ACCOUNTS}/{account_id}/mark-to-market")
    assert heard.status == 200, heard.body
    return str(heard.json["outcome"])


async def told(door: Door, account_id: str, *types: str) -> list[dict[str, Any]]:
    """Payloads of the account's events of these types."""
    rows = (await door.get(f"{ACCOUNTS}/{account_id}/ledger?limit=1000")).json["data"]
    return [row["payload"] for row in rows if row["type"] in types]


async def is_clean(door: Door, database_url: str) -> bool:
    """Tables, snapshots and live accounts are what their ledgers make."""

    async def live(account_id: str) -> tuple[int, Mapping[str, Any]] | None:
        shown = (await door.get(f"{ACCOUNTS}/{account_id}/snapshot")).json
        return shown["accountSeq"], shown

    report = await verify(database_url, live=live)
    assert report.drift == ()
    return report.is_clean and report.live_checked == report.accounts > 0


async def test_a_daily_loss_warns_then_liquidates(door: Door, engine: Desk, database_url: str):
    account_id = await bought(door, maxDailyLoss={"fraction": "0.05"})
    await engine.observe("BTC-USD", "46000")
    assert await marked(door, account_id) == "marked"
    shown = (await door.get(f"{ACCOUNTS}/{account_id}/decision-context")).json
    assert shown["rules"] == shown["snapshot"]["rules"]
    assert shown["rules"]["floors"] == [
        {
            "rule": "max_daily_loss",
            "anchor": "100000.00000000",
            "floor": "95000.00000000",
            "distance": "1000.00000000",
            "distancePerCent": "1.04166667",
            "warnsAt": "96000.00000000",
            "warned": True,
        }
    ]
    assert await marked(door, account_id) == "marked"
    assert len(await told(door, account_id, "rule_warning")) == 1
    await engine.observe("BTC-USD", "45000")
    assert await marked(door, account_id) == "liquidated"
    ended = (await door.get(f"{ACCOUNTS}/{account_id}")).json
    assert (ended["status"], ended["endReason"]) == ("liquidated", "max_daily_loss")
    (triggered,) = await told(door, account_id, "liquidation_triggered")
    assert (triggered["trigger"], triggered["broken"]["floor"]) == ("max_daily_loss", "95000.00000000")
    assert await is_clean(door, database_url)


async def test_a_target_completes_in_a_pass_over_all(door: Door, engine: Desk, database_url: str):
    passing = await bought(door, profitTarget={"amount": 10_000, "minTradingDays": 1})
    waiting = await bought(door, profitTarget={"amount": 10_000, "minTradingDays": 2})
    plain = await bought(door)
    await engine.observe("BTC-USD", "60000")
    report = (await door.post("/api/v1/prop/mark-to-market-all")).json
    assert (report["accounts"], report["marked"]) == (3, 3)
    ended = (await door.get(f"{ACCOUNTS}/{passing}")).json
    assert (ended["status"], ended["endReason"]) == ("completed", "profit_target")
    shown = (await door.get(f"{ACCOUNTS}/{passing}/snapshot")).json
    assert (shown["balance"]["cash"], shown["positions"]) == ("110000.00000000", [])
    goal = (await door.get(f"{ACCOUNTS}/{waiting}/snapshot")).json["rules"]["goal"]
    assert (goal["distance"], goal["tradingDays"], goal["minTradingDays"]) == ("0.00000000", 1, 2)
    assert (await door.get(f"{ACCOUNTS}/{waiting}")).json["status"] == "active"
    shown = (await door.get(f"{ACCOUNTS}/{plain}/snapshot")).json
    assert shown["rules"] == {"day": None, "floors": [], "goal": None}
    assert shown["account"]["policy"]["profitTarget"] is None
    assert await is_clean(door, database_url)


async def test_what_a_rule_remembers_outlives_the_engine(database_url: str):
    async with desk(database_url) as first, gateway_on(first) as door:
        await first.observe("BTC-USD", "50000")
        account_id = await bought(door, trailingDrawdown={"amount": "10000", "mode": "intraday_equity"})
        for price in ("58000", "50000"):
            await first.observe("BTC-USD", price)
            assert await marked(door, account_id) == "marked"
        before = (await door.get(f"{ACCOUNTS}/{account_id}/snapshot")).json["rules"]
        assert (before["floors"][0]["floor"], before["floors"][0]["warned"]) == ("98000.00000000", True)
    async with desk(database_url) as second, gateway_on(second) as door:
        assert (await door.get(f"{ACCOUNTS}/{account_id}/snapshot")).json["rules"] == before
        assert await marked(door, account_id) == "marked"
        assert len(await told(door, account_id, "rule_warning")) == 1
        assert await is_clean(door, database_url)


async def test_the_example_of_the_documentation_is_a_policy(door: Door):
    examples = re.findall(r"```json\n(.*?)```", DOCUMENT.read_text(), re.DOTALL)
    assert examples
    for example in examples:
        policy = msgspec.json.decode(example)
        heard = await door.post(ACCOUNTS, {"ownerId": "o", "cloneId": "c", "policy": policy})
        assert heard.status == 201, heard.body
        for rule, fields in policy.items():
            assert heard.json["policy"][rule].keys() == fields.keys() | {"amount"}


async def test_a_rule_with_two_sizes_is_pointed_at(door: Door):
    policy = {"maxDailyLoss": {"fraction": "0.05", "amount": "5000"}, "trailingDrawdown": {"amount": "1"}}
    heard = await door.post(ACCOUNTS, {"ownerId": "o", "cloneId": "c", "policy": policy})
    assert heard.refusal == (422, "invalid_request")
    assert heard.pointers == {
        "/policy/maxDailyLoss/amount": "not_allowed",
        "/policy/trailingDrawdown/mode": "required",
    }
