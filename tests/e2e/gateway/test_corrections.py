"""Corrections end to end: what an operator takes out is out of state, tables, ledger replay and audit alike."""

import asyncio
import re
from pathlib import Path
from typing import Any

import msgspec
import psycopg
import pytest

from actors.limits import ClientLimits
from persistence.reconcile import verify
from tests.e2e.gateway.door import Door, Heard
from tests.e2e.gateway.test_contract import ACCOUNTS, ADMIN_ACCOUNTS, everything, opening, take
from tests.support.desk import Desk, desk

pytestmark = pytest.mark.postgres

WHY = "filled at a price that was never quoted"
DOCS = Path(__file__).parents[3] / "docs" / "corrections.md"


def reducing(action_id: str, quantity: str) -> dict[str, Any]:
    return {"decisionActionId": action_id, "action": "reduce", "symbol": "BTC-USD", "side": "long"} | {
        "quantity": quantity
    }


async def two_buys_and_three_sales(door: Door, engine: Desk, last: str = "0.2") -> tuple[str, list[dict[str, Any]]]:
    """The worked example; the account's id and its fills."""
    account_id = await door.opened(policy={"maxNotional": "200000"})
    for price, action in (
        ("50000", opening("a1", quantity="1")),
        ("52000", opening("a2", quantity="1")),
        ("54000", reducing("a3", "0.5")),
        ("55000", reducing("a4", "0.3")),
        ("50000", reducing("a5", last)),
    ):
        await engine.observe("BTC-USD", price)
        taken = await take(door, account_id, action)
        assert taken["results"][0]["status"] == "executed", taken
    return account_id, await everything(door, f"{ACCOUNTS}/{account_id}/fills")


async def administer(door: Door, account_id: str, verb: str, query: str = "", **body: Any) -> Heard:
    return await door.post(f"{ADMIN_ACCOUNTS}/{account_id}/{verb}{query}", {"reason": WHY, **body})


async def holds(door: Door, engine: Desk, account_id: str) -> None:
    """Ledger = tables = live state, by the program's own verification."""

    async def live(wanted: str) -> tuple[int, Any]:
        snapshot = (await door.get(f"{ACCOUNTS}/{wanted}/snapshot")).json
        return snapshot["accountSeq"], snapshot

    report = await verify(engine.url, account_ids=[account_id], live=live)
    assert report.drift == ()
    assert report.live_checked == 1


async def audit(door: Door, account_id: str) -> list[dict[str, Any]]:
    return await everything(door, f"{ADMIN_ACCOUNTS}/{account_id}/audit-log", limit=1)


async def test_the_worked_example(door: Door, engine: Desk):
    account_id, fills = await two_buys_and_three_sales(door, engine)
    dry = await administer(door, account_id, "void-fill", "?dryRun=true", fillId=fills[0]["id"])
    heard = await administer(door, account_id, "void-fill", fillId=fills[0]["id"])
    assert heard.status == dry.status == 200
    voided = heard.json
    assert {**dry.json, "accountSeq": 0, "account": 0} == {**voided, "dryRun": True, "accountSeq": 0, "account": 0}
    assert dry.json["accountSeq"] == dry.json["account"]["accountSeq"] == voided["accountSeq"] - 1
    assert voided["voidedFillIds"] == [fills[0]["id"]]
    assert voided["voidedOrderIds"] == [fills[0]["orderId"]]
    assert [(each["fillId"], each["cost"], each["realizedPnl"]) for each in voided["restatedFills"]] == [
        (fills[2]["id"], "26000.00000000", "1000.00000000"),
        (fills[3]["id"], "15600.00000000", "900.00000000"),
        (fills[4]["id"], "10400.00000000", "-400.00000000"),
    ]
    assert voided["positions"] == []
    figures = {name: voided["balance"][name] for name in ("cash", "equity", "realizedPnl", "feesPaid", "highWatermark")}
    assert figures == {
        "cash": "101394.50000000",
        "equity": "101394.50000000",
        "realizedPnl": "1500.00000000",
        "feesPaid": "105.50000000",
        "highWatermark": "102404.50000000",
    }
    snapshot = (await door.get(f"{ACCOUNTS}/{account_id}/snapshot")).json
    assert (snapshot["balance"], snapshot["positions"]) == (voided["balance"], [])
    rows = await everything(door, f"{ACCOUNTS}/{account_id}/fills")
    assert [row["status"] for row in rows] == ["voided", "booked", "booked", "booked", "booked"]
    assert [row["realizedPnl"] for row in rows[2:]] == [each["realizedPnl"] for each in voided["restatedFills"]]
    orders = await everything(door, f"{ACCOUNTS}/{account_id}/orders")
    assert [row["status"] for row in orders] == ["voided", "filled", "filled", "filled", "filled"]
    (episode,) = await everything(door, f"{ACCOUNTS}/{account_id}/positions?status=all")
    assert (episode["status"], episode["realizedPnl"], episode["fees"]) == ("closed", "1500.00000000", "105.50000000")
    await holds(door, engine, account_id)


