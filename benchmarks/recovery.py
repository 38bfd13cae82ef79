"""Recovery: accounts brought back from Postgres by the road that an account host takes, from the claim to live books.

Each account has a snapshot and a tail of five ledger events. The baseline is the least that any program does with the
same rows: `COPY ... TO STDOUT` of the snapshots and of the tails, cut into rows, the snapshots decoded from msgpack
into the structs that are hosted, the events from JSON into theirs. It claims nothing, checks no hash, applies no event.
"""

import asyncio
from collections.abc import Iterator
from typing import Final

import msgspec
import psycopg

from actors.hosting import AccountHost
from benchmarks import ledgers
from benchmarks.hosting import activate, host_on
from benchmarks.timing import Figure, side_by_side
from engine.book import BookState
from engine.events import EVENT_TYPES, Event
from tests.support.postgres import make_template, temporary_database, temporary_postgres

TARGET: Final = 3.0
"""DESIGN section 11, of 100,000 accounts."""
ROUNDS: Final = {1_000: 7, 10_000: 3, 100_000: 1}
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
        for accounts, rounds in ROUNDS.items():
            with temporary_database(server, template) as url:
                ledgers.put(url, ledgers.with_snapshots(accounts))
                name = f"{accounts:,} accounts, snapshot + {ledgers.TAIL_EVENTS} events"
                yield _compared(name, url, accounts, rounds=rounds, target=TARGET if accounts == 100_000 else None)
        for events in HISTORIES:
            with temporary_database(server, template) as url:
                ledgers.put(url, ledgers.without_snapshots(1_000, events))
                yield _compared(f"1,000 accounts, no snapshot, {events} events", url, 1_000, rounds=3)


def _compared(name: str, url: str, accounts: int, *, rounds: int, target: float | None = None) -> Figure:
    return side_by_side(
        name,
        lambda: asyncio.run(_recovered(url)),
        lambda: _copied(url),
        operations=accounts,
        rounds=rounds,
        target=target,
    )


async def _recovered(url: str) -> AccountHost:
    async with host_on(url) as (host, ids):
        await activate(host, ids)
        return host


def _copied(url: str) -> tuple[list[BookState], list[Event]]:
    """The same rows, copied and decoded."""
    with psycopg.connect(url) as connection, connection.cursor() as cursor:
        with cursor.copy(COPY_SNAPSHOTS) as copy:
            states = [_STATE.decode(state) for state, *_ in copy.rows()]
        with cursor.copy(COPY_LEDGER) as copy:
            events = [_EVENTS[type_].decode(payload[JSONB_VERSION_BYTES:]) for type_, payload, *_ in copy.rows()]
    return states, events
