"""The log of all accounts: whatever order transactions commit in, a reader misses nothing and sees nothing twice."""

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from itertools import pairwise

import psycopg
import pytest

from persistence.event_log import BEGINNING, EventLog, Place
from persistence.migrations import run
from persistence.pools import connection_pool
from persistence.postgres_store import PostgresStore
from persistence.queries import LIMIT_MAX
from tests.support.lively import Life, lively

pytestmark = pytest.mark.postgres

INSERT = (
    "insert into prop_ledger_events (account_id, seq, type, version, occurred_at, epoch, request_id, payload, hash)"
    " values (%s, %s, 't', 1, now(), 0, 'r', '{}', sha256('x'))"
)
WRITERS, TRANSACTIONS = 8, 40

Seen = list[tuple[str, int]]


@pytest.fixture
async def log(database_url: str) -> AsyncIterator[EventLog]:
    async with connection_pool(database_url, connections_max=2, read_only=True) as pool:
        yield EventLog(pool)


async def everything(log: EventLog, place: Place = BEGINNING, limit: int = 7) -> Seen:
    seen: Seen = []
    while True:
        page = await log.after(place, limit=limit)
        seen += [(logged.event.account_id, logged.event.seq) for logged in page]
        if len(page) < limit:
            return seen
        place = page[-1].place


async def test_every_event_of_every_account_once_and_each_account_in_order(database_url: str, log: EventLog):
    async with PostgresStore.connect(database_url) as store:
        lives = await lively(store)
    seen = await everything(log)
    assert len(seen) == len(set(seen))
    for life in lives:
        assert [seq for account, seq in seen if account == life.id] == list(range(1, life.book.account.seq + 1))


async def write_out_of_order(url: str, number: int) -> Seen:
    """One account, transaction by transaction; each waits with its COMMIT while those of others overtake it."""
    chance, account, written = random.Random(number), f"00000000-0000-7000-8000-{number:012}", []
    async with await psycopg.AsyncConnection.connect(url) as connection:
        for seq in range(1, TRANSACTIONS + 1):
            await connection.execute(INSERT, (account, seq))
            await asyncio.sleep(chance.choice((0, 0, 0.001, 0.02)))
            await connection.commit()
            written.append((account, seq))
    return written


async def raced(url: str, read: Callable[[], Awaitable[Seen]]) -> tuple[Seen, Seen]:
    """What the writers wrote, and what a reader who never stopped reading saw."""
    writers = asyncio.gather(*(write_out_of_order(url, number) for number in range(WRITERS)))
    seen: Seen = []
    while not writers.done():
        seen += await read()
    return [event for written in writers.result() for event in written], seen + await read()


async def test_a_reader_misses_nothing_while_transactions_commit_out_of_order(database_url: str, log: EventLog):
    place = BEGINNING

    async def read() -> Seen:
        nonlocal place
        page = await log.after(place, limit=LIMIT_MAX)
        place = page[-1].place if page else place
        return [(logged.event.account_id, logged.event.seq) for logged in page]

    written, seen = await raced(database_url, read)
    assert sorted(seen) == sorted(written)
    for number in range(WRITERS):
        mine = [seq for account, seq in seen if account.endswith(f"{number:012}")]
        assert all(before < after for before, after in pairwise(mine))


async def test_a_sequence_would_miss_some_in_the_same_race(database_url: str):
    """Why the log is ordered by transactions: the test above can tell."""
    async with await psycopg.AsyncConnection.connect(database_url, autocommit=True) as reader:
        await reader.execute("alter table prop_ledger_events add column number bigserial")
        last = 0

        async def read() -> Seen:
            nonlocal last
            query = "select number, account_id::text, seq from prop_ledger_events where number > %s order by number"
            found = await (await reader.execute(query, (last,))).fetchall()
            last = found[-1][0] if found else last
            return [(account, seq) for _, account, seq in found]

        written, seen = await raced(database_url, read)
    assert set(seen) < set(written)


async def test_an_open_transaction_holds_the_end_back_and_loses_nothing(database_url: str, log: EventLog):
    early, late = "00000000-0000-7000-8000-000000000001", "00000000-0000-7000-8000-000000000002"
    async with (
        await psycopg.AsyncConnection.connect(database_url) as slow,
        await psycopg.AsyncConnection.connect(database_url, autocommit=True) as quick,
    ):
        await slow.execute(INSERT, (early, 1))
        await quick.execute(INSERT, (late, 1))
        assert await everything(log) == []
        end = await log.end()
        await slow.commit()
        assert await everything(log) == [(early, 1), (late, 1)]
        assert await everything(log, end) == [(early, 1), (late, 1)]
    assert await everything(log, await log.end()) == []


async def test_readers_need_no_special_right(database_url: str, log: EventLog):
    async with await psycopg.AsyncConnection.connect(database_url, autocommit=True) as connection:
        await connection.execute("create role plain")
        try:
            await connection.execute("set role plain")
            cursor = await connection.execute("select system_identifier::text from pg_control_system()")
            assert await cursor.fetchone() == (await log.cluster(),)
        finally:
            await connection.execute("reset role")
            await connection.execute("drop role plain")


async def test_a_dump_from_an_older_cluster_comes_before_what_is_written_next(database_url: str, log: EventLog):
    account = "00000000-0000-7000-8000-000000000001"
    async with await psycopg.AsyncConnection.connect(database_url, autocommit=True) as connection:
        for seq, ahead in ((1, 10**9), (2, 10**9 + 5)):  # as a restore writes them: with the xid of where they were
            statement = INSERT.replace("hash)", "hash, commit_xid)").replace(
                "sha256('x'))", "sha256('x'), %s::text::xid8)"
            )
            await connection.execute(statement, (account, seq, str(ahead)))
        assert await everything(log) == []
        await asyncio.to_thread(run.upgrade, database_url)
        await connection.execute(INSERT, (account, 3))
        assert await everything(log) == [(account, 1), (account, 2), (account, 3)]
        await asyncio.to_thread(run.upgrade, database_url)
        assert await everything(log, limit=100) == [(account, 1), (account, 2), (account, 3)]


async def test_an_installation_has_one_secret(database_url: str, log: EventLog):
    secret = await log.secret()
    assert len(secret) == 32
    assert await log.secret() == secret


async def test_reading_the_end_of_a_long_log_touches_only_the_end(database_url: str, log: EventLog):
    async with PostgresStore.connect(database_url) as store:
        life = Life(store, 1)
        await life.begin()
    async with await psycopg.AsyncConnection.connect(database_url, autocommit=True) as connection:
        await connection.execute(
            "insert into prop_ledger_events (account_id, seq, type, version, occurred_at, epoch, request_id, payload,"
            " hash) select gen_random_uuid(), 1, 't', 1, now(), 0, 'r', '{}', sha256('x')"
            " from generate_series(1, 20000)"
        )
        await connection.execute("analyze prop_ledger_events")
        end = await log.end()
        cursor = await connection.execute(
            "explain (analyze, format json) select from prop_ledger_events where (commit_xid, account_id, seq) >"
            " (%s::text::xid8, %s::uuid, %s::bigint) and commit_xid < pg_snapshot_xmin(pg_current_snapshot())"
            " order by commit_xid, account_id, seq limit 500",
            (str(end.xid), end.account_id, end.seq),
        )
        plan = str(await cursor.fetchone())
    assert "Seq Scan" not in plan
    assert "Sort'" not in plan