async def test_later_fills_are_orphaned_by_consent_only(door: Door, engine: Desk):
    account_id, fills = await two_buys_and_three_sales(door, engine, last="0.5")
    before = (await door.get(f"{ACCOUNTS}/{account_id}/snapshot")).json["balance"]
    heard = await administer(door, account_id, "void-order", orderId=fills[0]["orderId"])
    assert heard.refusal == (409, "void_would_orphan")
    (orphan,) = heard.json["fills"]
    assert (orphan["fillId"], orphan["quantity"], orphan["held"]) == (fills[4]["id"], "0.50000000", "0.20000000")
    assert (await door.get(f"{ACCOUNTS}/{account_id}/snapshot")).json["balance"] == before
    assert await audit(door, account_id) == []
    voided = (await administer(door, account_id, "void-order", orderId=fills[0]["orderId"], cascade=True)).json
    assert voided["voidedFillIds"] == [fills[0]["id"], fills[4]["id"]]
    assert voided["positions"][0]["quantity"] == "0.20000000"
    assert voided["balance"]["cash"] == "101804.50000000"
    await holds(door, engine, account_id)


async def test_a_receipt_stays_as_it_was_answered(door: Door, engine: Desk):
    account_id, fills = await two_buys_and_three_sales(door, engine)
    await administer(door, account_id, "void-fill", fillId=fills[0]["id"])
    again = (await take(door, account_id, reducing("a3", "0.5")))["results"][0]
    assert again["replayed"]
    assert again["fill"] == fills[2]


async def test_voiding_twice_changes_nothing_and_is_noted(door: Door, engine: Desk):
    account_id, fills = await two_buys_and_three_sales(door, engine)
    first = (await administer(door, account_id, "void-fill", fillId=fills[0]["id"])).json
    again = await administer(door, account_id, "void-fill", fillId=fills[0]["id"].upper())
    assert again.status == 200
    assert again.json == {**first, "voidedFillIds": [], "voidedOrderIds": [], "restatedFills": []}
    second, one = await audit(door, account_id)
    assert second["before"] == second["after"] == one["after"]


async def test_the_audit_log_tells_who_why_and_what_changed(door: Door, engine: Desk):
    account_id, fills = await two_buys_and_three_sales(door, engine)
    before = (await door.get(f"{ACCOUNTS}/{account_id}/snapshot")).json
    headers = {"X-Request-Id": "ticket-17"}
    body = {"reason": WHY, "fillId": fills[0]["id"]}
    await door.post(f"{ADMIN_ACCOUNTS}/{account_id}/void-fill", body, headers=headers)
    for verb in ("pause", "pause", "resume", "lock", "recompute", "liquidate"):
        assert (await administer(door, account_id, verb)).status == 200
        await administer(door, account_id, verb, "?dryRun=true")
    rows = await audit(door, account_id)
    assert [row["action"] for row in rows] == [
        "liquidate",
        "recompute",
        "lock",
        "resume",
        "pause",
        "pause",
        "void_fill",
    ]
    void = rows[-1]
    assert (void["tokenName"], void["reason"], void["requestId"]) == ("bootstrap", WHY, "ticket-17")
    assert void["before"]["balance"] == before["balance"]
    assert void["before"]["positions"][0]["quantity"] == "1.00000000"
    assert (void["after"]["balance"]["cash"], void["after"]["positions"]) == ("101394.50000000", [])
    assert [row["id"] for row in rows] == sorted((row["id"] for row in rows), reverse=True)
    assert (rows[0]["before"]["account"]["status"], rows[0]["after"]["account"]["status"]) == ("locked", "liquidated")
    (event,) = (await door.get(f"{ACCOUNTS}/{account_id}/ledger?type=fill_voided")).json["data"]
    assert (event["requestId"], event["payload"]["reason"]) == ("ticket-17", WHY)


async def test_trade_does_not_audit_and_may_not_administer(door: Door, engine: Desk):
    account_id = await door.opened()
    await door.post(f"{ACCOUNTS}/{account_id}/liquidate", {"reason": "done"})
    assert await audit(door, account_id) == []


