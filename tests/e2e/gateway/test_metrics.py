"""What an operator reads in `/metrics` of an engine that trades."""

import asyncio
from collections.abc import Callable

from prometheus_client.parser import text_string_to_metric_families

from tests.e2e.gateway.door import Door
from tests.support.desk import Desk

ACTIONS = "/api/v1/prop/accounts/{}/decision-actions"


async def told(door: Door) -> dict[str, float]:
    """Every series, by name and label values; the node of a desk has no name."""
    text = (await door.get("/metrics", token=None)).body.decode()
    return {
        " ".join(filter(None, [sample.name, *sample.labels.values()])): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


async def eventually(door: Door, holds: Callable[[dict[str, float]], bool]) -> dict[str, float]:
    """The figures once hosts have told them, with a pulse, and the gateway's are no longer the kept ones."""
    async with asyncio.timeout(10):
        while not holds(found := await told(door)):
            await asyncio.sleep(0.2)
    return found


async def test_actions_commits_and_accounts_are_told(engine: Desk, door: Door) -> None:
    account_id = await door.opened()
    buy = {"decisionActionId": "a", "action": "open", "symbol": "BTC-USD", "side": "long", "quantity": "0.1"}
    batch = {"decisionRunId": "r", "actions": [buy, buy | {"decisionActionId": "b", "symbol": "NONE"}]}
    for _ in range(2):
        assert (await door.post(ACTIONS.format(account_id), batch)).status == 200
    found = await eventually(door, lambda each: each.get("prop_actions_total replayed") == 2)
    assert found["prop_actions_total executed"] == found["prop_actions_total rejected"] == 1
    assert found["prop_rejections_total price_missing"] == 1
    assert found["prop_fills_total"] == found["prop_ledger_events_total fill_booked"] == 1
    assert found["prop_acknowledgement_seconds_count"] == 2
    assert found["prop_acknowledgement_seconds_bucket +Inf"] == 2
    assert found["prop_hosted_accounts"] == found["prop_accounts active"] == 1
    assert found["prop_commit_seconds_count persister-0"] == found["prop_commit_events_count persister-0"] >= 2
    assert found["prop_appends_total persister-0 committed"] >= 2
    assert found["prop_commit_queue_events persister-0"] == found["prop_undurable_seconds"] == 0
    assert (found["prop_recovered"], found["prop_recovery_backlog_accounts"]) == (1, 0)
    assert found["prop_quote_age_seconds BTC-USD"] < 60
    assert found["prop_up supervisor"] == found["prop_up postgres"] == found["prop_up persister-0"] == 1


async def test_a_pass_and_a_liquidation_are_told(engine: Desk, door: Door) -> None:
    account_id = await door.opened()
    buy = {"decisionActionId": "a", "action": "open", "symbol": "BTC-USD", "side": "long", "notional": "50000"}
    for key in "abcd":
        await door.post(ACTIONS.format(account_id), {"decisionRunId": key, "actions": [buy]})
    await engine.observe("BTC-USD", "30000")
    report = await engine.client.mark_all(request_id="r")
    assert report.liquidated == 1
    found = await eventually(door, lambda each: each.get("prop_liquidations_total") == 1)
    assert found["prop_marks_total liquidated"] == found["prop_marking_last_accounts liquidated"] == 1
    assert found["prop_marking_pass_seconds_count"] == 1
    assert found["prop_marking_lag_seconds"] < 30
