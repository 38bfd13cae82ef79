"""A served engine's ledger in the simulation: decided again to the byte, and gone on from at any place of it."""

import asyncio
import bisect
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyarrow import parquet

from engine.events import RecordedEvent
from engine.quotes import Quotes
from engine.simulation.frames import prices_of
from engine.simulation.prices import PriceTable
from engine.simulation.retrace import Placed, retraced
from engine.simulation.units import microseconds
from persistence import codec
from persistence.postgres_store import PostgresStore
from persistence.recovery import LedgerBroken
from persistence.rewinding import book_at
from tests.support.served import Served, eventually

pytestmark = [pytest.mark.ray, pytest.mark.postgres]

WIDE = {"maxNotional": "400000", "maxDrawdown": "0.3", "slippageModel": "spread", "feeBps": "7.5"}


def observe(engine: Served, account: str, symbol: str, bid: str, ask: str) -> None:
    """A quote that the account's own host has seen."""
    engine.observe(symbol, bid, ask)

    def shows() -> bool:
        seen = engine.get(f"/api/v1/prop/accounts/{account}/decision-context")["symbols"]
        return any(
            each["symbol"] == symbol and each["quote"] and float(each["quote"]["bid"]) == float(bid) for each in seen
        )

    eventually(shows, f"{symbol} at {bid} where the account is")


def mark(engine: Served, account: str) -> None:
    engine.post(f"/api/v1/prop/accounts/{account}/mark-to-market")


@pytest.fixture(scope="module")
def account(engine: Served) -> str:
    """One that has filled, added, reduced, gone short, been refused, marked, and was liquidated."""
    engine.observe("BTC-USD", "50000", "50010")
    account = engine.trading_account("simulated", policy=WIDE)
    observe(engine, account, "ETH-USD", "2000", "2000.5")
    engine.act(account, "a1", quantity="2", rationale="“breakout”")
    engine.act(account, "a2", quantity="90")
    engine.act(account, "a3", symbol="ETH-USD", side="short", notional="12345.67", leverage="2.5")
    observe(engine, account, "BTC-USD", "51000.12345678", "51010")
    mark(engine, account)
    engine.act(account, "a4", action="reduce", fraction="0.33333333")
    engine.act(account, "a5", action="reduce", quantity="5")
    engine.act(account, "a6", symbol="DOGE-USD", quantity="1")
    engine.act(account, "a7", action="hold")
    observe(engine, account, "BTC-USD", "20000", "20010")
    mark(engine, account)
    engine.act(account, "a8", quantity="1")
    assert engine.get(f"/api/v1/prop/accounts/{account}")["status"] == "liquidated"
    return account


async def ledger(engine: Served, account: str) -> list[Placed]:
    async with PostgresStore.connect(engine.database_url, pool_size_max=1) as store:
        events = [each async for each in store.ledger({account: 0})]
    return [(each, codec.decode(each.type, each.version, each.payload)) for each in events]


def history(engine: Served) -> PriceTable:
    """Every quote that Data Ingestion ever wrote."""
    rows = engine.execute("select observed_at, symbol, bid, ask from market_prices order by observed_at")
    at, symbol, bid, ask = zip(*rows, strict=True)
    times = pa.array(at, pa.timestamp("us", "UTC"))
    money = pa.decimal128(28, 8)
    frame = pa.table({"time": times, "symbol": symbol, "bid": pa.array(bid, money), "ask": pa.array(ask, money)})
    return prices_of(frame, source="test")


def test_the_ledger_of_a_served_engine_is_decided_again_byte_for_byte(engine: Served, account: str) -> None:
    placed, table = asyncio.run(ledger(engine, account)), history(engine)
    times = table.times.tolist()

    def quotes(recorded: RecordedEvent) -> Quotes:
        return table.quotes(bisect.bisect_right(times, microseconds(recorded.occurred_at)) - 1)

    made, difference = retraced(placed, quotes)
    assert difference is None
    assert made == [recorded for recorded, _ in placed]
    types = {recorded.type for recorded, _ in placed}
    assert {"action_rejected", "position_reduced", "mark_to_market", "account_liquidated"} <= types


def prop(engine: Served, *arguments: str) -> dict[str, Any]:
    command = [
        sys.executable,
        "-m",
        "gateway.cli",
        "simulate",
        "--data-dir",
        str(engine.data_dir),
        "--json",
        *arguments,
    ]
    done = subprocess.run(command, env=os.environ, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stderr
    said: dict[str, Any] = json.loads(done.stdout)
    return said


def test_an_account_goes_on_from_any_place_of_its_ledger(engine: Served, account: str, tmp_path: Path) -> None:
    placed = asyncio.run(ledger(engine, account))
    marked = next(recorded for recorded, _ in placed if recorded.type == "mark_to_market")
    stood = json.loads(marked.payload)
    went_on = ("--prices", "synthetic:7:calm", "--ticks", "30", "--strategy", "idle", "--accounts", "2")
    there = ("--from-account", account, "--at-seq", str(marked.seq))
    said = prop(engine, *went_on, *there, "--sweep", "max_drawdown=0.01,0.5", "--out", str(tmp_path))
    assert [line["accounts"] for line in said["variants"]] == [2, 2]
    rows = parquet.read_table(tmp_path / "accounts.parquet").to_pylist()
    assert {row["account_id"] for row in rows} == {account}
    assert {row["starting_balance"] for row in rows} == {100_000}
    equity = parquet.read_table(tmp_path / "equity.parquet").to_pylist()
    first = equity[60]  # of account 2, the first whose drawdown limit is wide
    assert (first["account"], first["tick"]) == (2, 0)
    assert first["at"].timestamp() > marked.occurred_at.timestamp()
    assert abs(float(first["equity"]) - float(stood["equity"])) < 5_000, "BTC-USD begins again near 50,000"
    assert asyncio.run(ledger(engine, account)) == placed, "nothing is written"


def test_what_cannot_go_on_is_refused(engine: Served, account: str) -> None:
    async def at(account_id: str, seq: int | None) -> Any:
        async with PostgresStore.connect(engine.database_url, pool_size_max=1) as store:
            return await book_at(store, account_id, seq)

    whole = asyncio.run(at(account, None))
    assert whole.account.status == "liquidated"
    assert asyncio.run(at(account, 3)).account.seq == 3
    assert asyncio.run(at("019b8e2a-0000-7000-8000-000000000001", None)) is None
    with pytest.raises(LedgerBroken, match=f"the ledger ends at seq {whole.account.seq}"):
        asyncio.run(at(account, 10_000))
    command = [sys.executable, "-m", "gateway.cli", "simulate", "--data-dir", str(engine.data_dir)]
    done = subprocess.run(
        [*command, "--from-account", account], env=os.environ, capture_output=True, text=True, timeout=100, check=False
    )
    assert done.returncode == 2
    assert "only an active one goes on" in done.stderr