@pytest.mark.parametrize("status", ["paused", "locked"])
async def test_a_stopped_account_is_corrected(door: Door, engine: Desk, status: str):
    account_id, fills = await two_buys_and_three_sales(door, engine)
    await administer(door, account_id, {"paused": "pause", "locked": "lock"}[status])
    voided = (await administer(door, account_id, "void-fill", fillId=fills[4]["id"])).json
    assert voided["account"]["status"] == status
    assert voided["positions"][0]["quantity"] == "1.20000000"
    await holds(door, engine, account_id)


async def test_what_cannot_be_voided(door: Door, engine: Desk):
    account_id, fills = await two_buys_and_three_sales(door, engine)
    other = await door.opened()
    unknown = "00000000-0000-7000-8000-000000000000"
    for asked, refusal in (
        (("void-fill", {"fillId": unknown}), (404, "fill_not_found")),
        (("void-order", {"orderId": unknown}), (404, "order_not_found")),
        (("void-fill", {"fillId": "nonsense"}), (422, "invalid_request")),
        (("void-fill", {"fillId": fills[0]["id"], "reason": ""}), (422, "invalid_request")),
        (("void-fill", {"fillId": fills[0]["id"], "reason": "x" * 501}), (422, "invalid_request")),
        (("void-fill", {"fillId": fills[0]["id"], "cascade": "yes"}), (422, "invalid_request")),
    ):
        assert (await administer(door, account_id, asked[0], **asked[1])).refusal == refusal
    assert (await administer(door, other, "void-fill", fillId=fills[0]["id"])).refusal == (404, "fill_not_found")
    assert (await administer(door, unknown, "void-fill", fillId=unknown)).refusal == (404, "account_not_found")
    assert (await door.get(f"{ADMIN_ACCOUNTS}/{unknown}/audit-log")).refusal == (404, "account_not_found")
    assert (await door.post(f"{ACCOUNTS}/{account_id}/complete")).status == 200
    heard = await administer(door, account_id, "void-fill", fillId=fills[0]["id"])
    assert heard.refusal == (409, "account_terminal")


async def test_voids_under_trading_lose_nothing(door: Door, engine: Desk):
    """Fifty actions and ten voids at once: each answered, the ledger whole, everything still agrees."""
    account_id, fills = await two_buys_and_three_sales(door, engine)
    other = await door.opened()

    async def trades(number: int, account: str) -> Any:
        return await take(door, account, opening(f"t{number}", quantity="0.001"), run="more")

    async def voids(number: int) -> Heard:
        return await administer(door, account_id, "void-fill", fillId=fills[number % 5]["id"], cascade=True)

    work = [trades(number, account_id if number % 2 else other) for number in range(50)]
    answered = await asyncio.gather(*work[:25], *(voids(number) for number in range(10)), *work[25:], mark(door))
    voided = [each.json["voidedFillIds"] for each in answered if isinstance(each, Heard) and each.status == 200]
    assert sorted(fill_id for each in voided for fill_id in each) == sorted(fill["id"] for fill in fills)
    taken = [each for each in answered if isinstance(each, dict) and "results" in each]
    assert len(taken) == 50
    assert all(each["results"][0]["status"] == "executed" for each in taken)
    seqs = [event["seq"] for event in await everything(door, f"{ACCOUNTS}/{account_id}/ledger", limit=500)]
    assert seqs == list(range(1, len(seqs) + 1))
    for account in (account_id, other):
        await holds(door, engine, account)
    (position,) = (await door.get(f"{ACCOUNTS}/{account_id}/snapshot")).json["positions"]
    assert position["quantity"] == "0.02500000"


async def mark(door: Door) -> None:
    report = (await door.post("/api/v1/prop/mark-to-market-all")).json
    assert report["failed"] == 0


async def test_a_corrected_account_is_rebuilt_as_it_was(database_url: str):
    from tests.e2e.gateway.conftest import gateway_on

    async with desk(database_url) as first, gateway_on(first) as door:
        await first.observe("BTC-USD", "50000")
        account_id, fills = await two_buys_and_three_sales(door, first)
        await administer(door, account_id, "void-fill", fillId=fills[1]["id"])
        before = (await door.get(f"{ACCOUNTS}/{account_id}/snapshot")).json["balance"]
    async with desk(database_url) as second, gateway_on(second) as door:
        assert (await door.get(f"{ACCOUNTS}/{account_id}/snapshot")).json["balance"] == before
        await second.observe("BTC-USD", "51000")
        await administer(door, account_id, "void-fill", fillId=fills[2]["id"])
        await holds(door, second, account_id)


