"""The contract, end to end: what is answered is durable, happens once, and is what the ledger says."""

import asyncio
from decimal import Decimal
from typing import Any

import pytest

from persistence.tokens import Tokens
from tests.e2e.gateway.conftest import gateway_on
from tests.e2e.gateway.door import Door
from tests.support.desk import Desk, desk

pytestmark = pytest.mark.postgres

ACCOUNTS = "/api/v1/prop/accounts"
ADMIN_ACCOUNTS = "/api/v1/admin/prop/accounts"


def opening(action_id: str = "a1", **fields: Any) -> dict[str, Any]:
    fields = {"quantity": "0.5"} | fields
    return {"decisionActionId": action_id, "action": "open", "symbol": "BTC-USD", "side": "long", **fields}


async def take(
    door: Door, account_id: str, *actions: dict[str, Any], run: str = "r", query: str = "", **more: Any
) -> Any:
    body = {"decisionRunId": run, "actions": list(actions)}
    heard = await door.post(f"{ACCOUNTS}/{account_id}/decision-actions{query}", body, **more)
    assert heard.status == 200, heard.body
    return heard.json


async def everything(door: Door, path: str, limit: int = 2) -> list[dict[str, Any]]:
    """All rows of a list, page by page."""
    rows: list[dict[str, Any]] = []
    cursor = ""
    while True:
        page = (await door.get(f"{path}{'&' if '?' in path else '?'}limit={limit}{cursor}")).json
        rows += page["data"]
        if not page["hasMore"]:
            return rows
        cursor = f"&cursor={page['nextCursor']}"


async def test_the_life_of_an_account(door: Door, engine: Desk):
    account_id = await door.opened(idempotencyKey="life", policy={"feeBps": "10"}, metadata={"note": 1})
    path = f"{ACCOUNTS}/{account_id}"
    taken = await take(
        door,
        account_id,
        opening(rationale="trend", confidence=0.9),
        {"decisionActionId": "a2", "action": "reduce", "symbol": "BTC-USD", "side": "long", "fraction": "0.5"},
        {"decisionActionId": "a3", "action": "close", "symbol": "ETH-USD", "side": "short"},
        {"decisionActionId": "a4", "action": "hold"},
        headers={"X-Request-Id": "batch-1"},
    )
    assert [result["status"] for result in taken["results"]] == ["executed", "executed", "rejected", "rejected"]
    assert [result["code"] for result in taken["results"]] == [None, None, "position_not_found", "unsupported_action"]
    assert taken["results"][0]["fill"]["fee"] == "25.00000000"

    snapshot = (await door.get(f"{path}/snapshot?minSeq={taken['accountSeq']}")).json
    assert snapshot["accountSeq"] == taken["accountSeq"]
    assert snapshot["balance"] == taken["balance"]
    assert snapshot["positions"][0]["quantity"] == "0.25000000"
    assert snapshot["counters"] == {"actions": 4, "executed": 2, "rejected": 2, "orders": 2, "fills": 2, "marks": 0}

    ledger = await everything(door, f"{path}/ledger", limit=3)
    assert [event["seq"] for event in ledger] == list(range(1, taken["accountSeq"] + 1))
    assert {event["requestId"] for event in ledger[2:]} == {"batch-1"}
    rejected = (await door.get(f"{path}/ledger?type=action_rejected&afterSeq=3")).json
    assert [event["type"] for event in rejected["data"]] == ["action_rejected"] * 2
    assert rejected["accountSeq"] == taken["accountSeq"]

    orders, fills = await everything(door, f"{path}/orders", 1), await everything(door, f"{path}/fills", 1)
    assert [order["propActionId"] for order in orders] == [r["propActionId"] for r in taken["results"][:2]]
    assert fills[1] == taken["results"][1]["fill"]
    context = (await door.get(f"{path}/decision-context")).json
    assert [each["result"]["decisionActionId"] for each in context["actions"]] == ["a4", "a3", "a2", "a1"]
    assert context["actions"][3]["action"]["confidence"] == "0.9"
    assert Decimal(context["symbols"][0]["capacity"][0]["maxQuantity"]) > 0
    stored = (await door.get(f"/api/v1/prop/decision-actions/{taken['results'][2]['propActionId']}")).json
    assert (stored["accountId"], stored["result"]) == (account_id, taken["results"][2])
    assert await everything(door, f"{path}/decision-actions", limit=3) == context["actions"]
    found = (await door.get(f"{path}/decision-actions?status=rejected&code=position_not_found")).json["data"]
    assert found == [stored]
    assert (await door.get(f"{path}/decision-actions?decisionActionId=never-sent")).json["data"] == []

    await engine.observe("BTC-USD", "51000")
    marked = (await door.post(f"{path}/mark-to-market")).json
    assert (marked["outcome"], marked["balance"]["unrealizedPnl"]) == ("marked", "250.00000000")
    ended = (await door.post(f"{path}/complete", {"settle": "close"})).json
    assert (ended["status"], ended["endReason"]) == ("completed", "completed")
    assert (await door.get(f"{path}/positions")).json["data"] == []
    closed = (await door.get(f"{path}/positions?status=closed")).json["data"]
    assert [position["status"] for position in closed] == ["closed"]
    assert (await door.get(path)).json == ended


