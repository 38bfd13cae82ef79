"""kill -9 on real Ray and real Postgres: nothing acknowledged is lost and nothing is done twice (G1, G2, G4, G5)."""

from pathlib import Path
from typing import Any

import pytest

from tests.support.served import Answered, Served, eventually, served

pytestmark = [pytest.mark.ray, pytest.mark.postgres]


def ledger(engine: Served, account: str) -> list[dict[str, Any]]:
    return list(engine.get(f"/api/v1/prop/accounts/{account}/ledger?limit=1000")["data"])


def kill_one(engine: Served, title: str) -> None:
    for process in engine.processes(title):
        process.kill()
        process.wait(10)


def test_a_killed_account_actor_answers_the_next_request_from_the_rebuilt_account(engine: Served) -> None:
    engine.observe("BTC-USD", "50000")
    account = engine.trading_account("killed-actor")
    first = engine.act(account, "a1", quantity="0.1")
    refused = engine.act(account, "a2", quantity="50")
    before = ledger(engine, account)
    kill_one(engine, "ray::AccountActor")

    again = engine.act(account, "a1", quantity="0.1")
    assert again["results"][0] == first["results"][0] | {"replayed": True}
    refused_again = engine.act(account, "a2", quantity="50")
    assert refused_again["results"][0] == refused["results"][0] | {"replayed": True}
    after = engine.act(account, "a3", quantity="0.1")
    assert after["accountSeq"] == first["accountSeq"] + 4
    events = ledger(engine, account)
    assert events[: len(before)] == before
    assert [event["seq"] for event in events] == list(range(1, len(events) + 1))
    epochs = [event["epoch"] for event in events]
    assert epochs == sorted(epochs)
    assert epochs[-1] > epochs[0]


@pytest.mark.parametrize("title", ["ray::PersisterActor", "ray::SupervisorActor"])
def test_a_killed_core_actor_is_made_again_and_accounts_go_on(engine: Served, title: str) -> None:
    engine.observe("BTC-USD", "50000")
    account = engine.trading_account(title.rpartition(":")[2])
    first = engine.act(account, "a1", quantity="0.1")
    kill_one(engine, title)
    again = settled(engine, account, "a1", quantity="0.1")
    assert again["results"][0] == first["results"][0] | {"replayed": True}
    after = settled(engine, account, "a2", quantity="0.1")
    assert after["results"][0]["status"] == "executed"
    eventually(lambda: engine.processes(title), f"a new {title}")
    eventually(lambda: ready(engine), "readiness")
    assert engine.post("/api/v1/prop/mark-to-market-all")["failed"] == 0
    seqs = [event["seq"] for event in ledger(engine, account)]
    assert seqs == list(range(1, len(seqs) + 1))


def test_a_stopped_account_actor_is_replaced_and_its_old_self_can_write_no_more(engine: Served) -> None:
    engine.observe("BTC-USD", "50000")
    account = engine.trading_account("stopped-actor")
    engine.act(account, "a1", quantity="0.1")
    stopped = engine.processes("ray::AccountActor")
    for process in stopped:
        process.suspend()
    try:
        engine.observe("BTC-USD", "50000", seen=False)
        after = settled(engine, account, "a2", quantity="0.1")
        assert after["results"][0]["status"] == "executed"
    finally:
        for process in stopped:
            if process.is_running():
                process.resume()
    events = ledger(engine, account)
    assert [event["seq"] for event in events] == list(range(1, len(events) + 1))
    assert [event["type"] for event in events].count("fill_booked") == 2


@pytest.mark.parametrize("victim", ["one backend", "the whole server"])
def test_a_killed_postgres_comes_back_and_loses_and_repeats_nothing(engine: Served, victim: str) -> None:
    engine.observe("BTC-USD", "50000")
    account = engine.trading_account(victim.replace(" ", "-"))
    first = engine.act(account, "a1", quantity="0.1")
    postmaster = engine.postmaster()
    if victim == "the whole server":
        postmaster.kill()
    else:  # a crash of one process makes the server end all sessions and recover
        next(each for each in postmaster.children() if "checkpointer" in " ".join(each.cmdline())).kill()
    again = settled(engine, account, "a1", quantity="0.1")
    assert again["results"][0] == first["results"][0] | {"replayed": True}
    assert settled(engine, account, "a2", quantity="0.1")["results"][0]["status"] == "executed"


def ready(engine: Served) -> bool:
    try:
        return bool(engine.get("/readyz")["ready"])
    except Answered as problem:
        if problem.status != 503:
            raise
        return False


def settled(engine: Served, account: str, key: str, **action: Any) -> dict[str, Any]:
    """Send the same ids until there is an outcome, as a client must after a 503."""
    outcome: list[dict[str, Any]] = []

    def answered() -> bool:
        try:
            outcome.append(engine.act(account, key, **action))
        except Answered as problem:
            if problem.status != 503 or not problem.problem["retryable"]:
                raise
        return bool(outcome)

    eventually(answered, f"an outcome for {key}", seconds_max=60)
    return outcome[0]


def test_after_kill_9_of_everything_the_same_folder_serves_the_same_accounts(data_dir: Path) -> None:
    with served(data_dir) as engine:
        engine.observe("BTC-USD", "50000")
        engine.observe("ETH-USD", "2000")
        accounts = [engine.trading_account(f"clone-{number}", idempotencyKey=f"k-{number}") for number in range(3)]
        executed = [engine.act(account, "a1", quantity="0.1") for account in accounts]
        rejected = [engine.act(account, "a2", quantity="9") for account in accounts]
        engine.act(accounts[0], "a3", symbol="ETH-USD", side="short", quantity="1.5")
        engine.act(accounts[0], "a4", action="reduce", fraction="0.5")
        engine.post(f"/api/v1/prop/accounts/{accounts[2]}/liquidate", {"reason": "test"})
        engine.post("/api/v1/prop/mark-to-market-all")
        before = [remembered(engine, account) for account in accounts]
        engine.kill_everything()

    with served(data_dir) as engine:
        engine.observe("BTC-USD", "50000")
        assert [remembered(engine, account) for account in accounts] == before
        for account, first, refused in zip(accounts, executed, rejected, strict=True):
            again = engine.act(account, "a1", quantity="0.1")
            assert again["results"][0] == first["results"][0] | {"replayed": True}
            again = engine.act(account, "a2", quantity="9")
            assert again["results"][0] == refused["results"][0] | {"replayed": True}
        same = engine.post(
            "/api/v1/prop/accounts", {"ownerId": "owner-1", "cloneId": "clone-0", "idempotencyKey": "k-0"}
        )
        assert same["id"] == accounts[0]
        after = engine.act(accounts[0], "a5", quantity="0.01")
        assert after["accountSeq"] == before[0]["snapshot"]["accountSeq"] + 3


def remembered(engine: Served, account: str) -> dict[str, Any]:
    """Everything an account shows, without the ages, which no restart can keep."""
    base = f"/api/v1/prop/accounts/{account}"
    positions = engine.get(f"{base}/positions?status=all")["data"]
    snapshot = engine.get(f"{base}/snapshot")
    for position in (*positions, *snapshot["positions"]):
        del position["markAgeMs"]
    return {
        "snapshot": snapshot,
        "ledger": ledger(engine, account),
        "orders": engine.get(f"{base}/orders")["data"],
        "fills": engine.get(f"{base}/fills")["data"],
        "positions": positions,
    }
