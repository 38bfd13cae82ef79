"""Reads for the gateway on real tables: the engine's own views, in pages that neither skip nor repeat."""

from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime
from typing import Any, Literal

import psycopg
import pytest

from engine.book import AccountBook
from engine.canonical import canonical
from engine.changes import Changes, PlacedEvent, changes
from engine.views import account_view
from persistence import codec
from persistence.pools import connection_pool
from persistence.postgres_store import PostgresStore
from persistence.queries import LIMIT_MAX, AccountFilter, ActionFilter, Page, Queries
from persistence.store import Head, StoreUnavailable
from tests.support.lively import Life, ids, lively

pytestmark = pytest.mark.postgres

UNKNOWN = ["019b8e2a-0000-7000-8000-000000000001", "no-uuid", "", "\x00", "{019b8e2a-0000-7000-8000-000000000001}"]


@pytest.fixture
async def store(database_url: str) -> AsyncIterator[PostgresStore]:
    async with PostgresStore.connect(database_url, pool_size_max=3) as store:
        yield store


@pytest.fixture
async def lives(store: PostgresStore) -> list[Life]:
    return await lively(store)


@pytest.fixture
async def queries(database_url: str) -> AsyncIterator[Queries]:
    async with connection_pool(database_url, connections_max=2, read_only=True) as pool:
        yield Queries(pool)


async def made(store: PostgresStore, life: Life) -> Changes:
    """What the whole ledger of an account makes of the tables."""
    events = [recorded async for recorded in store.ledger({life.id: 0})]
    placed = [
        PlacedEvent(each.seq, each.occurred_at, codec.decode(each.type, each.version, each.payload)) for each in events
    ]
    return changes(life.book.account, placed)


async def paged(read: Callable[..., Awaitable[Page[Any, Any]]], *, limit: int, first: Any) -> list[Any]:
    """Every row, page by page; each page but the last is full."""
    gathered: list[Any] = []
    after = first
    while True:
        page = await read(after=after, limit=limit)
        gathered += page.data
        if page.next is None:
            assert len(page.data) <= limit
            return gathered
        assert len(page.data) == limit
        after = page.next


async def test_an_account_is_the_engines_view(queries: Queries, lives: list[Life]):
    for life in lives:
        assert await queries.account(life.id) == account_view(life.book.account)
    wanted = [*ids(lives[:2]), UNKNOWN[0], "no-uuid"]
    assert set(await queries.accounts_by_id(wanted)) == set(ids(lives[:2]))


@pytest.mark.parametrize("account_id", UNKNOWN)
async def test_an_id_that_is_none_is_unknown(queries: Queries, account_id: str):
    assert await queries.account(account_id) is None
    assert await queries.head(account_id) is None
    assert await queries.action(account_id) is None
    assert await queries.actions(account_id, limit=20) == Page((), None)
    for page in (
        await queries.ledger(account_id, limit=5),
        await queries.orders(account_id, limit=5),
        await queries.fills(account_id, limit=5),
        await queries.positions(account_id, status="all", limit=5),
    ):
        assert page == Page((), None)


@pytest.mark.parametrize(
    "wanted",
    [
        AccountFilter(),
        AccountFilter(status="active"),
        AccountFilter(status="liquidated", owner_id="owner-0"),
        AccountFilter(clone_id="clone-1"),
        AccountFilter(race_id="race-1", mode="audition"),
        AccountFilter(mode="race"),
        AccountFilter(owner_id="' or true --"),
    ],
)
async def test_accounts_are_filtered_and_paged_oldest_first(queries: Queries, lives: list[Life], wanted: AccountFilter):
    views = [account_view(life.book.account) for life in lives]
    expected = [
        view
        for view in sorted(views, key=lambda view: (view.created_at, view.id))
        if all(
            getattr(wanted, name) in (None, getattr(view, name))
            for name in ("status", "owner_id", "clone_id", "race_id", "mode")
        )
    ]
    for limit in (1, 2, 100):

        async def read(*, after: tuple[datetime, str] | None, limit: int) -> Page[Any, Any]:
            return await queries.accounts(wanted, after=after, limit=limit)

        assert await paged(read, limit=limit, first=None) == expected


async def test_a_full_last_page_has_no_next(queries: Queries, lives: list[Life]):
    page = await queries.accounts(AccountFilter(), limit=len(lives))
    assert (len(page.data), page.next) == (len(lives), None)


async def test_ledger_rows_carry_what_verifies_them(queries: Queries, store: PostgresStore, lives: list[Life]):
    (life, *_) = lives

    async def read(*, after: int, limit: int) -> Page[Any, Any]:
        return await queries.ledger(life.id, after=after, limit=limit)

    shown = await paged(read, limit=7, first=0)
    recorded = [each async for each in store.ledger({life.id: 0})]
    assert [row.seq for row in shown] == list(range(1, life.book.account.seq + 1))
    for row, event in zip(shown, recorded, strict=True):
        assert (row.account_id, row.type, row.version, row.epoch) == (life.id, event.type, event.version, event.epoch)
        assert (row.occurred_at, row.request_id, row.hash) == (event.occurred_at, event.request_id, event.hash.hex())
        assert canonical(row.payload) == event.payload
        assert row.recorded_at.tzinfo is not None
    assert canonical(shown[0]).startswith(b'{"accountId":')