async def test_what_is_sent_twenty_times_happens_once(door: Door, engine: Desk):
    account_id = await door.opened()
    async with gateway_on(engine) as other:
        sends = [take(gate, account_id, opening(), opening("a2")) for gate in (door, other) for _ in range(10)]
        answers = await asyncio.gather(*sends)
    fresh = [answer for answer in answers if not answer["results"][0].pop("replayed")]
    for answer in answers:
        answer["results"][1].pop("replayed")
    assert len(fresh) == 1
    assert all(answer["results"] == fresh[0]["results"] for answer in answers)
    assert len(await everything(door, f"{ACCOUNTS}/{account_id}/fills")) == 2


async def test_an_account_opened_twenty_times_is_one(door: Door):
    body = {"ownerId": "o", "cloneId": "c", "idempotencyKey": "same", "metadata": {"a": 1.50}}
    heard = await asyncio.gather(*(door.post(ACCOUNTS, body) for _ in range(20)))
    assert sorted(each.status for each in heard) == [200] * 19 + [201]
    assert len({each.json["id"] for each in heard}) == 1
    other = await door.post(ACCOUNTS, {**body, "raceId": "r"})
    assert (other.refusal, other.pointers) == ((422, "idempotency_key_reused"), {"/raceId": "differs"})
    assert len((await door.get(f"{ACCOUNTS}?ownerId=o")).json["data"]) == 1


async def test_answers_outlive_the_engine_that_gave_them(database_url: str):
    async with desk(database_url) as first, gateway_on(first) as door:
        await first.observe("BTC-USD", "50000")
        account_id = await door.opened()
        given = await take(door, account_id, opening(), opening("a2", symbol="NONE"))
    async with desk(database_url) as second, gateway_on(second) as door:
        await second.observe("BTC-USD", "60000")
        again = await take(door, account_id, opening(), opening("a2", symbol="NONE"))
        assert [result.pop("replayed") for result in again["results"]] == [True, True]
        assert [result | {"replayed": True} for result in given["results"]] == [
            result | {"replayed": True} for result in again["results"]
        ]
        body = {"decisionRunId": "r", "actions": [opening(quantity="0.4")]}
        heard = await door.post(f"{ACCOUNTS}/{account_id}/decision-actions", body)
        assert (heard.refusal, heard.pointers) == (
            (422, "decision_action_conflict"),
            {"/actions/0/quantity": "differs"},
        )


async def test_a_dry_run_leaves_no_trace(door: Door):
    account_id = await door.opened()
    dry = await take(door, account_id, opening(), query="?dryRun=true")
    assert (dry["dryRun"], dry["results"][0]["status"]) == (True, "executed")
    heard = await door.post(f"{ADMIN_ACCOUNTS}/{account_id}/lock?dryRun=true", {"reason": "look"})
    assert (heard.json["status"], heard.json["dryRun"]) == ("locked", True)
    assert (await door.get(f"{ACCOUNTS}/{account_id}")).json["accountSeq"] == 2
    real = await take(door, account_id, opening())
    assert real["results"][0]["replayed"] is False


