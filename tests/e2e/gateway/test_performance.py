"""How accounts did, over HTTP on a real Postgres: curves, frozen results, standings."""

import asyncio
from decimal import Decimal
from typing import Any

import psycopg
import pytest

from persistence import reconcile
from tests.e2e.gateway.door import Door
from tests.support.desk import Desk

pytestmark = pytest.mark.postgres

ACCOUNTS = "/api/v1/prop/accounts"
NOBODY = "01900000-0000-7000-8000-000000000000"


async def act(door: Door, account_id: str, key: str, **action: Any) -> Any:
    asked = {"decisionActionId": key, "action": "open", "symbol": "BTC-USD", "side": "long"} | action
    body = {"decisionRunId": "r", "actions": [asked]}
    heard = await door.post(f"{ACCOUNTS}/{account_id}/decision-actions", body)
    assert heard.json["results"][0]["status"] == "executed", heard.body
    return heard.json


async def mark_all(door: Door) -> str:
    return str((await door.post("/api/v1/prop/mark-to-market-all")).json["passId"])


async def test_the_curve_begins_at_the_creation_and_shows_fills_and_marks(door: Door, engine: Desk):
    account_id = await door.opened(policy={"feeBps": "10"})
    path = f"{ACCOUNTS}/{account_id}/equity"
    await act(door, account_id, "a1", quantity="1")
    await engine.observe("BTC-USD", "51000")
    await mark_all(door)
    heard = await door.get(path)
    curve = heard.json
    assert [(each["accountSeq"], each["equity"]) for each in curve["points"]] == [
        (1, "100000.00000000"),
        (5, "99950.00000000"),
        (6, "100950.00000000"),
    ]
    assert curve["points"][2] == {
        "at": curve["points"][2]["at"],
        "accountSeq": 6,
        "equity": "100950.00000000",
        "cash": "99950.00000000",
        "unrealizedPnl": "1000.00000000",
        "highWatermark": "100950.00000000",
    }
    assert (curve["accountId"], curve["accountSeq"], curve["total"], heard.headers["ETag"]) == (account_id, 6, 3, '"6"')
    assert (await door.get(path, headers={"If-None-Match": '"6"'})).status == 304
    marked_at = curve["points"][2]["at"]
    assert [each["accountSeq"] for each in (await door.get(f"{path}?from={marked_at}")).json["points"]] == [6]
    assert [each["accountSeq"] for each in (await door.get(f"{path}?to={marked_at}")).json["points"]] == [1, 5, 6]
    created_at = curve["points"][0]["at"]
    assert [each["accountSeq"] for each in (await door.get(f"{path}?to={created_at}")).json["points"]] == [1]
    assert (await door.get(f"{path}?from=2200-01-01T00:00:00Z")).json["points"] == []
    assert (await door.get(f"{path}?minSeq=7")).refusal == (503, "not_yet_durable")


async def test_a_long_curve_is_thinned_and_keeps_its_ends_and_extremes(door: Door, engine: Desk):
    account_id = await door.opened(policy={"feeBps": "0"})
    await act(door, account_id, "a1", quantity="1")
    for place in range(30):
        await engine.observe("BTC-USD", str(50_000 + (place * 7_919) % 1_000))
        await door.post(f"{ACCOUNTS}/{account_id}/mark-to-market")
    path = f"{ACCOUNTS}/{account_id}/equity"
    whole = (await door.get(path)).json["points"]
    curve = (await door.get(f"{path}?points=8")).json
    assert (len(whole), curve["total"]) == (32, 32)
    assert len(curve["points"]) <= 8
    assert (curve["points"][0], curve["points"][-1]) == (whole[0], whole[-1])
    for extreme in (min, max):
        assert extreme(Decimal(each["equity"]) for each in curve["points"]) == extreme(
            Decimal(each["equity"]) for each in whole
        )
    assert all(point in whole for point in curve["points"])


async def test_bad_questions_are_pointed_at(door: Door):
    path = f"{ACCOUNTS}/{await door.opened()}/equity"
    for query, pointer in (
        ("points=1", "points"),
        ("points=2001", "points"),
        ("from=yesterday", "from"),
        ("to=2026-13-01T00:00:00Z", "to"),
        ("to=2026-01-01T00:00:00%2B01:00", "to"),
        ("until=x", "until"),
    ):
        assert f"/query/{pointer}" in (await door.get(f"{path}?{query}")).pointers, query
    assert (await door.get("/api/v1/prop/races/a%20b/standings")).pointers == {"/path/raceId": "invalid_format"}
    assert (await door.get("/api/v1/prop/races/r/standings?cursor=x")).pointers == {"/query/cursor": "unknown_field"}
    for view in ("equity", "result"):
        assert (await door.get(f"{ACCOUNTS}/{NOBODY}/{view}")).refusal == (404, "account_not_found")