async def test_the_ledger_of_one_type_after_a_seq(queries: Queries, lives: list[Life]):
    (life, *_) = lives
    page = await queries.ledger(life.id, after=3, limit=3, type_="fill_booked")
    everything = await queries.ledger(life.id, limit=1_000)
    assert page.data == tuple(row for row in everything.data if row.type == "fill_booked" and row.seq > 3)[:3]
    assert page.next == page.data[-1].seq
    assert await queries.ledger(life.id, limit=3, type_="no_such_type") == Page((), None)
    assert await queries.ledger(life.id, after=2**70, limit=3) == Page((), None)


async def test_orders_fills_and_positions_are_those_of_the_ledger(
    queries: Queries, store: PostgresStore, lives: list[Life]
):
    for life in lives:
        expected = await made(store, life)

        async def orders(*, after: int, limit: int, of: str = life.id) -> Page[Any, Any]:
            return await queries.orders(of, after=after, limit=limit)

        async def fills(*, after: int, limit: int, of: str = life.id) -> Page[Any, Any]:
            return await queries.fills(of, after=after, limit=limit)

        assert await paged(orders, limit=2, first=0) == list(expected.orders)
        assert await paged(fills, limit=3, first=0) == list(expected.fills)
        statuses: tuple[Literal["open", "closed", "all"], ...] = ("open", "closed", "all")
        for status in statuses:

            async def positions(*, after: int, limit: int, of: str = life.id, status: Any = status) -> Page[Any, Any]:
                return await queries.positions(of, status=status, after=after, limit=limit)

            episodes = sorted(expected.positions, key=lambda row: row.opened_seq)
            wanted = [row.view for row in episodes if status in ("all", row.view.status)]
            assert await paged(positions, limit=1, first=0) == wanted


async def test_actions_with_their_results(queries: Queries, store: PostgresStore, lives: list[Life]):
    for life in lives:
        receipts = (await made(store, life)).receipts
        assert {receipt.result.status for receipt in receipts} == {"executed", "rejected"}
        newest_first = list(reversed(receipts))
        first = await queries.actions(life.id, limit=4)
        assert first == Page(tuple(newest_first[:4]), newest_first[3].seq)
        rest = await queries.actions(life.id, before=first.next, limit=LIMIT_MAX)
        assert rest == Page(tuple(newest_first[4:]), None)
        for receipt in receipts:
            stored = await queries.action(receipt.result.prop_action_id)
            assert stored is not None
            assert (stored.account_id, stored.receipt) == (life.id, receipt)
            run_id, action_id = receipt.key
            under = ActionFilter(decision_run_id=run_id, decision_action_id=action_id)
            assert (await queries.actions(life.id, under, limit=2)).data == (receipt,)


async def test_actions_are_found_by_what_became_of_them(queries: Queries, store: PostgresStore, lives: list[Life]):
    for life in lives:
        newest_first = list(reversed((await made(store, life)).receipts))
        for status in ("executed", "rejected"):
            wanted = tuple(each for each in newest_first if each.result.status == status)
            assert (await queries.actions(life.id, ActionFilter(status=status), limit=LIMIT_MAX)).data == wanted
        for code in {each.result.code for each in newest_first} - {None}:
            wanted = tuple(each for each in newest_first if each.result.code == code)
            assert (await queries.actions(life.id, ActionFilter(code=code), limit=LIMIT_MAX)).data == wanted


async def test_the_head_is_the_durable_one(queries: Queries, lives: list[Life]):
    book: AccountBook = lives[0].book
    assert await queries.head(lives[0].id) == Head(book.account.id, book.epoch, book.account.seq, book.head)


@pytest.mark.parametrize("limit", [0, -1, LIMIT_MAX + 1])
async def test_a_page_has_a_limit(queries: Queries, limit: int):
    with pytest.raises(ValueError, match="limit must be 1 to 1000"):
        await queries.accounts(AccountFilter(), limit=limit)
    with pytest.raises(ValueError, match="limit must be 1 to 1000"):
        await queries.ledger(UNKNOWN[0], limit=limit)


async def test_times_are_utc(queries: Queries, lives: list[Life]):
    account = await queries.account(lives[0].id)
    assert account is not None
    assert account.created_at.utcoffset() == datetime.now(UTC).utcoffset()


async def test_reading_goes_on_after_postgres_cut_the_connections(
    queries: Queries, lives: list[Life], database_url: str
):
    assert await queries.account(lives[0].id) is not None
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(
            "select pg_terminate_backend(pid) from pg_stat_activity"
            " where datname = current_database() and pid <> pg_backend_pid()"
        )
    assert await queries.account(lives[0].id) is not None


async def test_postgres_away_is_said_so():
    url = "postgresql://prop@127.0.0.1:1/prop"
    async with connection_pool(url, connections_max=1, read_only=True, connect_seconds_max=0.2) as pool:
        queries = Queries(pool)
        for read in (
            queries.account(UNKNOWN[0]),
            queries.accounts(AccountFilter(), limit=1),
            queries.ledger(UNKNOWN[0], limit=1),
            queries.orders(UNKNOWN[0], limit=1),
            queries.fills(UNKNOWN[0], limit=1),
            queries.positions(UNKNOWN[0], status="all", limit=1),
            queries.action(UNKNOWN[0]),
            queries.actions(UNKNOWN[0], limit=1),
            queries.head(UNKNOWN[0]),
        ):
            with pytest.raises(StoreUnavailable):
                await read