async def test_a_correction_that_outlasts_its_deadline_is_found_by_the_second_sending(database_url: str):
    """The ledger cannot be read until after the answer is due: the void goes on, and is not done twice."""
    from tests.e2e.gateway.conftest import gateway_on

    limits = ClientLimits(deadline_ms=2_000)
    async with (
        desk(database_url, client_limits=limits, lock_timeout_ms=30_000) as engine,  # a lock is to outlast the deadline
        gateway_on(engine) as door,
    ):
        await engine.observe("BTC-USD", "50000")
        account_id, fills = await two_buys_and_three_sales(door, engine)
        async with await psycopg.AsyncConnection.connect(engine.url) as blocker:
            await blocker.execute("lock table prop_ledger_events in access exclusive mode")
            heard = await administer(door, account_id, "void-fill", fillId=fills[0]["id"])
            assert heard.refusal == (503, "outcome_unknown")
        again = await administer(door, account_id, "void-fill", fillId=fills[0]["id"])
        while again.status == 503:  # as a client does, which may be told so again on a slow machine
            again = await administer(door, account_id, "void-fill", fillId=fills[0]["id"])
        assert (again.status, again.json["balance"]["cash"]) == (200, "101394.50000000")
        events = await everything(door, f"{ACCOUNTS}/{account_id}/ledger?type=fill_voided")
        assert [event["payload"]["fillIds"] for event in events] == [[fills[0]["id"]]]
        await holds(door, engine, account_id)


# ---------------------------------------------------------------- recompute


async def test_recompute_of_a_sound_account(door: Door, engine: Desk):
    account_id, fills = await two_buys_and_three_sales(door, engine)
    await administer(door, account_id, "void-fill", fillId=fills[0]["id"])
    dry = (await administer(door, account_id, "recompute", "?dryRun=true")).json
    real = (await administer(door, account_id, "recompute")).json
    expected = {"accountId": account_id, "consistent": True, "drifts": 0, "drift": [], "repaired": False}
    assert dry == {**expected, "accountSeq": real["accountSeq"] - 1, "dryRun": True}
    assert real == {**expected, "accountSeq": real["accountSeq"]}
    (event,) = (await door.get(f"{ACCOUNTS}/{account_id}/ledger?type=account_recomputed")).json["data"]
    assert event["payload"] == {"reason": WHY, "drift": []}
    await holds(door, engine, account_id)


TAMPERED = (
    "update prop_fills set realized_pnl = realized_pnl + 1 where account_id = '{id}'",
    "update prop_orders set status = 'voided' where account_id = '{id}'",
    "update prop_positions set fees = fees + 1 where account_id = '{id}'",
    "update prop_account_balances set cash = cash + 1, equity = equity + 1, free_margin = free_margin + 1",
    "update prop_account_balances set last_seq = last_seq - 1",
    "update prop_accounts set owner_id = 'somebody else' where id = '{id}'",
    "update prop_decision_actions set result = '{{}}'::jsonb where account_id = '{id}'",
    "delete from prop_fills where account_id = '{id}'",
    "insert into prop_positions select account_id, 99999, 'X', side, status, quantity, entry_notional, avg_entry_price,"
    " leverage, margin_used, mark_price, mark_notional, marked_at, unrealized_pnl, realized_pnl, fees, opened_at,"
    " closed_at from prop_positions where account_id = '{id}'",
)


@pytest.mark.parametrize("statement", TAMPERED, ids=lambda text: re.sub(r"\W+", " ", text)[:50])
async def test_recompute_finds_and_repairs(door: Door, engine: Desk, statement: str):
    account_id, _ = await two_buys_and_three_sales(door, engine)
    async with await psycopg.AsyncConnection.connect(engine.url, autocommit=True) as connection:
        cursor = await connection.execute(statement.format(id=account_id).encode())
        assert cursor.rowcount > 0
    dry = (await administer(door, account_id, "recompute", "?dryRun=true")).json
    assert (dry["consistent"], dry["repaired"]) == (False, False)
    table = next(word for word in statement.split() if word.startswith("prop_"))
    assert {drift["table"] for drift in dry["drift"]} == {table}
    found = (await administer(door, account_id, "recompute")).json
    assert (found["consistent"], found["drift"], found["repaired"]) == (False, dry["drift"], True)
    await holds(door, engine, account_id)
    assert (await administer(door, account_id, "recompute")).json["consistent"] is True
    taken = await take(door, account_id, opening("after", quantity="0.01"))
    assert taken["results"][0]["status"] == "executed"
    await holds(door, engine, account_id)


