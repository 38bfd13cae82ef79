"""Commits on a real server: racing activators, killed backends, stopped servers, refused rows."""

import asyncio
import random
import signal
import socket
import time
from collections.abc import AsyncIterator, Callable
from decimal import Decimal

import psutil
import psycopg
import pytest
from msgspec.structs import replace
from psycopg import AsyncConnection

from engine.book import AccountBook, replayed
from persistence import codec, group
from persistence.committer import Committer
from persistence.connections import Connection
from persistence.embedded import EmbeddedPostgres
from persistence.migrations.run import upgrade
from persistence.postgres_store import PostgresStore
from persistence.store import Append, CommitAmbiguous, DataRefused, Store, StoreUnavailable
from tests.support.authors import Author
from tests.support.books import stored_book
from tests.support.postgres import temporary_postgres

pytestmark = pytest.mark.postgres
RACE_SECONDS = 1.5
KILLED_MIN = 5


@pytest.fixture
async def store(database_url: str) -> AsyncIterator[PostgresStore]:
    async with PostgresStore.connect(database_url, pool_size_max=8, lock_timeout_ms=500) as store:
        yield store


@pytest.fixture(params=["at once", "step by step"])
def road(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """How small commits go: in one statement, or in the steps that large ones and corrections take."""
    if request.param == "step by step":
        monkeypatch.setattr(group, "at_once", lambda appends: None)
    return str(request.param)


@pytest.fixture
def step_by_step(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(group, "at_once", lambda appends: None)


@pytest.fixture
def execute(database_url: str) -> Callable[..., list[tuple[object, ...]]]:
    """Runs one statement on a connection of its own; rows, where there are any."""

    def run(statement: str, *values: object) -> list[tuple[object, ...]]:
        with psycopg.connect(database_url, autocommit=True) as connection:
            cursor = connection.execute(statement.encode(), values)
            return cursor.fetchall() if cursor.description else []

    return run


# ---------------------------------------------------------------- racing activators


class Activator:
    """Claims accounts, replays them and writes until it is fenced; remembers what was acknowledged to it."""

    def __init__(self, store: Store, authors: list[Author], chance: random.Random) -> None:
        self.store = store
        self.accounts = {author.id: author for author in authors}
        self.chance = chance
        self.acknowledged: set[tuple[str, int, bytes]] = set()
        self.fenced = 0

    async def race(self, until: float) -> None:
        committer = Committer(self.store)
        while time.monotonic() < until:
            mine = self.chance.sample(sorted(self.accounts), k=self.chance.randint(1, len(self.accounts)))
            writers = await self.activate(mine)
            while writers and time.monotonic() < until:
                appends = [self.moved(writer) for writer in writers]
                verdicts = await committer.append(appends)
                for append, verdict in zip(appends, verdicts, strict=True):
                    assert verdict in ("committed", "fenced")
                    if verdict == "committed":
                        self.acknowledged |= {(append.account_id, event.seq, event.hash) for event in append.events}
                self.fenced += verdicts.count("fenced")
                writers = [writer for writer, verdict in zip(writers, verdicts, strict=True) if verdict == "committed"]
        await committer.close()

    async def activate(self, account_ids: list[str]) -> list[Author]:
        heads = await self.store.claim(account_ids)
        writers = []
        for account_id in account_ids:
            head, book = heads[account_id], await self.replayed_to(account_id, heads[account_id].last_seq)
            if book is None:
                continue  # somebody claimed it since and wrote on
            writer = Author(0)
            writer.book = AccountBook(book.account, epoch=head.epoch, head=book.head, receipts=book.receipts)
            writer.now = book.account.last_at
            writers.append(writer)
        return writers

    async def replayed_to(self, account_id: str, seq: int) -> AccountBook | None:
        events = [event async for event in self.store.ledger({account_id: 0})]
        if events[-1].seq != seq:
            return None
        decoded = ((event, codec.decode(event.type, event.version, event.payload)) for event in events)
        book, _ = replayed(decoded, receipts_in_memory_max=0)
        return book

    def moved(self, writer: Author) -> Append:
        writer._actions = self.chance.getrandbits(60)
        return writer.close() if writer.book.account.positions else writer.open()


@pytest.mark.usefixtures("road")
async def test_racing_activators_leave_one_unbroken_ledger(
    store: PostgresStore, execute: Callable[..., list[tuple[object, ...]]]
):
    authors = [await Author(number).begin(store) for number in range(6)]
    activators = [Activator(store, authors, random.Random(seed)) for seed in range(5)]
    acknowledged: set[tuple[str, int, bytes]] = set()
    while len(acknowledged) <= 100 or sum(activator.fenced for activator in activators) <= 10:
        until = time.monotonic() + RACE_SECONDS
        await asyncio.gather(*(activator.race(until) for activator in activators))
        acknowledged = set().union(*(activator.acknowledged for activator in activators))
    ledger = set()
    for author in authors:
        await stored_book(store, author.id)  # no gap, no interleaving, no wrong hash
        ledger |= {(event.account_id, event.seq, event.hash) async for event in store.ledger({author.id: 2})}
    assert acknowledged == ledger
    (orders, fills, receipts, opened) = execute(
        "select (select count(*) from prop_orders), (select count(*) from prop_fills),"
        " (select count(*) from prop_decision_actions),"
        " (select count(*) from prop_ledger_events where type = 'order_validated')"
    )[0]
    assert orders == fills == receipts == opened


# ---------------------------------------------------------------- cut at every step


async def kill_backend(connection: AsyncConnection[tuple[object, ...]], url: str) -> None:
    async with await AsyncConnection.connect(url, autocommit=True) as other:
        await other.execute("select pg_terminate_backend(%s, 5000)", (connection.info.backend_pid,))


@pytest.mark.usefixtures("step_by_step")
async def test_a_backend_killed_before_commit_was_sent_has_written_nothing(
    store: PostgresStore, database_url: str, monkeypatch: pytest.MonkeyPatch
):
    author = await Author().begin(store)
    append = author.open()
    copy_large = group.copy_large

    async def killed(connection: Connection, moving: list[Append]) -> object:
        await kill_backend(connection, database_url)
        await connection.execute("select 1")
        return await copy_large(connection, moving)

    monkeypatch.setattr(group, "copy_large", killed)
    with pytest.raises(StoreUnavailable):
        await store.commit([append])
    monkeypatch.undo()
    assert (await store.settle([author.id]))[author.id].last_seq == 2
    assert await store.commit([append]) == {author.id: "committed"}


@pytest.mark.parametrize("happened", [True, False])
async def test_a_backend_killed_around_commit_is_settled_as_it_happened(
    store: PostgresStore, database_url: str, monkeypatch: pytest.MonkeyPatch, happened: bool, road: str
):
    author = await Author().begin(store)
    append = author.open()
    last_step = "commit_at_once" if road == "at once" else "insert_and_commit"
    commit = getattr(group, last_step)

    async def killed(connection: Connection, *what: object) -> None:
        if happened:
            await commit(connection, *what)
        await kill_backend(connection, database_url)
        await connection.execute("select 1")

    monkeypatch.setattr(group, last_step, killed)
    with pytest.raises(CommitAmbiguous):
        await store.commit([append])
    monkeypatch.undo()
    assert (await store.settle([author.id]))[author.id].last_seq == (append.last_seq if happened else 2)
    committer = Committer(store)
    assert await committer.append([append]) == ("fenced" if happened else "committed",)
    await committer.close()
    assert (await stored_book(store, author.id)).account == author.book.account


@pytest.mark.usefixtures("road")
async def test_backends_killed_at_random_lose_nothing_and_write_nothing_twice(store: PostgresStore, database_url: str):
    authors = [await Author(number).begin(store) for number in range(4)]
    committer = Committer(store)
    until = time.monotonic() + RACE_SECONDS
    killed: list[tuple[object, ...]] = []

    def is_on() -> bool:  # a busy machine takes longer to do enough harm
        return time.monotonic() < until or len(killed) <= KILLED_MIN

    async def trade(author: Author) -> None:
        while is_on():
            assert await committer.append([author.open(quantity="0.0001")]) == ("committed",)
            assert await committer.append([author.close()]) == ("committed",)

    async def kill() -> None:
        async with await AsyncConnection.connect(database_url, autocommit=True) as other:
            while is_on():
                cursor = await other.execute(
                    "select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'prop'"
                    " and datname = current_database() and state = 'active'"
                )
                killed.extend(await cursor.fetchall())
                await asyncio.sleep(random.uniform(0.01, 0.05))

    await asyncio.gather(*map(trade, authors), kill())
    await committer.close()
    async with PostgresStore.connect(
        database_url
    ) as reader:  # a backend may have heard that it is to end, and idle yet
        for author in authors:
            assert (await stored_book(reader, author.id)).account == author.book.account


async def test_settle_waits_for_a_commit_that_is_still_under_way(
    store: PostgresStore, database_url: str, execute: Callable[..., list[tuple[object, ...]]]
):
    author = await Author().begin(store)
    append = author.open()
    async with await AsyncConnection.connect(database_url, autocommit=True) as old:
        await group.move_heads(old, [append])
        settling = asyncio.create_task(store.settle([author.id]))
        while not execute("select 1 from pg_stat_activity where wait_event_type = 'Lock' and query ~ 'FOR UPDATE'"):
            await asyncio.sleep(0)
            assert not settling.done()
        await group.insert_and_commit(old, [append], await group.copy_large(old, [append]))
    assert (await settling)[author.id].last_seq == append.last_seq


async def test_a_commit_that_the_server_turned_into_a_rollback_is_none(database_url: str):
    """Which it does without an error, where the transaction had failed before."""
    async with await AsyncConnection.connect(database_url, autocommit=True) as connection:
        await connection.execute("begin")
        with pytest.raises(psycopg.DataError):
            await connection.execute("select 1 / 0")
        with pytest.raises(psycopg.InternalError, match="ROLLBACK"):
            await group.insert_and_commit(connection, [], [])


# ---------------------------------------------------------------- server faults


def kill_9(server: EmbeddedPostgres) -> None:
    process = psutil.Process(server.pid)
    process.kill()
    while process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
        time.sleep(0.01)
    server.pid = None


async def test_a_server_killed_and_restarted_under_load_keeps_what_it_acknowledged():
    with temporary_postgres() as server:
        upgrade(server.url)
        async with PostgresStore.connect(server.url, connect_timeout_ms=2_000) as store:
            authors = [await Author(number).begin(store) for number in range(4)]
            committer = Committer(store)
            restarted = asyncio.Event()

            async def trade(author: Author) -> None:
                while not restarted.is_set():
                    assert await committer.append([author.open(quantity="0.0001")]) == ("committed",)
                    assert await committer.append([author.close()]) == ("committed",)

            async def restart() -> None:
                while committer.counters.commits < 20:
                    await asyncio.sleep(0)
                await asyncio.to_thread(kill_9, server)
                await asyncio.to_thread(server.start)
                commits = committer.counters.commits
                while committer.counters.commits < commits + 20:
                    await asyncio.sleep(0)
                restarted.set()

            await asyncio.gather(*map(trade, authors), restart())
            await committer.close()
            for author in authors:
                assert (await stored_book(store, author.id)).account == author.book.account


async def test_a_stopped_server_does_not_hold_a_commit_for_ever(
    postgres_server: EmbeddedPostgres, database_url: str, road: str
):
    async with PostgresStore.connect(
        database_url, application_name="stopped", statement_timeout_ms=700, connect_timeout_ms=1_000
    ) as store:
        author = await Author().begin(store)
        append = author.open()
        with psycopg.connect(postgres_server.url_of("postgres"), autocommit=True) as other:
            pids = other.execute("select pid from pg_stat_activity where application_name = 'stopped'").fetchall()
        backends = [psutil.Process(pid) for (pid,) in pids]
        for backend in backends:
            backend.send_signal(signal.SIGSTOP)
        try:
            with pytest.raises(CommitAmbiguous if road == "at once" else StoreUnavailable):
                await asyncio.wait_for(store.commit([append]), timeout=10)
        finally:
            for backend in backends:
                backend.send_signal(signal.SIGCONT)
        done = False
        if road == "at once":  # it was sent, and the server that goes on may do it before it hears that it is to end
            done = (await store.settle([author.id]))[author.id].last_seq == append.last_seq
        assert await Committer(store).append([append]) == ("fenced" if done else "committed",)


async def test_what_settles_as_not_written_is_not_written_later(postgres_server: EmbeddedPostgres, database_url: str):
    """A commit in one statement that the server has not begun holds no lock that would tell of it."""
    async with PostgresStore.connect(
        database_url, application_name="unheard", statement_timeout_ms=700, connect_timeout_ms=1_000
    ) as store:
        author = await Author().begin(store)
        for _ in range(4):  # on every connection of the pool the statement is prepared, and only named from then on
            await store.commit([author.open(quantity="0.0001")])
        before = author.book.account.seq
        with psycopg.connect(postgres_server.url_of("postgres"), autocommit=True) as other:
            pids = other.execute("select pid from pg_stat_activity where application_name = 'unheard'").fetchall()
        backends = [psutil.Process(pid) for (pid,) in pids]
        for backend in backends:
            backend.send_signal(signal.SIGSTOP)
        try:
            with pytest.raises(CommitAmbiguous):
                await store.commit([author.close()])
            settled = await store.settle([author.id])
        finally:
            for backend in backends:
                backend.send_signal(signal.SIGCONT)
        psutil.wait_procs(backends, timeout=10)
        assert (await store.settle([author.id]))[author.id].last_seq == settled[author.id].last_seq == before


async def test_postgres_that_is_not_there_is_unavailable(unused_port: int):
    async with PostgresStore.connect(
        f"postgresql://nobody@127.0.0.1:{unused_port}/prop", connect_timeout_ms=300
    ) as store:
        author = Author()
        for call in (
            store.create(author.opening, author.first),
            store.commit([author.start()]),
            store.settle([author.id]),
            store.claim([author.id]),
            store.epochs([author.id]),
            store.snapshots([author.id]),
            store.save_snapshots([author.snapshot]),
            store.receipts(author.id, [("r", "a")]),
            store.hostable(),
            anext(store.ledger({author.id: 0})),
        ):
            with pytest.raises(StoreUnavailable):
                await call


@pytest.fixture
def unused_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


# ---------------------------------------------------------------- refused rows


def with_order(append: Append, **fields: object) -> Append:
    return replace(append, orders=(replace(append.orders[0], **fields),))


BAD = {
    "a null character": lambda append: with_order(append, symbol="BTC\0USD"),
    "a lone surrogate": lambda append: with_order(append, symbol="\ud800"),
    "not a number": lambda append: with_order(append, quantity=Decimal("NaN")),
    "infinity": lambda append: with_order(append, quantity=Decimal("Infinity")),
    "too large a number": lambda append: with_order(append, quantity=Decimal(10) ** 21),
    "an unknown word": lambda append: with_order(append, side="up"),
    "nan in the balance": lambda append: replace(append, balance=replace(append.balance, drawdown=Decimal("NaN"))),
    "a null character in the payload": lambda append: replace(
        append, events=(replace(append.events[0], payload=b'{"a":"\\u0000"}'), *append.events[1:])
    ),
    "no JSON": lambda append: replace(append, events=(replace(append.events[0], payload=b"{"), *append.events[1:])),
}


@pytest.mark.parametrize("copy_rows_min", [1, 1_000], ids=["by copy", "by insert"])
@pytest.mark.parametrize("fault", BAD.values(), ids=list(BAD))
async def test_a_row_that_storage_cannot_hold_is_refused_alone(
    store: PostgresStore, fault: Callable[[Append], Append], copy_rows_min: int, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(group, "COPY_ROWS_MIN", copy_rows_min)
    bad, *good = [await Author(number).begin(store) for number in range(4)]
    appends = [fault(bad.open()), *(author.open() for author in good)]
    with pytest.raises(DataRefused):
        await store.commit(appends)
    committer = Committer(store)
    assert await committer.append(appends) == ("refused", *["committed"] * len(good))
    await committer.close()
    assert (await store.settle([bad.id]))[bad.id].last_seq == 2


async def test_the_tables_hold_every_figure_at_scale(
    store: PostgresStore, execute: Callable[..., list[tuple[object, ...]]]
):
    author = await Author().begin(store)
    append = author.open("DUST", "1000.12345678")
    await store.commit([append])
    (fill,), (row,) = append.fills, append.positions
    assert execute("select quantity, price, notional, fee, realized_pnl from prop_fills") == [
        (fill.quantity, fill.price, fill.notional, fill.fee, fill.realized_pnl)
    ]
    assert execute("select status, quantity, mark_notional, closed_at from prop_positions") == [
        ("open", row.view.quantity, row.mark_notional, None)
    ]
    assert execute("select cash, equity, drawdown from prop_account_balances") == [
        (append.balance.cash, append.balance.equity, append.balance.drawdown)
    ]
    await store.commit([author.close("DUST")])
    assert execute("select status, quantity, closed_at is null from prop_positions") == [("closed", Decimal(0), False)]
