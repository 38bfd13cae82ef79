"""The rows: `prop serve` as its users call it, beside pgbench and beside a plain service, on one PostgreSQL.

Everything that is measured runs one after another within each round: nothing else is busy meanwhile but an idle engine.
"""

import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final, NamedTuple

import msgspec
import psycopg

from benchmarks.actions.native import NativeActions
from benchmarks.timing import Figure, Sample, figure
from gateway.load import SMALLEST, Answers
from persistence.embedded import EmbeddedPostgres
from tests.support.postgres import make_template, temporary_postgres
from tests.support.served import TOKEN, Served, served

SECONDS: Final = 4.0
ROUNDS: Final = 3
CONNECTIONS: Final = 64
PACKED_ACCOUNTS: Final = 500
DEDICATED_ACCOUNTS: Final = 20
NATIVE_CLIENTS: Final = 8
QUOTE_PERIOD_S: Final = 5.0
THROUGHPUT: Final = Path(__file__).parents[2] / "configs" / "scale.toml"


class Measured(NamedTuple):
    """What one action took: by the rate of all connections, and by the median request."""

    action_s: float
    p50_s: float


class Row(NamedTuple):
    """A subject and its baseline by their names among what a round measures; `by_latency`: by p50, not by rate."""

    name: str
    subject: str
    baseline: str
    target: float | None = None
    by_latency: bool = False


PACKED_ROWS: Final = (
    Row("singles, 64 connections : pgbench, 8 clients", "1 x 64", "pgbench 8", 1 / 2),
    Row("tens, 64 connections : pgbench, 8 clients", "10 x 64", "pgbench 8", 1 / 8),
    Row("singles, 64 connections : plain service", "1 x 64", "plain 1 x 64", 1 / 10),
    Row("tens, 64 connections : plain service", "10 x 64", "plain 10 x 64", 1 / 10),
    Row("single, 1 connection, p50 : pgbench, 1 client", "1 x 1", "pgbench 1", 2.5, by_latency=True),
    Row("single, 1 connection, p50 : plain service", "1 x 1", "plain 1 x 1", by_latency=True),
    Row("ten, 1 connection, p50 : pgbench, 1 client", "10 x 1", "pgbench 1", by_latency=True),
)
DEDICATED_ROWS: Final = (
    Row("dedicated, singles, 64 connections : pgbench 8", "1 x 64", "pgbench 8"),
    Row("dedicated, tens, 64 connections : pgbench 8", "10 x 64", "pgbench 8"),
    Row("dedicated, single, 1 connection, p50 : pgbench 1", "1 x 1", "pgbench 1", by_latency=True),
)


def figures() -> Iterator[Figure]:
    """The table: packed accounts in the throughput setting, then an actor an account."""
    with temporary_postgres() as server:
        make_template(server)
        for setting, accounts, rows in (
            (("--config", str(THROUGHPUT)), PACKED_ACCOUNTS, PACKED_ROWS),
            ((), DEDICATED_ACCOUNTS, DEDICATED_ROWS),
        ):
            with stage(server, accounts, setting) as measures:
                wanted = {name for row in rows for name in (row.subject, row.baseline)}
                yield from compared(rows, {name: measures[name] for name in measures if name in wanted})


def compared(rows: Sequence[Row], measures: dict[str, Callable[[], Measured]]) -> Iterator[Figure]:
    """Run all measures in turn, round by round, and set subjects beside their baselines."""
    rounds = [{name: measure() for name, measure in measures.items()} for _ in range(ROUNDS)]
    for row in rows:
        place = 1 if row.by_latency else 0
        samples = [Sample(each[row.subject][place], each[row.baseline][place]) for each in rounds]
        yield figure(row.name, samples, operations=1, target=row.target)


@contextmanager
def stage(
    server: EmbeddedPostgres, accounts: int, setting: Sequence[str]
) -> Iterator[dict[str, Callable[[], Measured]]]:
    """An engine in a setting, with accounts that trade; and its two rivals in a database of their own."""
    ours, theirs = (server.create_database(f"{name}_{accounts}", "prop_template") for name in ("ours", "theirs"))
    with ExitStack() as held:
        folder = Path(held.enter_context(tempfile.TemporaryDirectory(prefix="prop-bench-")))
        engine = held.enter_context(served(folder, options=setting, PROP_DATABASE_URL=ours, PROP_LOG__LEVEL="warning"))
        held.enter_context(quoted(engine))
        with ThreadPoolExecutor(8) as pool:
            ids = list(pool.map(lambda number: engine.trading_account(f"clone-{number}"), range(accounts)))
        for key in ("opens", "adds"):  # every action of the benchmark adds, and the native one is made after its rows
            for account in ids:
                engine.act(account, key, quantity=SMALLEST)
        native = NativeActions(theirs, accounts=accounts, recorded=ours)
        plain = held.enter_context(_plain_service(theirs))
        plain_ids = [f"00000000-0000-7000-8000-{number:012d}" for number in range(1, accounts + 1)]
        measures: dict[str, Callable[[], Measured]] = {}
        for connections in (CONNECTIONS, 1):
            for actions in (1, 10):
                shape = f"{actions} x {connections}"
                measures[shape] = _loading(engine.url, ids, connections, actions)
                patience = 3 if actions > 1 else 1  # a ten takes it ten transactions, a second where it is busy
                measures[f"plain {shape}"] = _loading(plain, plain_ids, connections, actions, SECONDS * patience)
        for clients in (NATIVE_CLIENTS, 1):
            measures[f"pgbench {clients}"] = _running(native, clients)
        yield measures


def _loading(
    url: str, accounts: Sequence[str], connections: int, actions: int, seconds: float = SECONDS
) -> Callable[[], Measured]:
    options = {"token": TOKEN, "accounts": ",".join(accounts), "connections": connections, "actions": actions}
    command = [sys.executable, "-m", "gateway.load", url, f"--seconds={seconds}"]
    command += [f"--{name}={value}" for name, value in options.items()]

    def load() -> Measured:
        ran = subprocess.run(command, stdout=subprocess.PIPE, check=True)
        answers = msgspec.json.decode(ran.stdout, type=Answers)
        if not answers.are_well:
            raise RuntimeError(f"not everything was executed: {answers.by_status}")
        return Measured(1 / answers.actions_per_s, answers.p50_ms / 1000)

    return load


def _running(native: NativeActions, clients: int) -> Callable[[], Measured]:
    def run() -> Measured:
        found = native.run(clients=clients, seconds=SECONDS)
        return Measured(1 / found.actions_per_s, found.p50_ms / 1000)

    return run


@contextmanager
def quoted(engine: Served) -> Iterator[None]:
    """A price that stays fresh."""
    engine.observe("BTC-USD", "50000")
    over = threading.Event()

    def quote() -> None:
        while not over.wait(QUOTE_PERIOD_S):
            engine.observe("BTC-USD", "50000", seen=False)

    feed = threading.Thread(target=quote, daemon=True)
    feed.start()
    try:
        yield
    finally:
        over.set()
        feed.join()


@contextmanager
def _plain_service(database_url: str) -> Iterator[str]:
    """Its URL."""
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(
            "INSERT INTO market_prices (symbol, bid, ask, observed_at) VALUES ('BTC-USD', 50000, 50000, now())"
        )
    command = [sys.executable, "-m", "benchmarks.actions.plain", database_url]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as service:
        try:
            yield service.stdout.readline().strip() if service.stdout else ""
        finally:
            service.terminate()
