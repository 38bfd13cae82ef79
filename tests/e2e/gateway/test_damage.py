"""A ledger that was damaged, or an event that this program cannot apply: that account stops, is named, and is alone."""

import re
from datetime import datetime
from pathlib import Path
from typing import Any

import psycopg
import pytest
import structlog

from engine import book
from engine.account import Account
from engine.events import Event
from engine.evolve import evolve
from persistence.reconcile import verify
from tests.e2e.gateway.door import Door
from tests.e2e.gateway.test_contract import ACCOUNTS, ADMIN_ACCOUNTS, opening, take
from tests.support.desk import Desk

pytestmark = pytest.mark.postgres

SEQ = 3
"""Of the first order; 1 and 2 are creation and start, 4 and 5 the fill and the position, and there it ends."""

DAMAGES = {
    "missing": (SEQ, "delete from prop_ledger_events where account_id = %s and seq = 3"),
    "altered": (
        SEQ,
        'update prop_ledger_events set payload = payload || \'{"quantity": "9.00000000"}\''
        " where account_id = %s and seq = 3",
    ),
    "surplus": (
        6,
        "insert into prop_ledger_events select account_id, 6, type, version, occurred_at, recorded_at, epoch,"
        " request_id, payload, hash from prop_ledger_events where account_id = %s and seq = 3",
    ),
}


async def disturbed(engine: Desk, account_id: str, *statements: str) -> None:
    """SQL by somebody with a superuser's console; then another epoch, so that the account has to be rebuilt."""
    fenced = "update prop_account_balances set epoch = epoch + 1 where account_id = %s"
    async with await psycopg.AsyncConnection.connect(engine.url, autocommit=True) as connection:
        await connection.execute("set session_replication_role = replica")
        for statement in (*statements, fenced):
            done = await connection.execute(statement.encode(), (account_id,))
            assert done.rowcount > 0, statement


async def refusals(door: Door, account_id: str) -> list[tuple[int, str]]:
    """What two writes meet: the first finds out that another epoch rules, the second needs the account rebuilt."""
    return [(await door.post(f"{ACCOUNTS}/{account_id}/decision-actions", asked("a9"))).refusal for _ in range(2)]


def asked(key: str) -> dict[str, Any]:
    return {"decisionRunId": "r", "actions": [opening(key)]}


PAGE = Path(__file__).parents[3] / "docs" / "backup-and-restore.md"
ACCEPTED = re.findall(r"```sql\n(.*?)```", PAGE.read_text(), re.DOTALL)[0]
"""How an operator says that what is gone is given up."""
STOPPED = [(503, "outcome_unknown"), (409, "account_quarantined")]


@pytest.mark.parametrize("damage", DAMAGES)
async def test_a_damaged_ledger_stops_its_account_alone_and_every_operator_is_told(
    door: Door, engine: Desk, damage: str
):
    account_id, other = await door.opened(), await door.opened()
    for each in (account_id, other):
        await take(door, each, opening("a1"))
    seq, statement = DAMAGES[damage]
    await disturbed(engine, account_id, statement)
    with structlog.testing.capture_logs() as logs:
        assert await refusals(door, account_id) == STOPPED
    (logged,) = [each for each in logs if each["event"] == "account_broken"]
    assert (logged["account_id"], logged["seq"]) == (account_id, seq)
    assert (await take(door, other, opening("a2")))["results"][0]["status"] == "executed"
    (recovery,) = [each for each in await engine.client.wellness() if each.component == "recovery"]
    assert f"1 accounts in quarantine, {account_id} (seq {seq}: {logged['why']})" in recovery.detail
    told = (await door.post(f"{ACCOUNTS}/{account_id}/decision-actions", asked("a9"))).json["detail"]
    assert told == f"account {account_id} broke twice at seq {seq}: {logged['why']}"
    (drift,) = (await verify(engine.url)).drift
    assert (drift.account_id, drift.table, drift.key) == (account_id, "prop_ledger_events", str(seq))
    recomputed = (await door.post(f"{ADMIN_ACCOUNTS}/{account_id}/recompute", {"reason": "looked at"})).json
    assert [each["key"] for each in recomputed["drift"]] == [str(seq)]
    assert not recomputed["repaired"]
    assert (await door.get(f"{ACCOUNTS}/{account_id}/ledger")).status == 200


async def test_a_ledger_that_was_cut_off_is_not_taken_for_whole_until_an_operator_says_so(door: Door, engine: Desk):
    account_id = await door.opened()
    await take(door, account_id, opening("a1"))
    await disturbed(engine, account_id, "delete from prop_ledger_events where account_id = %s and seq >= 4")
    assert await refusals(door, account_id) == STOPPED
    said = (await door.post(f"{ACCOUNTS}/{account_id}/decision-actions", asked("a9"))).json["detail"]
    assert "the ledger ends at seq 3, its head is 5" in said
    recompute, why = f"{ADMIN_ACCOUNTS}/{account_id}/recompute", {"reason": "an old backup"}
    refused = (await door.post(recompute, why)).json
    assert not refused["repaired"], "what was acknowledged was given up without a word"
    assert ("prop_ledger_events", "4") in {(each["table"], each["key"]) for each in refused["drift"]}
    assert await refusals(door, account_id) == [(409, "account_quarantined")] * 2
    await disturbed(engine, account_id, ACCEPTED.replace("'ACCOUNT'", "%s"))
    recomputed = (await door.post(recompute, why)).json
    assert (recomputed["repaired"], recomputed["accountSeq"]) == (True, 4)
    assert (await take(door, account_id, opening("a9")))["results"][0]["status"] == "executed"
    assert (await verify(engine.url)).drift == ()


async def test_an_event_that_cannot_be_applied_stops_its_account_alone_until_the_program_is_mended(
    door: Door, engine: Desk, monkeypatch: pytest.MonkeyPatch
):
    account_id, other = await door.opened(), await door.opened()
    for each in (account_id, other):
        await take(door, each, opening("a1"))

    def defective(account: Account, event: Event, at: datetime) -> Account:
        if (account.id, account.seq + 1) == (account_id, SEQ):
            raise ZeroDivisionError("a defect of this program")
        return evolve(account, event, at)

    with monkeypatch.context() as program:
        program.setattr(book, "evolve", defective)
        await disturbed(engine, account_id)
        await disturbed(engine, other)
        assert await refusals(door, account_id) == STOPPED
        path = f"{ACCOUNTS}/{other}/decision-actions"
        assert [(await door.post(path, asked("a9"))).status for _ in range(2)] == [503, 200]
        said = (await door.post(f"{ACCOUNTS}/{account_id}/decision-actions", asked("a9"))).json["detail"]
        assert f"seq {SEQ}" in said
        assert "a defect of this program" in said
    await door.post(f"{ADMIN_ACCOUNTS}/{account_id}/recompute", {"reason": "the program was mended"})
    assert (await take(door, account_id, opening("a9")))["results"][0]["status"] == "executed"
    assert (await verify(engine.url)).drift == ()
