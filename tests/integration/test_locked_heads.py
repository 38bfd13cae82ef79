"""Head rows that somebody keeps locked: backends that hang, lines that went dead, strangers (G8)."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

import psycopg
import pytest
from psycopg import AsyncConnection
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from persistence import group, postgres_store, statements
from persistence.committer import Committer
from persistence.connections import IDLE_IN_TRANSACTION_MS, Connection
from persistence.postgres_store import PostgresStore
from persistence.store import Append, CommitAmbiguous, StoreUnavailable
from tests.support.authors import Author, account_id
from tests.support.books import stored_book

pytestmark = pytest.mark.postgres


@pytest.fixture
async def store(database_url: str) -> AsyncIterator[PostgresStore]:
    async with PostgresStore.connect(database_url, pool_size_max=4, lock_timeout_ms=500) as store:
        yield store


async def test_an_account_that_a_stranger_keeps_locked_keeps_nobody_else_waiting(
    store: PostgresStore, database_url: str
):
    locked, *others = [await Author(number).begin(store) for number in range(3)]
    append, committer = locked.open(), Committer(store)
    async with await AsyncConnection.connect(database_url) as other:
        await other.execute(statements.LOCK_HEADS, ([locked.id],))
        together = [append, *(author.open() for author in others)]
        async with asyncio.timeout(2):
            assert await committer.append(together) == ("unknown", "committed", "committed")
            assert await committer.append([author.close() for author in others]) == ("committed", "committed")
        await other.rollback()
    assert await committer.append([append]) == ("committed",), "nothing of it had been written"
    await committer.close()
    for author in (locked, *others):
        assert (await stored_book(store, author.id)).account == author.book.account


async def test_a_lost_commit_is_settled_also_beside_an_account_that_is_locked(
    store: PostgresStore, database_url: str, monkeypatch: pytest.MonkeyPatch
):
    locked, *others = [await Author(number).begin(store) for number in range(3)]
    appends, committer = [author.open() for author in (locked, *others)], Committer(store)
    commit_at_once = group.commit_at_once
    monkeypatch.setattr(postgres_store, "SETTLE_LOCK_MS", 100)
    monkeypatch.setattr(postgres_store, "SETTLE_SECONDS_MAX", 0.3)
    async with await AsyncConnection.connect(database_url) as other:

        async def lost(connection: Connection, values: Sequence[str]) -> None:
            monkeypatch.setattr(group, "commit_at_once", commit_at_once)
            await commit_at_once(connection, values)
            await other.execute(statements.LOCK_HEADS, ([locked.id],))
            raise psycopg.OperationalError("the answer was lost")

        monkeypatch.setattr(group, "commit_at_once", lost)
        async with asyncio.timeout(5):
            assert await committer.append(appends) == ("unknown", "committed", "committed")
        await other.rollback()
    await committer.close()
    for author in (locked, *others):
        assert (await stored_book(store, author.id)).account == author.book.account


async def test_a_fence_holds_also_beside_an_account_that_is_locked(store: PostgresStore, database_url: str):
    locked, stale, well = [await Author(number).begin(store) for number in range(3)]
    appends = [author.open() for author in (locked, stale, well)]
    await store.claim([stale.id])
    async with await AsyncConnection.connect(database_url) as other:
        await other.execute(statements.LOCK_HEADS, ([locked.id],))
        verdicts = await store.commit([*appends, Author(9).start()])
    assert verdicts == {locked.id: "locked", stale.id: "fenced", well.id: "committed", account_id(9): "fenced"}


async def test_a_claim_of_many_goes_without_those_that_somebody_keeps_locked(store: PostgresStore, database_url: str):
    locked, well = [await Author(number).begin(store) for number in range(2)]
    async with await AsyncConnection.connect(database_url) as other:
        await other.execute(statements.LOCK_HEADS, ([locked.id],))
        heads = await store.claim([locked.id, well.id])
        assert {account_id: head.epoch for account_id, head in heads.items()} == {well.id: 2}
        with pytest.raises(StoreUnavailable, match="lock timeout"):
            await store.claim([locked.id])
    assert (await store.claim([locked.id]))[locked.id].epoch == 2


async def test_a_backend_that_hangs_on_to_the_heads_is_ended(store: PostgresStore, database_url: str):
    author = await Author().begin(store)
    async with await AsyncConnection.connect(database_url, application_name="prop") as hanging:
        await hanging.execute(statements.LOCK_HEADS, ([author.id],))
        store._in_doubt[hanging.info.backend_pid] = {author.id}
        heads = await store.settle([author.id])
        assert heads[author.id].last_seq == 2
        with pytest.raises(psycopg.OperationalError):
            await hanging.execute("select 1")
    assert store._in_doubt == {}


async def test_a_backend_that_does_not_know_that_its_client_is_gone_is_ended(
    database_url: str, monkeypatch: pytest.MonkeyPatch
):
    """A line that went dead: the server would wait for more, with the heads locked, until its own patience ends."""
    async with one_way_out(database_url) as (url, cut), PostgresStore.connect(url) as store:
        author = await Author().begin(store)

        async def cut_off(connection: Connection, moving: list[Append], few: list[object]) -> None:
            cut()
            await connection.execute("select 1")

        monkeypatch.setattr(group, "at_once", lambda appends: None)
        monkeypatch.setattr(group, "insert_and_commit", cut_off)
        monkeypatch.setattr(postgres_store, "SETTLE_LOCK_MS", 100)
        with pytest.raises(CommitAmbiguous):
            await store.commit([author.open()])
        async with asyncio.timeout(IDLE_IN_TRANSACTION_MS / 1000 / 2):
            assert (await store.settle([author.id]))[author.id].last_seq == 2
        assert store._in_doubt == {}


@asynccontextmanager
async def one_way_out(url: str) -> AsyncIterator[tuple[str, Callable[[], None]]]:
    """Another address of the database, and what cuts off all who use it: the server is never told."""
    fields = conninfo_to_dict(url)
    clients: list[asyncio.StreamWriter] = []
    servers: list[asyncio.StreamWriter] = []

    async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection("127.0.0.1", fields["port"])
        clients.append(writer)
        servers.append(back)
        await asyncio.gather(forward(reader, back), forward(there, writer))

    async def forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while chunk := await reader.read(65_536):
            if not writer.is_closing():
                writer.write(chunk)

    def cut() -> None:
        for writer in clients:
            writer.transport.abort()

    async with await asyncio.start_server(carry, "127.0.0.1", 0) as proxy:
        port = proxy.sockets[0].getsockname()[1]
        yield make_conninfo(url, host="127.0.0.1", port=port), cut
        for writer in (*clients, *servers):
            writer.transport.abort()
