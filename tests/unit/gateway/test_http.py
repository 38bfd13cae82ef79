"""The contract over HTTP: identities, replays, refusals, limits, headers."""

import asyncio
import logging
import re

import msgspec
import pytest
import structlog

from gateway import wire
from gateway.parts import GatewayLimits
from gateway.replies import DecisionActions
from gateway.server import ServerLimits
from persistence.store import StoreUnavailable
from tests.unit.gateway.fakes import READ, FakeDoor, opened_door
from tests.unit.gateway.test_json_body import HEAD, raw

ACCOUNTS = "/api/v1/prop/accounts"
ADMIN_ACCOUNTS = "/api/v1/admin/prop/accounts"
ACCOUNT = {"ownerId": "o", "cloneId": "c", "idempotencyKey": "k", "policy": {"maxLeverage": "3"}}
OPEN = {"decisionActionId": "a1", "action": "open", "symbol": "BTC-USD", "side": "long", "quantity": "0.5"}
UUID7 = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")


async def test_an_account_is_created_once(door: FakeDoor):
    first = await door.post(ACCOUNTS, ACCOUNT)
    again = await door.post(ACCOUNTS, {**ACCOUNT, "owner_id": "o", "ownerId": "o"})
    assert again.pointers == {"/ownerId": "duplicate_field"}
    again = await door.post(ACCOUNTS, ACCOUNT)
    assert (first.status, again.status) == (201, 200)
    assert again.json == first.json
    assert ("Idempotent-Replayed" in first.headers, again.headers["Idempotent-Replayed"]) == (False, "true")
    assert first.json["startingBalance"] == "100000.00000000"
    assert first.json["policy"]["maxLeverage"] == "3.00000000"
    assert list(first.json)[:4] == ["id", "status", "ownerId", "cloneId"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", first.json["createdAt"])


async def test_a_reused_key_names_what_differs(door: FakeDoor):
    await door.post(ACCOUNTS, ACCOUNT)
    other = {**ACCOUNT, "cloneId": "d", "policy": {"maxLeverage": "4"}, "metadata": {"a": 1}}
    heard = await door.post(ACCOUNTS, other)
    assert heard.refusal == (422, "idempotency_key_reused")
    assert set(heard.pointers) == {"/cloneId", "/policy/maxLeverage", "/metadata"}


async def test_a_batch_is_answered_in_order_and_replayed(door: FakeDoor):
    account_id = await door.opened()
    path = f"{ACCOUNTS}/{account_id}/decision-actions"
    batch = {"decisionRunId": "r", "actions": [OPEN, {**OPEN, "decisionActionId": "a2", "symbol": "NONE"}]}
    first = (await door.post(path, batch)).json
    assert [result["status"] for result in first["results"]] == ["executed", "rejected"]
    assert first["results"][1]["code"] == "price_missing"
    assert (first["dryRun"], first["decisionRunId"], first["accountId"]) == (False, "r", account_id)
    assert first["balance"]["unrealizedPnl"] == "0.00000000"
    again = (await door.post(path, batch)).json
    assert [result.pop("replayed") for result in again["results"]] == [True, True]
    assert [result.pop("replayed") for result in first["results"]] == [False, False]
    assert again["results"] == first["results"]
    prop_action_id = first["results"][0]["propActionId"]
    stored = (await door.get(f"/api/v1/prop/decision-actions/{prop_action_id}")).json
    assert (stored["accountId"], stored["result"]["propActionId"]) == (account_id, prop_action_id)


async def test_a_batch_passed_on_is_encoded_as_any_reply(door: FakeDoor):
    path = f"{ACCOUNTS}/{await door.opened()}/decision-actions"
    actions = [OPEN, {**OPEN, "decisionActionId": "a2", "symbol": "0E-8"}, {**OPEN, "decisionActionId": "a3"}]
    heard = await door.post(path, {"decisionRunId": "r", "actions": actions})
    assert [result["status"] for result in heard.json["results"]] == ["executed", "rejected", "executed"]
    assert heard.body == wire.encoded(msgspec.json.decode(heard.body, type=DecisionActions))


async def test_a_key_with_other_content_is_a_conflict(door: FakeDoor):
    path = f"{ACCOUNTS}/{await door.opened()}/decision-actions"
    await door.post(path, {"decisionRunId": "r", "actions": [OPEN]})
    other = {**OPEN, "quantity": "0.6", "leverage": 2}
    heard = await door.post(path, {"decisionRunId": "r", "actions": [{**OPEN, "decisionActionId": "b"}, other]})
    assert heard.refusal == (422, "decision_action_conflict")
    assert set(heard.pointers) == {"/actions/1/quantity", "/actions/1/leverage"}
    heard = await door.post(path, {"decisionRunId": "r", "actions": [OPEN, OPEN]})
    assert heard.refusal == (422, "duplicate_decision_action")


async def test_a_dry_run_writes_nothing(door: FakeDoor):
    account_id = await door.opened()
    dry = (
        await door.post(
            f"{ACCOUNTS}/{account_id}/decision-actions?dryRun=true", {"decisionRunId": "r", "actions": [OPEN]}
        )
    ).json
    assert (dry["dryRun"], dry["results"][0]["status"]) == (True, "executed")
    dry = (await door.post(f"{ACCOUNTS}/{account_id}/complete?dryRun=true")).json
    assert (dry["dryRun"], dry["status"]) == (True, "completed")
    now = (await door.get(f"{ACCOUNTS}/{account_id}")).json
    assert (now["status"], now["accountSeq"]) == ("active", 2)
    assert "dryRun" not in now


async def test_states_that_do_not_allow_it_are_refused_with_their_figures(door: FakeDoor):
    account_id = await door.opened(started=False)
    heard = await door.post(f"{ACCOUNTS}/{account_id}/complete")
    assert heard.refusal == (409, "invalid_transition")
    assert (heard.json["from"], heard.json["to"]) == ("pending", "completed")
    await door.post(f"{ACCOUNTS}/{account_id}/start")
    for verb, status in (("pause", "paused"), ("resume", "active"), ("lock", "locked"), ("liquidate", "liquidated")):
        heard = await door.post(f"{ADMIN_ACCOUNTS}/{account_id}/{verb}", {"reason": "so"})
        assert (heard.status, heard.json["status"]) == (200, status)
    heard = await door.post(f"{ACCOUNTS}/{account_id}/start")
    assert heard.refusal == (409, "account_terminal")
    heard = await door.post(f"{ACCOUNTS}/{account_id}/mark-to-market")
    assert heard.refusal == (409, "account_not_active")


async def test_a_missing_price_stops_an_ending(door: FakeDoor):
    account_id = await door.opened()
    await door.post(f"{ACCOUNTS}/{account_id}/decision-actions", {"decisionRunId": "r", "actions": [OPEN]})
    door.client.prices.clear()
    heard = await door.post(f"{ACCOUNTS}/{account_id}/complete")
    assert heard.refusal == (409, "price_missing")
    assert heard.json["failures"][0]["context"]["symbol"] == "BTC-USD"


@pytest.mark.parametrize(
    ("reason", "refusal"),
    [
        ("overloaded", (503, "overloaded")),
        ("outcome_unknown", (503, "outcome_unknown")),
        ("quarantined", (409, "account_quarantined")),
        ("unknown_account", (404, "account_not_found")),
    ],
)
async def test_what_is_not_served_says_so(door: FakeDoor, reason: str, refusal: tuple[int, str]):
    account_id = await door.opened()
    door.client.unserved = reason  # type: ignore[assignment]
    for path, body in (("decision-actions", {"decisionRunId": "r", "actions": [OPEN]}), ("start", None)):
        heard = await door.post(f"{ACCOUNTS}/{account_id}/{path}", body)
        assert heard.refusal == refusal
        assert ("Retry-After" in heard.headers) == (heard.status == 503)


@pytest.mark.parametrize(
    "account_id",
    ["x", "0190", "%00", "a%0d%0ab", "..%2f..", "%ff", "'%20or%201=1", "00000000-0000-7000-8000-00000000000g"],
)
async def test_what_is_no_id_is_not_found(door: FakeDoor, account_id: str):
    for path in ("", "/snapshot", "/ledger", "/orders", "/decision-context"):
        heard = await door.get(f"{ACCOUNTS}/{account_id}{path}")
        assert heard.refusal[0] == 404, path
    heard = await door.get(f"/api/v1/prop/decision-actions/{account_id}")
    assert heard.refusal[0] == 404


async def test_an_id_nobody_has_is_not_found(door: FakeDoor):
    nobody = "01900000-0000-7000-8000-000000000000"
    for path in ("", "/snapshot", "/ledger", "/orders", "/fills", "/positions", "/decision-context"):
        assert (await door.get(f"{ACCOUNTS}/{nobody}{path}")).refusal == (404, "account_not_found")
    assert (await door.post(f"{ACCOUNTS}/{nobody}/start")).refusal == (404, "account_not_found")
    assert (await door.get(f"/api/v1/prop/decision-actions/{nobody}")).refusal == (404, "decision_action_not_found")


async def test_unknown_paths_methods_and_parameters(door: FakeDoor):
    assert (await door.get("/nothing")).refusal == (404, "not_found")
    assert (await door.get("/api/v1/nothing")).refusal == (404, "not_found")
    heard = await door.send("DELETE", ACCOUNTS)
    assert heard.refusal == (405, "method_not_allowed")
    assert heard.headers["Allow"] == "GET, HEAD, POST"
    for method in ("OPTIONS", "TRACE", "PUT", "PATCH"):
        assert (await door.send(method, ACCOUNTS)).status == 405
    assert (await door.send("HEAD", ACCOUNTS)).status == 200
    heard = await door.get(f"{ACCOUNTS}?offset=1")
    assert (heard.refusal, heard.pointers) == ((422, "invalid_request"), {"/query/offset": "unknown_field"})
    assert (await door.get(f"{ACCOUNTS}?limit=1&limit=2")).pointers == {"/query/limit": "duplicate_field"}
    assert (await door.post(f"{ACCOUNTS}?dryRun=true", ACCOUNT)).status == 422
    assert (await door.get("/livez?x=1")).status == 422
    assert (await door.get("/api/v1/prop/clones/a%20b/accounts")).pointers == {"/path/cloneId": "invalid_format"}


async def test_a_list_is_walked_by_cursor(door: FakeDoor):
    ids = [await door.opened(started=False) for _ in range(5)]
    seen, cursor = [], ""
    while True:
        page = (await door.get(f"{ACCOUNTS}?limit=2{cursor}")).json
        seen += [account["id"] for account in page["data"]]
        assert page["hasMore"] == (page["nextCursor"] is not None)
        if not page["hasMore"]:
            break
        cursor = f"&cursor={page['nextCursor']}"
    assert seen == ids
    page = (await door.get("/api/v1/prop/clones/c/accounts?limit=2")).json
    assert len(page["data"]) == 2
    heard = await door.get(f"{ACCOUNTS}?limit=2&status=active&cursor={page['nextCursor']}")
    assert heard.refusal == (422, "invalid_cursor")


async def test_an_etag_saves_the_body(door: FakeDoor):
    account_id = await door.opened()
    for path in ("", "/snapshot"):
        heard = await door.get(f"{ACCOUNTS}/{account_id}{path}")
        assert (heard.headers["ETag"], heard.json["accountSeq"]) == ('"2"', 2)
        for tag in ('"2"', 'W/"2"', '"1", "2"', "*"):
            same = await door.get(f"{ACCOUNTS}/{account_id}{path}", headers={"If-None-Match": tag})
            assert (same.status, same.body, same.headers["ETag"]) == (304, b"", '"2"')
        assert (await door.get(f"{ACCOUNTS}/{account_id}{path}", headers={"If-None-Match": '"1"'})).status == 200


async def test_reads_wait_for_the_seq_that_is_asked_for(door: FakeDoor):
    account_id = await door.opened(started=False)
    heard = await door.get(f"{ACCOUNTS}/{account_id}?minSeq=2")
    assert heard.refusal == (503, "not_yet_durable")
    assert (heard.json["accountSeq"], heard.json["minSeq"], heard.json["retryable"]) == (1, 2, True)
    for path in ("", "/snapshot", "/ledger", "/orders"):
        waiting = asyncio.create_task(door.get(f"{ACCOUNTS}/{account_id}{path}?minSeq=2&waitMs=5000"))
        await asyncio.sleep(0.05)
        await door.post(f"{ACCOUNTS}/{account_id}/start")
        assert (await waiting).json["accountSeq"] == 2


async def test_a_snapshot_and_a_context_show_ages(door: FakeDoor):
    account_id = await door.opened()
    await door.post(f"{ACCOUNTS}/{account_id}/decision-actions", {"decisionRunId": "r", "actions": [OPEN]})
    snapshot = (await door.get(f"{ACCOUNTS}/{account_id}/snapshot")).json
    assert list(snapshot) == ["account", "accountSeq", "balance", "positions", "counters", "valuation", "rules"]
    assert 0 <= snapshot["positions"][0]["markAgeMs"] < 60_000
    context = (await door.get(f"{ACCOUNTS}/{account_id}/decision-context")).json
    assert context["symbols"][0]["symbol"] == "BTC-USD"
    assert context["actions"][0]["result"]["status"] == "executed"
    assert context["snapshot"]["positions"][0]["markAgeMs"] >= 0
    marked = (await door.post(f"{ACCOUNTS}/{account_id}/mark-to-market")).json
    assert (marked["outcome"], marked["failures"]) == ("marked", [])
    assert (await door.post("/api/v1/prop/mark-to-market-all")).json["passId"] == "pass-1"


async def test_prices_are_those_the_engine_sees(door: FakeDoor):
    heard = (await door.get("/api/v1/prop/prices?symbols=BTC-USD,NONE", token=READ)).json
    assert [(row["symbol"], row["mid"], row["fresh"]) for row in heard["data"]] == [("BTC-USD", "50000.00000000", True)]
    assert (await door.get("/api/v1/prop/prices?symbols=")).status == 422


async def test_a_request_id_is_kept_or_made(door: FakeDoor):
    heard = await door.get(ACCOUNTS, headers={"X-Request-Id": "mine:1"})
    assert heard.headers["X-Request-Id"] == "mine:1"
    for hostile in ("a b", "x" * 129, "é", "%s"):
        made = (await door.get(ACCOUNTS, headers={"X-Request-Id": hostile})).headers["X-Request-Id"]
        assert UUID7.fullmatch(made)
    account_id = await door.opened()
    await door.post(f"{ACCOUNTS}/{account_id}/start", headers={"X-Request-Id": "caused-it"})
    assert door.client.request_ids[-1] == "caused-it"
    refused = await door.get("/nothing", headers={"X-Request-Id": "mine:2"})
    assert refused.json["requestId"] == refused.headers["X-Request-Id"] == "mine:2"


async def test_every_answer_is_guarded(door: FakeDoor):
    for heard in (await door.get(ACCOUNTS), await door.get("/nothing"), await door.get("/docs", token=None)):
        assert heard.headers["X-Content-Type-Options"] == "nosniff"
        assert "default-src 'none'" in heard.headers["Content-Security-Policy"]
        assert heard.headers["Server"] == "prop"
        assert heard.headers["Cache-Control"] == "no-store"


async def test_a_failure_tells_nothing_and_is_logged_once(door: FakeDoor):
    door.client.failure = RuntimeError("secret detail")
    with structlog.testing.capture_logs() as lines:
        heard = await door.post(ACCOUNTS, ACCOUNT)
    assert heard.refusal == (500, "internal_error")
    assert b"secret" not in heard.body
    assert [line["event"] for line in lines] == ["unexpected_error", "request"]
    door.client.failure = StoreUnavailable("host=db password=x")
    heard = await door.post(ACCOUNTS, ACCOUNT)
    assert heard.refusal == (503, "storage_unavailable")
    assert b"password" not in heard.body


async def test_nothing_secret_is_logged(door: FakeDoor, caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.DEBUG)
    with structlog.testing.capture_logs() as lines:
        await door.get(f"{ACCOUNTS}?access_token=QUERYSECRET", headers={"X-Api-Key": "HEADERSECRET"})
        await door.post(ACCOUNTS, {**ACCOUNT, "metadata": {"a": "BODYSECRET"}})
        await door.get(f"{ACCOUNTS}/a%0d%0ab", token="WRONGSECRET")
    said = repr(lines) + caplog.text
    assert "SECRET" not in said
    assert READ not in said
    assert {line["route"] for line in lines} >= {ACCOUNTS, ACCOUNTS + "/{account_id}"}


async def test_too_many_in_flight_are_shed_before_their_body_is_read():
    async with opened_door(GatewayLimits(in_flight_max=2, in_flight_per_token_max=1)) as door:
        account_id = await door.opened(started=False)
        path = f"{ACCOUNTS}/{account_id}?minSeq=9&waitMs=1000"
        first = asyncio.create_task(door.get(path))
        await asyncio.sleep(0.1)
        heard = await door.get(path)
        assert heard.refusal == (429, "rate_limited")
        assert heard.headers["Retry-After"] == "1"
        second = asyncio.create_task(door.get(path, token=READ))
        await asyncio.sleep(0.1)
        shed = await raw(door, HEAD + "Content-Length: 1000000\n\n")
        assert b" 503 " in shed.split(b"\r\n")[0]
        assert b'"overloaded"' in shed
        assert (await door.get("/livez")).status == 200
        assert (await first).status == (await second).status == 503
        assert (await door.get(f"{ACCOUNTS}/{account_id}")).status == 200
        assert b'prop_http_shed_total{reason="overloaded"} 1.0' in (await door.get("/metrics")).body


async def test_readiness_needs_everybody(door: FakeDoor):
    heard = await door.get("/readyz?verbose", token=None)
    assert (heard.status, heard.json["ready"]) == (200, True)
    assert [each["component"] for each in heard.json["components"]] == ["gateway", "postgres"]
    door.client.well = False
    await asyncio.sleep(0.6)
    heard = await door.get("/readyz", token=None)
    assert (heard.status, heard.json) == (503, {"ready": False, "components": []})
    assert (await door.get("/livez", token=None)).status == 200


async def test_stopping_finishes_what_is_in_flight():
    async with opened_door() as door:
        account_id = await door.opened(started=False)
        slow = asyncio.create_task(door.get(f"{ACCOUNTS}/{account_id}?minSeq=2&waitMs=400"))
        idle = asyncio.create_task(raw(door, "GET /livez HTTP/1.1\nHost: x\n\n"))
        await asyncio.sleep(0.1)
        await door.server.drain()
        assert (await slow).status == 503
        idle.cancel()


async def test_a_slow_head_and_a_crowd_are_cut_off():
    limits = ServerLimits(header_timeout_ms=200, connections_max=3)
    async with opened_door(server_limits=limits) as door:
        assert await raw(door, "GET /livez HT", b"TP/1.1\r\n", b"Host: x\r\n", pause=0.15) == b""
        host, port = door.url.removeprefix("http://").split(":")
        crowd = [await asyncio.open_connection(host, int(port)) for _ in range(4)]
        assert await asyncio.wait_for(crowd[3][0].read(1), 5) == b""
        for _, writer in crowd:
            writer.close()
        await asyncio.sleep(0.05)
        assert (await door.get("/livez")).status == 200


async def test_the_api_describes_itself(door: FakeDoor):
    described = (await door.get("/openapi.json", token=None)).json
    assert described["openapi"] == "3.1.0"
    assert f"{ACCOUNTS}/{{accountId}}/decision-actions" in described["paths"]
    page = (await door.get("/docs", token=None)).body
    assert b"<script" not in page
    assert b'="http' not in page
    assert (await door.get("/version", token=None)).json == {"name": "prop-engine", "version": "0.0.test"}