async def test_a_result_is_frozen_in_the_commit_that_ends_the_account(door: Door, engine: Desk):
    account_id = await door.opened(policy={"feeBps": "10"})
    path = f"{ACCOUNTS}/{account_id}/result"
    assert (await door.get(path)).refusal == (409, "account_not_terminal")
    await act(door, account_id, "a1", quantity="1")
    await engine.observe("BTC-USD", "51000")
    ended = (await door.post(f"{ACCOUNTS}/{account_id}/complete")).json
    heard = await door.get(path)
    result = heard.json
    last = (await door.get(f"{ACCOUNTS}/{account_id}/ledger?afterSeq={ended['accountSeq'] - 1}")).json["data"][0]
    assert (result["accountSeq"], result["headHash"]) == (ended["accountSeq"], last["hash"])
    assert heard.headers["ETag"] == f'"{ended["accountSeq"]}"'
    assert (result["status"], result["endedAt"], result["endReason"]) == ("completed", ended["endedAt"], "completed")
    assert result["balance"] == (await door.get(f"{ACCOUNTS}/{account_id}/snapshot")).json["balance"]
    assert result["statistics"] | {"exposure": None, "maxDrawdown": None} == {
        "totalReturn": "0.00899000",
        "maxDrawdown": None,
        "sharpe": None,
        "sortino": None,
        "winRate": "1.00000000",
        "profitFactor": None,
        "turnover": "1.01000000",
        "feeDrag": "0.00101000",
        "exposure": None,
        "trades": 1,
        "days": result["statistics"]["days"],
    }
    report = await reconcile.verify(engine.url)
    assert report.drift == ()


async def test_a_pass_that_liquidates_freezes_a_result_too(door: Door, engine: Desk):
    account_id = await door.opened(policy={"maxDrawdown": "0.1", "maxNotional": "400000"})
    await act(door, account_id, "a1", quantity="4")
    await engine.observe("BTC-USD", "40000")
    await mark_all(door)
    result = (await door.get(f"{ACCOUNTS}/{account_id}/result")).json
    assert (result["status"], result["statistics"]["trades"], result["statistics"]["winRate"]) == (
        "liquidated",
        1,
        "0.00000000",
    )
    assert Decimal(result["statistics"]["maxDrawdown"]) > Decimal("0.4")
    assert (await reconcile.verify(engine.url)).drift == ()


async def test_a_race_is_ranked_on_one_pass(door: Door, engine: Desk):
    race = {"raceId": "race-1", "mode": "race", "policy": {"feeBps": "0"}}
    bull, bear, flat, waiting = [await door.opened(started=place < 3, **race) for place in range(4)]
    await door.opened(raceId="race-2")
    path = "/api/v1/prop/races/race-1/standings"
    before = (await door.get(path)).json
    assert (before["passId"], [each["accountId"] for each in before["data"]]) == (None, [bull, bear, flat, waiting])
    await act(door, bull, "a1", quantity="1")
    await act(door, bear, "a1", quantity="1", side="short")
    await engine.observe("BTC-USD", "50100")
    pass_id = await mark_all(door)
    await engine.observe("BTC-USD", "49000")
    await act(door, bull, "a2", quantity="0.01")  # revalued by its own fill, but not in a pass
    standings = (await door.get(path)).json
    assert (standings["raceId"], standings["passId"], standings["accounts"]) == ("race-1", pass_id, 4)
    assert [(each["accountId"], each["equity"], each["basis"], each["rank"]) for each in standings["data"]] == [
        (bull, "100100.00000000", "pass", 1),
        (flat, "100000.00000000", "flat", 2),
        (waiting, "100000.00000000", "pending", 3),
        (bear, "99900.00000000", "pass", 4),
    ]
    assert [each["rank"] for each in (await door.get(f"{path}?limit=2")).json["data"]] == [1, 2]
    assert (await door.get(f"{path}?limit=2")).json["hasMore"] is True
    pass_id = await mark_all(door)
    await door.post(f"{ACCOUNTS}/{bear}/complete")
    standings = (await door.get(path)).json
    assert (standings["passId"], standings["data"][0]["accountId"], standings["data"][0]["basis"]) == (
        pass_id,
        bear,
        "final",
    )
    assert (await door.get("/api/v1/prop/races/none/standings")).json["data"] == []


