"""One contract, two stores: what the runtime may rely on, whichever it runs on."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from decimal import Decimal

import msgspec
import psycopg
import pytest
from msgspec.structs import replace

from actors.hosting import AccountHost
from actors.limits import HostLimits
from engine.book import replayed
from engine.canonical import GENESIS, plain
from engine.commands import LockAccount, PauseAccount, VoidFill, VoidOrder
from engine.quotes import observed
from engine.views import FillView, OrderView, PositionView
from persistence import codec, group
from persistence.committer import Committer
from persistence.memory_store import MemoryStore
from persistence.pools import connection_pool
from persistence.postgres_store import PostgresStore
from persistence.queries import Queries
from persistence.recompute import examined
from persistence.reconcile import drifts
from persistence.store import Append, DataRefused, Head, Mend, Store, append_of
from tests.support.authors import Author, account_id

pytestmark = pytest.mark.postgres


class Ground:
    """A store, how to damage what it keeps, and how to look at its rows."""

    def __init__(
        self, store: Store, corrupt: Callable[[str, int], None], rows: Callable[[str], Awaitable["Kept"]]
    ) -> None:
        self.store = store
        self.corrupt_snapshot = corrupt
        self.rows = rows


class Kept(msgspec.Struct, frozen=True):
    """Rows of one account that corrections touch, in the order in which they were made."""

    orders: list[OrderView]
    fills: list[FillView]
    positions: list[PositionView]
    audit: list[tuple[str, str, str, str, object, object]]


@asynccontextmanager
async def in_memory(_: pytest.FixtureRequest) -> AsyncIterator[Ground]:
    store = MemoryStore()

    def corrupt(account: str, seq: int) -> None:
        row = store.packed_snapshots[account, seq]
        store.packed_snapshots[account, seq] = replace(row, state=row.state[:-1])

    async def rows(account: str) -> Kept:
        return Kept(
            [order for order in store.orders.values() if order.account_id == account],
            [fill for fill in store.fills.values() if fill.account_id == account],
            [row.view for (owner, _), row in sorted(store.positions.items()) if owner == account],
            [
                (each.token_name, each.action, each.reason, each.request_id, plain(each.before), plain(each.after))
                for each in store.audit_log
                if each.account_id == account
            ],
        )

    yield Ground(store, corrupt, rows)


@asynccontextmanager
async def in_postgres(request: pytest.FixtureRequest) -> AsyncIterator[Ground]:
    url = request.getfixturevalue("database_url")

    def corrupt(account: str, seq: int) -> None:
        with psycopg.connect(url) as connection:
            connection.execute(
                "update prop_account_snapshots set state = substr(state, 2) where account_id = %s and seq = %s",
                (account, seq),
            )

    async def rows(account: str) -> Kept:
        async with connection_pool(url, connections_max=1, read_only=True) as pool:
            queries = Queries(pool)
            audit = await queries.audit_log(account, limit=100)
            return Kept(
                list((await queries.orders(account, limit=100)).data),
                list((await queries.fills(account, limit=100)).data),
                list((await queries.positions(account, status="all", limit=100)).data),
                [
                    (each.token_name, each.action, each.reason, each.request_id, each.before, each.after)
                    for each in reversed(audit.data)
                ],
            )

    async with PostgresStore.connect(url, pool_size_max=4) as store:
        yield Ground(store, corrupt, rows)


@pytest.fixture(params=[in_memory, in_postgres], ids=["memory", "postgres"])
async def ground(request: pytest.FixtureRequest) -> AsyncIterator[Ground]:
    async with request.param(request) as ground:
        yield ground


@pytest.fixture
def store(ground: Ground) -> Store:
    return ground.store


async def head(store: Store, account: str) -> Head:
    return (await store.settle([account]))[account]


# ---------------------------------------------------------------- create


async def test_create_writes_the_account_and_its_first_event(store: Store):
    author = Author(idempotency_key="audition-1", race_id="race-1", parent_account_id="Any Parent")
    created = await author.create(store)
    assert not created.replayed
    assert created.account == author.first.account
    assert await head(store, author.id) == Head(author.id, 0, 1, author.book.head)
    assert [event async for event in store.ledger({author.id: 0})] == list(author.first.events)


async def test_create_again_under_the_same_key_returns_the_original(store: Store):
    original, other = Author(1, idempotency_key="k"), Author(2, idempotency_key="k", clone_id="another")
    await original.create(store)
    await original.claim(store)
    await store.commit([original.start()])
    created = await other.create(store)
    assert created.replayed
    assert created.account == replace(original.first.account, status="active", started_at=original.now, account_seq=2)
    assert created.opening == original.opening
    assert other.id not in await store.epochs([other.id])


async def test_creates_racing_for_one_key_make_one_account(store: Store):
    authors = [Author(number, idempotency_key="k") for number in range(8)]
    created = await asyncio.gather(*(author.create(store) for author in authors))
    assert len({each.account.id for each in created}) == 1
    assert sum(not each.replayed for each in created) == 1
    assert len(await store.epochs([author.id for author in authors])) == 1


async def test_create_may_be_repeated_after_a_lost_answer(store: Store):
    author = Author()
    first, again = await author.create(store), await author.create(store)
    assert first == again


async def test_accounts_without_a_key_are_all_different(store: Store):
    created = [await Author(number).create(store) for number in (1, 2)]
    assert [each.replayed for each in created] == [False, False]


# ---------------------------------------------------------------- commit


async def test_what_is_committed_is_read_back_to_the_last_byte(store: Store):
    author = await Author().begin(store)
    appends = [
        author.take(("open", "BTC-USD", {"quantity": author.opening.starting_balance / 1_000_000}), ("hold", "X", {})),
        author.open("DUST", "1000", leverage=author.opening.policy.max_leverage),
        author.close(),
        author.open(),
        author.submit(PauseAccount(reason="a\\b\nc")),
    ]
    for append in appends:
        assert await store.commit([append]) == {author.id: "committed"}
    found = [event async for event in store.ledger({author.id: 2})]
    assert found == [event for append in appends for event in append.events]
    whole = [
        (event, codec.decode(event.type, event.version, event.payload)) async for event in store.ledger({author.id: 0})
    ]
    book, _ = replayed(whole, epoch=author.book.epoch, receipts_in_memory_max=100)
    assert book.state == author.book.state
    assert await head(store, author.id) == Head(author.id, 1, author.book.account.seq, author.book.head)


@pytest.mark.parametrize("copy_rows_min", [1, 1_000], ids=["by copy", "by insert"])
async def test_a_commit_of_many_keeps_every_row(store: Store, copy_rows_min: int, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(group, "COPY_ROWS_MIN", copy_rows_min)
    authors = [await Author(number).begin(store) for number in range(30)]
    appends = [author.open() for author in authors]
    assert set((await store.commit(appends)).values()) == {"committed"}
    found = [event async for event in store.ledger({author.id: 2 for author in authors})]
    assert found == [event for append in sorted(appends, key=lambda each: each.account_id) for event in append.events]
    for author, append in zip(authors, appends, strict=True):
        (receipt,) = append.receipts
        assert await store.receipts(author.id, [receipt.key]) == {receipt.key: receipt}


async def test_an_old_epoch_is_fenced_and_the_rest_of_the_batch_goes_on(store: Store):
    stale, fresh = await Author(1).begin(store), await Author(2).begin(store)
    await store.claim([stale.id])
    assert await store.commit([stale.open(), fresh.open()]) == {stale.id: "fenced", fresh.id: "committed"}
    assert (await head(store, stale.id)).last_seq == 2
    assert [event async for event in store.ledger({stale.id: 2})] == []
    assert (await head(store, fresh.id)).head_hash == fresh.book.head


async def test_a_seq_that_does_not_follow_is_fenced(store: Store):
    author = await Author().begin(store)
    skipped, ahead = author.open(), author.open("ETH-USD")
    assert await store.commit([ahead]) == {author.id: "fenced"}
    assert await store.commit([skipped]) == {author.id: "committed"}
    assert await store.commit([skipped]) == {author.id: "fenced"}
    assert await store.commit([ahead]) == {author.id: "committed"}


async def test_an_unknown_account_is_fenced(store: Store):
    author = Author()
    assert await store.commit([author.start()]) == {author.id: "fenced"}
    assert await store.settle([author.id]) == {}


async def test_a_refused_append_takes_the_whole_batch_back(store: Store):
    good, bad = await Author(1).begin(store), await Author(2).begin(store)
    first = bad.open()
    await store.commit([first])
    repeated = bad.open("ETH-USD")
    (receipt,) = repeated.receipts
    clash = replace(receipt, action=first.receipts[0].action)
    with pytest.raises(DataRefused):
        await store.commit([good.open(), replace(repeated, receipts=(clash,))])
    assert (await head(store, good.id)).last_seq == 2
    assert (await head(store, bad.id)).last_seq == first.last_seq


async def test_nothing_to_commit(store: Store):
    assert await store.commit([]) == {}


# ---------------------------------------------------------------- corrections, the audit log


async def test_a_correction_amends_the_rows_that_stand(ground: Ground):
    store, author = ground.store, await Author().begin(ground.store)
    for append in (author.open(quantity="0.02"), author.open(), author.reduce("0.01"), author.open("ETH-USD", "1")):
        await store.commit([append])
    first, second, third, other = (await ground.rows(author.id)).fills
    void = author.correct(VoidFill(first.id, "why"))
    assert await store.commit([void]) == {author.id: "committed"}
    kept = await ground.rows(author.id)
    assert kept.fills == [replace(first, status="voided"), second, third, other]
    assert [order.status for order in kept.orders] == ["voided", "filled", "filled", "filled"]
    assert [(row.symbol, row.status) for row in kept.positions] == [("BTC-USD", "closed"), ("ETH-USD", "open")]
    assert kept.positions[0].fees == second.fee + third.fee
    await store.commit([author.correct(VoidOrder(third.order_id, "why"))])
    kept = await ground.rows(author.id)
    assert [(row.symbol, row.status) for row in kept.positions] == [("BTC-USD", "open"), ("ETH-USD", "open")]


async def test_what_stays_gets_the_figures_it_has_without_the_rest(ground: Ground):
    store, author = ground.store, await Author().begin(ground.store)
    for append in (author.open(), author.open(price=60_000), author.reduce("0.01", price=80_000)):
        await store.commit([append])
    first, _, sale = (await ground.rows(author.id)).fills
    assert sale.realized_pnl == 250
    await store.commit([author.correct(VoidFill(first.id, "why"))])
    assert (await ground.rows(author.id)).fills[2].realized_pnl == 200


async def test_a_fill_may_be_voided_in_the_append_that_books_it(ground: Ground):
    store, author = ground.store, await Author().begin(ground.store)
    booked = author.open()
    void = author.correct(VoidFill(booked.fills[0].id, "why"))
    events = (*booked.events, *void.events)
    assert await store.commit([replace(booked, events=events, positions=(), amendment=void.amendment)]) == {
        author.id: "committed"
    }
    kept = await ground.rows(author.id)
    assert [fill.status for fill in kept.fills] == ["voided"]
    assert kept.positions == []


async def test_the_audit_row_is_written_with_its_events_or_not_at_all(ground: Ground):
    store, author = ground.store, await Author().begin(ground.store)
    pause = author.submit(PauseAccount(reason="lunch"))
    entry = author.audit("pause")
    seen = plain(entry.before)
    await store.claim([author.id])
    assert await store.commit([replace(pause, audit=(entry,))]) == {author.id: "fenced"}
    assert (await ground.rows(author.id)).audit == []
    epoch = (await head(store, author.id)).epoch
    assert await store.commit([replace(pause, epoch=epoch, audit=(entry,))]) == {author.id: "committed"}
    told = ("operator", "pause", entry.reason, entry.request_id, seen, seen)
    assert (await ground.rows(author.id)).audit == [told]
    await store.note(entry)
    assert (await ground.rows(author.id)).audit == [told, told]


# ---------------------------------------------------------------- recompute


async def test_what_is_stored_is_what_the_ledger_makes(store: Store):
    author = await Author().begin(store)
    for append in (author.open(), author.reduce("0.005"), author.open("ETH-USD", "1"), author.close("ETH-USD")):
        await store.commit([append])
    await store.commit([author.correct(VoidFill(author.fill_ids[1], "why"))])
    await store.save_snapshots([author.snapshot])
    stored = await store.stored(author.id)
    assert stored.ledger == author.ledger
    assert list(drifts(stored)) == []
    found = examined(stored, author.book, epoch=author.book.epoch, receipts_in_memory_max=100)
    assert found.drift == ()
    assert found.book is not None
    assert found.book.state == author.book.state
    assert (await store.stored(account_id(99))).ledger == []


async def test_wrong_missing_and_surplus_rows_are_put_right(ground: Ground):
    store, author = ground.store, await Author().begin(ground.store)
    whole = [author.open(), author.open("ETH-USD", "1"), author.close("ETH-USD")]
    first, *others = whole
    wrong = replace(
        first,
        fills=(replace(first.fills[0], fee=first.fills[0].fee + 1),),
        orders=(),
        positions=(*first.positions, replace(first.positions[0], opened_seq=999, view=elsewhere(first))),
        receipts=(),
    )
    for append in (wrong, *others):
        await store.commit([append])
    found = examined(await store.stored(author.id), author.book, epoch=author.book.epoch, receipts_in_memory_max=100)
    assert {each.table for each in found.drift} == {
        "prop_orders",
        "prop_fills",
        "prop_positions",
        "prop_decision_actions",
    }
    assert found.book is not None
    entry = found.book.recomputed("why", ("all of it",), author.now, request_id="r")
    append = append_of(
        found.book.account,
        epoch=found.book.epoch,
        expected_seq=entry.recorded[0].seq - 1,
        events=entry.recorded,
        changes=found.lost,
        audit=[author.audit("recompute")],
    )
    mend = Mend(append=append, opening=author.opening, drifted=found.drifted)
    assert await store.mend(replace(mend, append=replace(append, epoch=append.epoch - 1))) == "fenced"
    assert await store.mend(mend) == "committed"
    stored = await store.stored(author.id)
    assert list(drifts(stored)) == []
    assert stored.ledger[-1] == entry.recorded[0]
    assert [each[1] for each in (await ground.rows(author.id)).audit] == ["recompute"]
    with pytest.raises(DataRefused):
        await store.mend(mend)  # the ledger has that seq


def elsewhere(append: Append) -> PositionView:
    return replace(append.positions[0].view, symbol="SOL-USD")


# ---------------------------------------------------------------- claim, settle, epochs


async def test_claim_raises_the_epoch_and_leaves_unknown_ids_out(store: Store):
    author = Author()
    await author.create(store)
    unknown = [account_id(99), "no uuid", ""]
    for epoch in (1, 2):
        assert await store.claim([author.id, *unknown]) == {author.id: Head(author.id, epoch, 1, author.book.head)}
    assert await store.epochs([author.id, *unknown]) == {author.id: 2}
    assert await store.settle(unknown) == {}


async def test_of_racing_claims_each_gets_an_epoch_of_its_own(store: Store):
    author = Author()
    await author.create(store)
    claims = await asyncio.gather(*(store.claim([author.id]) for _ in range(8)))
    assert sorted(found[author.id].epoch for found in claims) == list(range(1, 9))


# ---------------------------------------------------------------- ledger, receipts


async def test_the_ledger_streams_by_account_and_seq_strictly_after(store: Store):
    authors = [await Author(number).begin(store) for number in (3, 1, 2)]
    for author in authors:
        await store.commit([author.open()])
    after = {author.id: seq for author, seq in zip(authors, (0, 4, 99), strict=True)}
    found = [(event.account_id, event.seq) async for event in store.ledger({**after, "no uuid": 0})]
    (many, one, _) = authors
    assert found == sorted([(many.id, seq) for seq in range(1, 6)] + [(one.id, 5)])


async def test_the_chain_begins_at_genesis(store: Store):
    author = Author()
    await author.create(store)
    (first,) = [event async for event in store.ledger({author.id: 0})]
    assert GENESIS != first.hash == author.book.head


async def test_receipts_come_back_as_they_were(store: Store):
    author = await Author().begin(store)
    append = author.take(
        ("open", "BTC-USD", {"quantity": author.opening.starting_balance / 1_000_000}),
        ("open", "NO-QUOTE", {"quantity": author.opening.starting_balance}),
        ("hold", "X", {}),
    )
    await store.commit([append])
    expected = {receipt.key: receipt for receipt in append.receipts}
    assert len(expected) == 3
    assert await store.receipts(author.id, [*expected, ("run {1,2}", "never")]) == expected
    assert await store.receipts(author.id, []) == {}
    assert await store.receipts(account_id(99), list(expected)) == {}
    assert await store.receipts("no uuid", list(expected)) == {}


# ---------------------------------------------------------------- snapshots, hosting


async def test_the_newest_readable_snapshot_is_found(ground: Ground):
    store, author = ground.store, await Author().begin(ground.store)
    snapshots = []
    for _ in range(4):
        await store.commit([author.open()])
        snapshots.append(author.snapshot)
        assert await store.save_snapshots([author.snapshot]) == 1
    assert await store.snapshots([author.id, account_id(99), "no uuid"]) == {author.id: snapshots[3]}
    ground.corrupt_snapshot(author.id, snapshots[3].seq)
    assert await store.snapshots([author.id]) == {author.id: snapshots[2]}
    ground.corrupt_snapshot(author.id, snapshots[2].seq)
    assert await store.snapshots([author.id]) == {author.id: snapshots[1]}
    ground.corrupt_snapshot(author.id, snapshots[1].seq)
    assert await store.snapshots([author.id]) == {}  # the oldest of four was let go


async def test_a_stale_activation_plants_no_snapshot(store: Store):
    stale, fresh = await Author(1).begin(store), await Author(2).begin(store)
    await store.claim([stale.id])
    assert await store.save_snapshots([stale.snapshot, fresh.snapshot]) == 1
    assert await store.snapshots([stale.id, fresh.id]) == {fresh.id: fresh.snapshot}


async def test_a_snapshot_may_be_taken_again_at_the_same_seq(store: Store):
    author = await Author().begin(store)
    await store.save_snapshots([author.snapshot])
    await author.claim(store)
    assert await store.save_snapshots([author.snapshot]) == 1
    assert await store.snapshots([author.id]) == {author.id: author.snapshot}


async def test_accounts_with_open_positions_are_hosted_first(store: Store):
    await Author(1).create(store)  # pending: not hosted
    flat, exposed, locked = [await Author(number).begin(store) for number in (2, 3, 4)]
    closed = await Author(5).begin(store)
    for append in (
        exposed.open(),
        locked.open(),
        locked.submit(LockAccount(reason="r")),
        closed.open(),
        closed.close(),
    ):
        await store.commit([append])
    assert list(await store.hostable()) == [exposed.id, locked.id, flat.id, closed.id]


async def test_a_pass_that_writes_only_changes_leaves_ledger_tables_and_live_account_alike(store: Store) -> None:
    author = await Author(1).begin(store)
    assert await store.commit([author.open("BTC-USD")]) == {author.id: "committed"}
    committer, now = Committer(store), author.book.account.last_at
    host = AccountHost("host", store, committer, HostLimits(mark_ledger="on_change"), now=lambda: now)
    await host.activate([author.id])
    seqs = []
    for number, price in enumerate((60_000, 60_000, 60_000, 60_001, 60_001)):
        now += timedelta(seconds=1)
        quotes = {"BTC-USD": observed("BTC-USD", Decimal(price), Decimal(price), None, "test", now)}
        assert (await host.mark(f"pass-{number}", quotes)).marked == 1
        stored = await store.stored(author.id)
        live = host._hosted[author.id].book
        assert not examined(stored, live, epoch=live.epoch, receipts_in_memory_max=8).drift
        seqs.append(live.account.seq)
    first = seqs[0]
    assert seqs == [first, first, first, first + 1, first + 1]
    await host.close()
    await committer.close()
