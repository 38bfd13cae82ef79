"""Recovery: accounts brought back from Postgres by the road that an account host takes, from the claim to live books.

Each account has a snapshot and a tail of five ledger events. Hosts are processes of their own, up and connected before
the clock starts: one, and one for each of two cores, as a start of the whole engine has them. The baseline is the least
that any program does with the same rows: `COPY ... TO STDOUT` of the snapshots and of the tails, cut into rows, the
snapshots decoded from msgpack into the structs that are hosted, the events from JSON into theirs. It claims nothing,
checks no hash and applies no event.

Rows of CPU add up what all processes spend, Postgres among them: cores that work side by side do not count as one, and
what else the machine does counts for little.
"""

import itertools
import time
from collections.abc import Iterator
from itertools import pairwise
from typing import Final, NamedTuple

import msgspec
import psutil
import psycopg

from actors.collecting import collect_seldom
from benchmarks import ledgers
from benchmarks.hosting import Spent, recovery_by
from benchmarks.timing import Figure, Sample, figure
from engine.book import BookState
from engine.events import EVENT_TYPES, Event
from persistence.embedded import EmbeddedPostgres
from tests.support.postgres import make_template, temporary_database, temporary_postgres

TARGET: Final = 3.0
"""DESIGN section 11, of 100,000 accounts."""
SIZES: Final = ((1_000, 1, 5), (10_000, 1, 3), (100_000, 1, 1), (100_000, 2, 1))
"""Accounts, hosts that share them, rounds. The target is that of the largest."""
HISTORIES: Final = (10, 100)
"""Events of accounts that have no snapshot."""

COPY_SNAPSHOTS: Final = """
COPY (SELECT state, account_id, seq, epoch, schema_version, sha256 FROM prop_account_snapshots)
TO STDOUT (FORMAT binary)
"""
COPY_LEDGER: Final = """
COPY (SELECT type, payload, account_id, seq, version, occurred_at, epoch, request_id, hash FROM prop_ledger_events)
TO STDOUT (FORMAT binary)
"""
JSONB_VERSION_BYTES: Final = 1

_STATE: Final = msgspec.msgpack.Decoder(BookState)
_EVENTS: Final = {type_.encode(): msgspec.json.Decoder(event) for type_, event in EVENT_TYPES.items()}


def figures() -> Iterator[Figure]:
    """By number of accounts, with snapshots; and by length of history, without."""
    with temporary_postgres() as server:
        template = make_template(server)
        for accounts, sizes in itertools.groupby(SIZES, key=lambda size: size[0]):
            with temporary_database(server, template) as url:
                ledgers.put(url, ledgers.with_snapshots(accounts))
                for _, hosts, rounds in sizes:
                    name = f"{accounts:,} accounts, {hosts} host{'s' * (hosts > 1)}"
                    timed = [_round(server, url, hosts) for _ in range(rounds)]
                    target = TARGET if accounts == SIZES[-1][0] else None
                    yield figure(name, [each.wall for each in timed], operations=accounts, target=target)
                    yield figure(f"{name}, CPU", [each.cpu for each in timed], operations=accounts)
        for events in HISTORIES:
            with temporary_database(server, template) as url:
                ledgers.put(url, ledgers.without_snapshots(1_000, events))
                timed = [_round(server, url, hosts=1) for _ in range(3)]
                name = f"1,000 accounts, no snapshot, {events} events"
                yield figure(name, [each.wall for each in timed], operations=1_000)


class Round(NamedTuple):
    wall: Sample
    cpu: Sample


def _round(server: EmbeddedPostgres, url: str, hosts: int) -> Round:
    """The baseline runs with an account actor's settings, too."""
    postgres_s = [_cpu_s(server)]
    subject = recovery_by(url, hosts)
    postgres_s.append(_cpu_s(server))
    collect_seldom()
    began, began_cpu = time.perf_counter(), time.process_time()
    copied = _copied(url)
    baseline = Spent(time.perf_counter() - began, time.process_time() - began_cpu)
    postgres_s.append(_cpu_s(server))
    del copied
    by_subject, by_baseline = (after - before for before, after in pairwise(postgres_s))
    return Round(
        Sample(subject.wall_s, baseline.wall_s), Sample(subject.cpu_s + by_subject, baseline.cpu_s + by_baseline)
    )


def _cpu_s(server: EmbeddedPostgres) -> float:
    """CPU seconds of all its processes so far, of those that are gone and of those that live, none of them ending
    meanwhile: it would be among neither, or both."""
    postmaster = psutil.Process(server.pid)
    while True:
        own = postmaster.cpu_times()
        try:
            living = [backend.cpu_times() for backend in postmaster.children()]
        except psutil.NoSuchProcess:
            continue
        if own == postmaster.cpu_times():
            gone = own.children_user + own.children_system
            return float(sum((each.user + each.system for each in (own, *living)), gone))


def _copied(url: str) -> tuple[list[BookState], list[Event]]:
    """The same rows, copied and decoded."""
    with psycopg.connect(url) as connection, connection.cursor() as cursor:
        with cursor.copy(COPY_SNAPSHOTS) as copy:
            states = [_STATE.decode(state) for state, *_ in copy.rows()]
        with cursor.copy(COPY_LEDGER) as copy:
            events = [_EVENTS[type_].decode(payload[JSONB_VERSION_BYTES:]) for type_, payload, *_ in copy.rows()]
    return states, events