async def test_operators_stop_and_release_an_account(door: Door):
    account_id = await door.opened()
    for verb, status in (("pause", "paused"), ("pause", "paused"), ("lock", "locked"), ("resume", "active")):
        heard = await door.post(f"{ADMIN_ACCOUNTS}/{account_id}/{verb}", {"reason": "inspection"})
        assert (heard.status, heard.json["status"]) == (200, status)
    assert (await door.post(f"{ADMIN_ACCOUNTS}/{account_id}/pause")).status == 415
    assert (await door.post(f"{ADMIN_ACCOUNTS}/{account_id}/pause", {})).pointers == {"/reason": "required"}
    heard = await door.post(f"{ADMIN_ACCOUNTS}/{account_id}/liquidate", {"reason": "done"})
    assert (heard.json["status"], heard.json["endReason"]) == ("liquidated", "done")


async def test_a_pass_marks_everybody_and_liquidates_who_fell(door: Door, engine: Desk):
    flat = await door.opened()
    fallen = await door.opened(policy={"maxLeverage": "5", "maxDrawdown": "0.1", "maxNotional": "400000"})
    await take(door, fallen, opening(quantity="4"))
    await engine.observe("BTC-USD", "40000")
    report = (await door.post("/api/v1/prop/mark-to-market-all")).json
    assert (report["accounts"], report["flat"], report["liquidated"]) == (2, 1, 1)
    assert (await door.get(f"{ACCOUNTS}/{fallen}")).json["status"] == "liquidated"
    assert (await door.get(f"{ACCOUNTS}?status=active")).json["data"][0]["id"] == flat


async def test_a_missing_price_changes_nothing(door: Door, engine: Desk):
    account_id = await door.opened()
    await take(door, account_id, opening())
    await engine.observe("BTC-USD", None)
    before = (await door.get(f"{ACCOUNTS}/{account_id}")).json
    heard = await door.post(f"{ACCOUNTS}/{account_id}/complete")
    assert heard.refusal == (409, "price_missing")
    assert (await door.get(f"{ACCOUNTS}/{account_id}")).json == before
    prices = (await door.get("/api/v1/prop/prices")).json["data"]
    assert [(row["symbol"], row["mid"], row["fresh"]) for row in prices] == [("BTC-USD", None, False)]


async def test_a_cursor_does_not_open_another_account(door: Door):
    mine, other = await door.opened(), await door.opened()
    cursor = (await door.get(f"{ACCOUNTS}/{mine}/ledger?limit=1")).json["nextCursor"]
    assert (await door.get(f"{ACCOUNTS}/{mine}/ledger?cursor={cursor}")).json["data"][0]["seq"] == 2
    for path in (f"{other}/ledger?", f"{mine}/orders?", f"{mine}/ledger?type=fill_booked&"):
        heard = await door.get(f"{ACCOUNTS}/{path}cursor={cursor}")
        assert heard.refusal == (422, "invalid_cursor")


async def test_a_token_works_once_made_and_not_once_revoked(door: Door, engine: Desk):
    tokens = Tokens(engine.writing)
    text, row = await tokens.create("reader", ["prop:read"])
    assert (await door.get(ACCOUNTS, token=text)).status == 200
    assert (await door.post(ACCOUNTS, {"ownerId": "o", "cloneId": "c"}, token=text)).refusal == (403, "forbidden")
    assert await tokens.revoke(row.id)
    await asyncio.sleep(1.1)
    await door.get(ACCOUNTS, token=text)  # has the list read again, behind this request
    await asyncio.sleep(0.1)
    assert (await door.get(ACCOUNTS, token=text)).refusal == (401, "unauthenticated")


async def test_lists_filter_and_hold_every_account_once(door: Door):
    ids = [await door.opened(started=False, cloneId=f"c{place % 2}", raceId="race") for place in range(5)]
    assert [row["id"] for row in await everything(door, f"{ACCOUNTS}?raceId=race")] == ids
    assert [row["id"] for row in await everything(door, "/api/v1/prop/clones/c1/accounts")] == ids[1::2]
    assert (await door.get(f"{ACCOUNTS}?mode=race")).json == {"data": [], "hasMore": False, "nextCursor": None}


async def test_hostile_text_is_stored_as_text(door: Door):
    account_id = await door.opened()
    text = "Robert'); drop table prop_accounts;-- \u202e 😀 %s \\ \u0007"
    word = "'; drop table prop_fills;--"
    hostile = {"decisionActionId": "a1", "action": word, "rationale": text, "confidence": "1e5"}
    taken = await take(door, account_id, hostile)
    stored = (await door.get(f"/api/v1/prop/decision-actions/{taken['results'][0]['propActionId']}")).json
    assert (stored["action"]["action"], stored["action"]["rationale"]) == (word, text)