async def test_who_opened_after_the_pass_stands_where_the_pass_found_it(door: Door, engine: Desk):
    first, second = [await door.opened(raceId="race-1", policy={"feeBps": "10"}) for _ in range(2)]
    await act(door, first, "a1", quantity="0.1")
    pass_id = await mark_all(door)
    await act(door, second, "a1", quantity="1")
    standings = (await door.get("/api/v1/prop/races/race-1/standings")).json
    assert standings["passId"] == pass_id
    assert {each["accountId"]: (each["equity"], each["basis"]) for each in standings["data"]} == {
        first: ("99995.00000000", "pass"),
        second: ("100000.00000000", "flat"),
    }


async def test_positions_show_the_age_of_their_mark(door: Door):
    account_id = await door.opened()
    await act(door, account_id, "a1", quantity="0.1")
    await asyncio.sleep(0.05)
    path = f"{ACCOUNTS}/{account_id}/positions"
    assert 50 <= (await door.get(path)).json["data"][0]["markAgeMs"] < 60_000
    await act(door, account_id, "a2", action="close")
    assert (await door.get(f"{path}?status=closed")).json["data"][0]["markAgeMs"] is None


@pytest.mark.parametrize("view", ["", "/snapshot", "/equity", "/result"])
async def test_single_resources_wait_for_a_seq_and_know_what_the_reader_has(door: Door, view: str):
    account_id = await door.opened()
    path = f"{ACCOUNTS}/{account_id}{view}"
    waiting = asyncio.create_task(door.get(f"{path}?minSeq=3&waitMs=5000"))
    await asyncio.sleep(0.05)
    assert not waiting.done()
    await door.post(f"{ACCOUNTS}/{account_id}/complete")
    heard = await waiting
    assert (heard.status, heard.json.get("accountSeq")) == (200, 3)
    same = await door.get(path, headers={"If-None-Match": heard.headers["ETag"]})
    assert (same.status, same.body) == (304, b"")


@pytest.mark.parametrize("view", ["/ledger", "/orders", "/fills", "/positions", "/decision-context"])
async def test_lists_wait_for_a_seq_and_refuse_what_they_do_not_know(door: Door, view: str):
    account_id = await door.opened()
    path = f"{ACCOUNTS}/{account_id}{view}"
    waiting = asyncio.create_task(door.get(f"{path}?minSeq=3&waitMs=5000"))
    await asyncio.sleep(0.05)
    assert not waiting.done()
    await door.post(f"{ACCOUNTS}/{account_id}/complete")
    assert (await waiting).json["accountSeq"] == 3
    assert (await door.get(f"{path}?minSeq=4")).refusal == (503, "not_yet_durable")
    assert (await door.get(f"{path}?waitMs=10001")).pointers == {"/query/waitMs": "out_of_range"}
    assert (await door.get(f"{path}?offset=1")).pointers == {"/query/offset": "unknown_field"}
    if view != "/decision-context":
        assert (await door.get(f"{path}?cursor=forged")).refusal == (422, "invalid_cursor")


async def test_an_action_is_for_ever_what_it_was_answered(door: Door):
    account_id = await door.opened()
    taken = await act(door, account_id, "a1", quantity="0.1")
    path = f"/api/v1/prop/decision-actions/{taken['results'][0]['propActionId']}"
    heard = await door.get(path)
    assert heard.headers["ETag"] == f'"{heard.json["accountSeq"]}"'
    fill_id = taken["results"][0]["fill"]["id"]
    voided = await door.post(
        f"/api/v1/admin/prop/accounts/{account_id}/void-fill", {"fillId": fill_id, "reason": "bad"}
    )
    assert voided.status == 200
    assert (await door.get(path)).body == heard.body
    assert (await door.get(path, headers={"If-None-Match": heard.headers["ETag"]})).status == 304


async def test_a_result_that_was_lost_is_put_back_by_recompute(door: Door, engine: Desk):
    account_id = await door.opened()
    await act(door, account_id, "a1", quantity="0.1")
    await door.post(f"{ACCOUNTS}/{account_id}/complete")
    path = f"{ACCOUNTS}/{account_id}/result"
    before = (await door.get(path)).json
    async with await psycopg.AsyncConnection.connect(engine.url, autocommit=True) as connection:
        await connection.execute("delete from prop_account_results")
    assert (await door.get(path)).refusal == (409, "account_quarantined")
    heard = await door.post(f"/api/v1/admin/prop/accounts/{account_id}/recompute", {"reason": "lost"})
    assert heard.json["repaired"] is True, heard.body
    assert [each["table"] for each in heard.json["drift"]] == ["prop_account_results"]
    assert (await door.get(path)).json == before  # frozen: not what the account is since
    assert (await reconcile.verify(engine.url)).drift == ()
