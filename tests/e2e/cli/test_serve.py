"""`prop serve` as an operator runs it: starts, trades, answers for itself, and leaves nothing behind."""

import json
import signal
import socket
import stat
from datetime import UTC, datetime
from pathlib import Path

import psycopg
import pytest

from gateway.commands.bench import MEASUREMENTS
from tests.e2e.cli.program import prop, running, still_alive

pytestmark = [pytest.mark.postgres, pytest.mark.ray, pytest.mark.slow, pytest.mark.timeout(240)]

API = "/api/v1/prop"


def insert_price(database_url: str, symbol: str, bid: str, ask: str) -> None:
    with psycopg.connect(database_url) as connection:
        connection.execute(
            "insert into market_prices (symbol, bid, ask, source, observed_at) values (%s, %s, %s, 'test', %s)",
            (symbol, bid, ask, datetime.now(UTC)),
        )


def test_a_first_session_from_start_to_stop(data_dir: Path):
    with running("serve", "--port", "0", data_dir=data_dir) as program:
        run = program.await_ready()
        assert stat.S_IMODE((data_dir / "run.json").stat().st_mode) == 0o600
        insert_price(run["databaseUrl"], "BTC-USD", "49990", "50010")

        opened = program.call("POST", f"{API}/accounts", {"ownerId": "user-7", "cloneId": "clone-9"})
        account = f"{API}/accounts/{opened['id']}"
        assert program.call("POST", f"{account}/start", {})["status"] == "active"
        while not program.call("GET", f"{API}/prices")["data"]:
            pass
        action = {
            "decisionActionId": "a1",
            "action": "open",
            "symbol": "BTC-USD",
            "side": "long",
            "quantity": "0.5",
        }
        traded = program.call("POST", f"{account}/decision-actions", {"decisionRunId": "run-1", "actions": [action]})
        assert traded["results"][0]["fill"]["price"] == "50000.00000000"
        snapshot = program.call("GET", f"{account}/snapshot?minSeq={traded['accountSeq']}&waitMs=5000")
        assert [position["quantity"] for position in snapshot["positions"]] == ["0.50000000"]

        listed = prop("accounts", "--data-dir", str(data_dir))
        assert listed.returncode == 0, listed.stderr
        assert opened["id"] in listed.stdout
        marked = prop("mark-to-market", "once", "--data-dir", str(data_dir))
        assert "accounts 1  marked 1" in marked.stdout, marked.stderr
        verified = prop("verify", "--data-dir", str(data_dir))
        assert verified.returncode == 0, verified.stdout
        assert "ledger = tables = live state: 1 accounts" in verified.stdout
        measured = prop("bench", "--data-dir", str(data_dir), "--seconds", "0.5", "--accounts", "3", "--json")
        assert measured.returncode == 0, measured.stdout + measured.stderr
        rows = [json.loads(line) for line in measured.stdout.splitlines()]
        assert [row["name"] for row in rows] == [*(each.name for each in MEASUREMENTS), "marking pass"]
        assert all(row["requestsPerS"] > 0 for row in rows[:-1])
        assert rows[-1]["accounts"] == 4
        left = prop("accounts", "--data-dir", str(data_dir), "--json")
        assert [json.loads(line)["status"] for line in left.stdout.splitlines()] == ["active", *["completed"] * 3]
        second = prop("serve", "--data-dir", str(data_dir))
        assert second.returncode == 2
        assert "runs on" in second.stderr

        made = prop("token", "create", "reader", "--scope", "prop:read", "--data-dir", str(data_dir))
        token = made.stdout.strip()
        by_reader = ("accounts", "--url", run["url"], "--json")
        assert prop(*by_reader, PROP_TOKEN=token).returncode == 0
        refused = prop("mark-to-market", "once", "--url", run["url"], "--token", token)
        assert refused.returncode == 2
        assert "403 forbidden" in refused.stderr
        unknown = prop(*by_reader, PROP_TOKEN="x" * 40)
        assert unknown.returncode == 2
        assert "401 unauthenticated" in unknown.stderr

        family = program.family()
        assert len(family) > 4
        assert program.stop(signal.SIGINT) == 0
        assert still_alive(family) == []
        assert not (data_dir / "run.json").exists()

    # What needs only the database works without an engine: the bundled one is started for the time of the command.
    stopped = prop("verify", "--data-dir", str(data_dir))
    assert stopped.returncode == 0, stopped.stderr
    assert "live state was not checked: no engine runs on" in stopped.stdout
    tokens = prop("token", "list", "--data-dir", str(data_dir))
    assert "reader" in tokens.stdout
    reader = next(line.split()[0] for line in tokens.stdout.splitlines() if " reader " in line)
    assert prop("token", "revoke", reader, "--data-dir", str(data_dir)).returncode == 0
    again = prop("token", "revoke", reader, "--data-dir", str(data_dir))
    assert again.returncode == 1
    assert "no live token" in again.stderr
    assert prop("migrate", "--data-dir", str(data_dir)).stdout.startswith("the schema is at ")


def test_told_to_stop_while_it_starts_it_stops(data_dir: Path):
    with running("serve", "--port", "0", data_dir=data_dir) as program:
        program.read_until(lambda line: "schema" in line, seconds=60)
        family = program.family()
        assert program.stop(signal.SIGTERM) == 0
        assert still_alive(family) == []
        assert not (data_dir / "run.json").exists()


def test_a_port_that_is_taken_is_refused_at_once_when_it_was_asked_for(data_dir: Path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        done = prop("serve", "--port", port, "--data-dir", str(data_dir))
    assert done.returncode == 2
    assert f"cannot listen on 127.0.0.1:{port}" in done.stderr
    assert "Leave --port out" in done.stderr