async def test_a_broken_ledger_is_reported_and_left_alone(door: Door, engine: Desk):
    account_id, _ = await two_buys_and_three_sales(door, engine)
    async with await psycopg.AsyncConnection.connect(engine.url, autocommit=True) as connection:
        await connection.execute("set session_replication_role = replica")
        await connection.execute("update prop_ledger_events set hash = decode(repeat('00', 32), 'hex') where seq = 4")
    found = (await administer(door, account_id, "recompute")).json
    assert (found["consistent"], found["repaired"]) == (False, False)
    assert {drift["table"] for drift in found["drift"]} == {"prop_ledger_events"}
    assert (await door.get(f"{ACCOUNTS}/{account_id}/ledger?type=account_recomputed")).json["data"] == []
    assert [row["action"] for row in await audit(door, account_id)] == ["recompute"]


# ---------------------------------------------------------------- the page


async def test_the_examples_of_the_page_are_true(door: Door, engine: Desk):
    """Each request of docs/corrections.md, in order, against the account it speaks of: what is shown is answered."""
    account_id, fills = await two_buys_and_three_sales(door, engine, last="0.5")
    names = {"ACCOUNT": account_id}
    names |= {f"FILL_{place}": fill["id"] for place, fill in enumerate(fills, 1)}
    names |= {f"ORDER_{place}": fill["orderId"] for place, fill in enumerate(fills, 1)}
    examples = re.findall(r"```http\n(\w+) (\S+)\n(.*?)```\n+```json\n(.*?)```", DOCS.read_text(), re.DOTALL)
    assert len(examples) >= 5
    for method, path, body, answer in examples:
        sent, shown = (msgspec.json.decode(_filled(text, names)) if text.strip() else None for text in (body, answer))
        heard = await door.send(method, _filled(path, names), **({} if sent is None else {"json": sent}))
        _agrees(heard.json, shown, f"{method} {path}")


def _filled(text: str, names: dict[str, str]) -> str:
    for name, real in sorted(names.items(), reverse=True):
        text = text.replace(name, real)
    return text


def _agrees(heard: Any, shown: Any, where: str) -> None:
    """What the page shows is in the answer; "..." stands for anything."""
    if shown == "...":
        return
    if isinstance(shown, dict):
        for name, value in shown.items():
            assert name in heard, f"{where} lacks {name}: {heard}"
            _agrees(heard[name], value, f"{where}.{name}")
    elif isinstance(shown, list):
        assert len(heard) == len(shown), f"{where}: {heard}"
        for place, (each, value) in enumerate(zip(heard, shown, strict=True)):
            _agrees(each, value, f"{where}[{place}]")
    else:
        assert heard == shown, f"{where}: {heard} is not {shown}"


async def test_an_account_in_quarantine_is_repaired_by_a_recompute_and_trades_again(door: Door, engine: Desk):
    account_id = await door.opened()
    other = await door.opened()
    await take(door, account_id, opening("a1"))
    strangers = (
        "insert into prop_decision_actions select account_id, decision_run_id, 'a2', gen_random_uuid(), fingerprint,"
        " action, result, status, code, seq, decided_at from prop_decision_actions where account_id = %s"
    )
    async with await psycopg.AsyncConnection.connect(engine.url, autocommit=True) as connection:
        await connection.execute(strangers, (account_id,))
    asked = {"decisionRunId": "r", "actions": [opening("a2")]}
    path = f"{ACCOUNTS}/{account_id}/decision-actions"
    assert [(await door.post(path, asked)).refusal for _ in range(3)] == [
        (503, "outcome_unknown"),
        (503, "outcome_unknown"),
        (409, "account_quarantined"),
    ]
    assert (await door.get(f"{ACCOUNTS}/{account_id}/ledger")).status == 200
    await take(door, other, opening("a1"))
    looked = await administer(door, account_id, "recompute", "?dryRun=true")
    repaired = await administer(door, account_id, "recompute")
    assert (looked.status, repaired.status) == (200, 200)
    assert [each["table"] for each in repaired.json["drift"]] == ["prop_decision_actions"]
    assert (looked.json["repaired"], repaired.json["repaired"]) == (False, True)
    assert (await audit(door, account_id))[0]["action"] == "recompute"
    taken = await take(door, account_id, opening("a2"))
    assert taken["results"][0]["status"] == "executed"
    await holds(door, engine, account_id)
