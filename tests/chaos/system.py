"""The system under chaos: `prop serve` on a PostgreSQL of its own behind a proxy, and every way to hurt it."""

import contextlib
import os
import signal
import socket
import threading
import time
import urllib.request
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from email.utils import parsedate_to_datetime
from pathlib import Path
from random import Random

import psutil
import psycopg

from persistence.embedded import EmbeddedPostgres, EmbeddedPostgresError
from tests.chaos import disk
from tests.chaos.clock import Clock
from tests.chaos.proxy import Proxy, proxy
from tests.support.served import Served, eventually

SYMBOLS = {"BTC-USD": 50_000, "ETH-USD": 3_000}
FEED_EVERY_S = 0.5
COMMIT_DELAY_US = 3_000
"""Holds every COMMIT open a little, so that faults find one under way."""


class System:
    """One engine, its database, and its prices. Runs until `stop`."""

    def __init__(self, folder: Path, line: Proxy, volume: disk.Volume | None, **environment: str) -> None:
        self.line = line
        self.volume = volume
        self.clock = Clock(folder)
        settings = {"commit_delay": str(COMMIT_DELAY_US), "commit_siblings": "0"} | disk.SETTINGS
        self.postgres = EmbeddedPostgres(folder / "postgres", settings=settings)
        self.postgres.start()
        self.direct_url = self.postgres.create_database("chaos")
        line.lead_to(_port_of(self.direct_url))
        self.engine = Served(
            folder / "state",
            _free_port(),
            PROP_DATABASE_URL=self.direct_url.replace(f":{_port_of(self.direct_url)}/", f":{line.port}/"),
            PROP_MARKING__CADENCE_MS="1000",
            **environment,
        )
        self.feed_is_frozen = False
        self._stopping = threading.Event()
        self._feed = threading.Thread(target=self._observe_for_ever, name="feed")

    def start(self) -> None:
        self.engine.start()
        self._feed.start()

    def stop(self) -> None:
        self._stopping.set()
        if self._feed.is_alive():
            self._feed.join()
        try:
            self.engine.stop()
        finally:
            self.engine.kill_everything()
            self.postgres.stop()

    # -- ways to hurt it ------------------------------------------------------------------------------------

    def pick(self, chance: Random, title: str) -> psutil.Process | None:
        """A process of the engine whose title begins so; None where there is none just now."""
        found = sorted(self.engine.processes(title), key=lambda process: process.pid)
        return chance.choice(found) if found else None

    def kill_postgres(self) -> None:
        """kill -9 of the postmaster and its children, then a start as a service manager would make it."""
        postmaster = psutil.Process(int((self.postgres.cluster / "postmaster.pid").read_text().splitlines()[0]))
        doomed = [postmaster, *postmaster.children(recursive=True)]
        for process in doomed:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        psutil.wait_procs(doomed, timeout=10)
        self.start_postgres()

    def start_postgres(self) -> None:
        eventually(self._postgres_comes_up, "a PostgreSQL that stays up", seconds_max=60)
        self.direct_url = self.postgres.url_of("chaos")
        self.line.lead_to(_port_of(self.direct_url))

    def _postgres_comes_up(self) -> bool:
        try:
            self.postgres.start()
        except EmbeddedPostgresError:
            return False  # found on its way out: a service manager starts it again
        return True

    def refuses_rows(self) -> bool:
        """Whether the database has no room for a megabyte, or is down for the want of it."""
        try:
            with psycopg.connect(self.postgres.url_of("postgres"), connect_timeout=2) as connection:
                connection.execute("create table probe as select repeat('x', 1000) from generate_series(1, 1000)")
                connection.rollback()
        except psycopg.OperationalError:  # DiskFull is one
            return True
        return False

    def a_worker_said(self, words: str) -> bool:
        """Whether it stands in what an actor of the running engine has logged."""
        flag = "--session-dir="
        sessions = {
            Path(word.removeprefix(flag))
            for process in self.engine.processes(flag)
            for word in process.cmdline()
            if word.startswith(flag)
        }
        logs = (log for session in sessions for log in session.glob("logs/worker-*.err"))
        return any(words in log.read_text(errors="replace") for log in logs)

    def end_a_backend(self) -> None:
        """pg_terminate_backend of one connection of the engine."""
        with psycopg.connect(self.direct_url, autocommit=True) as connection:
            connection.execute(
                "select pg_terminate_backend(pid) from pg_stat_activity"
                " where datname = current_database() and pid <> pg_backend_pid() order by random() limit 1"
            )

    def engine_is_ahead(self, seconds: float) -> bool:
        """Whether the gateway's clock is so far from ours, give or take a minute."""
        with urllib.request.urlopen(f"{self.engine.url}/livez", timeout=10) as answer:
            ahead = parsedate_to_datetime(answer.headers["Date"]) - datetime.now(UTC)
        return abs(ahead.total_seconds() - seconds) < 60

    # -- prices ---------------------------------------------------------------------------------------------

    def _observe_for_ever(self) -> None:
        chance = Random(1)
        while not self._stopping.wait(FEED_EVERY_S):
            if self.feed_is_frozen:
                continue
            with contextlib.suppress(psycopg.Error):  # the database may be away: the next quote comes soon
                self._observe(chance)

    def _observe(self, chance: Random) -> None:
        with psycopg.connect(self.direct_url, autocommit=True, connect_timeout=2) as connection:
            for symbol, price in SYMBOLS.items():
                bid = Decimal(price) * chance.randint(9_990, 10_010) / 10_000
                connection.execute(
                    "insert into market_prices (symbol, bid, ask, source, observed_at)"
                    " values (%s, %s, %s, 'chaos', clock_timestamp())",
                    (symbol, bid, bid + 1),
                )


def signalled(process: psutil.Process | None, number: signal.Signals) -> bool:
    """Whether the signal reached it."""
    if process is None:
        return False
    try:
        os.kill(process.pid, number)
    except ProcessLookupError:
        return False
    return True


@contextlib.contextmanager
def system(folder: Path, *, on_a_volume: bool = False, **environment: str) -> Iterator[System]:
    """A started system, stopped at the end whatever happened; its database on a volume that can be filled, if asked."""
    with proxy() as line, disk.volume(folder / "postgres") if on_a_volume else contextlib.nullcontext() as volume:
        made = System(folder, line, volume, **environment)
        try:
            made.start()
            yield made
        finally:
            made.stop()


def _port_of(url: str) -> int:
    return int(url.rsplit("@", 1)[1].split("/", 1)[0].rsplit(":", 1)[1])


def _free_port() -> int:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return int(listening.getsockname()[1])


def wait_s(seconds: float) -> None:
    """A fault lasts this long: the one place where time itself is what is waited for."""
    time.sleep(seconds)
