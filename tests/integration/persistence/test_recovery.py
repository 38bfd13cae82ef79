"""Recovery from a real ledger: whole, from snapshots, and with every kind of damage, which stays with its account."""

import re
from collections.abc import AsyncIterator, Callable

import msgspec
import psycopg
import pytest

from engine.book import AccountBook
from engine.money import ONE
from persistence import tables
from persistence.postgres_store import PostgresStore
from persistence.recovery import LedgerBroken, Recovered, load, recover
from persistence.store import StoredSnapshot
from tests.support.lively import Life, ids, lively

pytestmark = pytest.mark.postgres


@pytest.fixture
async def store(database_url: str) -> AsyncIterator[PostgresStore]:
    async with PostgresStore.connect(database_url, pool_size_max=3) as store:
        yield store


@pytest.fixture
def tamper(database_url: str) -> Callable[..., None]:
    """Runs SQL on the ledger with its triggers out of the way."""

    def run(*statements: str) -> None:
        with psycopg.connect(database_url) as connection:
            connection.execute("set session_replication_role = replica")
            for statement in statements:
                assert connection.execute(statement.encode()).rowcount != 0, statement

    return run


async def recovered(store: PostgresStore, lives: list[Life]) -> Recovered:
    return await recover(store, await store.claim(ids(lives)), receipts_in_memory_max=4)


def same(book: AccountBook, life: Life) -> bool:
    return book.state == life.book.state


async def test_every_account_comes_back_as_it_was_under_its_new_epoch(store: PostgresStore):
    lives = await lively(store)
    found = await recovered(store, lives)
    assert found.failures == {}
    for life in lives:
        book = found.books[life.id]
        assert same(book, life)
        assert book.epoch == life.book.epoch + 1


async def test_snapshots_are_only_a_cache(store: PostgresStore, tamper: Callable[..., None]):
    lives = await lively(store)
    tamper("delete from prop_account_snapshots")
    found = await recovered(store, lives)
    assert all(same(found.books[life.id], life) for life in lives)


async def test_with_a_snapshot_only_the_tail_is_read(store: PostgresStore, tamper: Callable[..., None]):
    (life, *_) = await lively(store)
    await life.snapshot()
    tamper(f"delete from prop_ledger_events where account_id = '{life.id}' and seq < {life.book.account.seq}")
    assert same((await recovered(store, [life])).books[life.id], life)


async def test_a_recovered_account_trades_on_and_keeps_its_keys(store: PostgresStore):
    (life, *_) = await lively(store)
    life.book = (await recovered(store, [life])).books[life.id]
    await life.live_through(5)
    again = (await recovered(store, [life])).books[life.id]
    assert same(again, life)
    assert again.receipts.elsewhere([("run-1", "long-BTC-USD")]) == [("run-1", "long-BTC-USD")]


@pytest.mark.parametrize(
    "damage",
    [
        "state = substr(state, 2)",
        "state = ''",
        "sha256 = decode(repeat('00', 32), 'hex')",
        "schema_version = 999",
    ],
)
async def test_a_corrupt_snapshot_is_passed_over(store: PostgresStore, tamper: Callable[..., None], damage: str):
    lives = await lively(store)
    tamper(f"update prop_account_snapshots set {damage}")
    found = await recovered(store, lives)
    assert all(same(found.books[life.id], life) for life in lives)


async def test_a_readable_snapshot_that_misleads_is_set_aside(store: PostgresStore):
    lives = await lively(store)
    (life, *_) = lives
    account, state = life.book.account, life.book.state
    lies = [
        msgspec.structs.replace(state, head=bytes(32)),
        msgspec.structs.replace(state, account=msgspec.structs.replace(account, seq=account.seq - 1)),
        msgspec.structs.replace(state, account=msgspec.structs.replace(account, cash=account.cash + ONE)),
    ]
    for lie in lies:
        await store.save_snapshots([StoredSnapshot(life.id, lie.account.seq, life.book.epoch, lie)])
        found = await recovered(store, lives)
        assert found.failures == {}
        assert same(found.books[life.id], life)
        life.book.epoch += 1


async def test_a_snapshot_whose_balance_was_made_up_does_not_survive_the_next_fill(store: PostgresStore):
    (life, *_) = await lively(store)
    account = life.book.account
    richer = msgspec.structs.replace(account, cash=account.cash + ONE, adjustments=account.adjustments + ONE)
    state = msgspec.structs.replace(life.book.state, account=richer)
    await store.save_snapshots([StoredSnapshot(life.id, account.seq, life.book.epoch, state)])
    await life.mark()
    assert same((await recovered(store, [life])).books[life.id], life)


async def test_a_snapshot_from_beyond_the_head_is_not_used(store: PostgresStore):
    (life, *_) = await lively(store)
    beyond = msgspec.structs.replace(life.book.account, seq=life.book.account.seq + 5)
    state = msgspec.structs.replace(life.book.state, account=beyond)
    await store.save_snapshots([StoredSnapshot(life.id, beyond.seq, life.book.epoch, state)])
    assert same((await recovered(store, [life])).books[life.id], life)


DAMAGES = {
    "missing": "delete from prop_ledger_events where {row}",
    "payload altered": "update prop_ledger_events set payload = payload || '{{\"forged\": 1}}' where {row}",
    "hash altered": "update prop_ledger_events set hash = decode(repeat('ab', 32), 'hex') where {row}",
    "time altered": "update prop_ledger_events set occurred_at = occurred_at + interval '1 us' where {row}",
    "type altered": "update prop_ledger_events set type = 'account_locked' where {row}",
    "seq altered": "update prop_ledger_events set seq = seq + 1000 where {row}",
    "account altered": "update prop_ledger_events set account_id = gen_random_uuid() where {row}",
    "type unknown": "update prop_ledger_events set type = 'account_teleported' where {row}",
    "version newer": "update prop_ledger_events set version = 99 where {row}",
    "payload undecodable": "update prop_ledger_events set payload = '[]' where {row}",
    "duplicated": "insert into prop_ledger_events select * from prop_ledger_events where {row}",
}
EXPLAINING = {
    "epoch": "epoch + 1",
    "request_id": "'another'",
    "recorded_at": "recorded_at + interval '1 day'",
    "commit_xid": "pg_current_xact_id()",
}
"""Columns that say who wrote a row and when. No hash covers them and no state follows from them."""


@pytest.mark.parametrize("damage", DAMAGES)
async def test_one_broken_ledger_fails_alone_and_names_its_seq(
    store: PostgresStore, tamper: Callable[..., None], damage: str
):
    lives = sorted(await lively(store), key=lambda life: life.id)
    broken = lives[1]
    seq = broken.book.account.seq - 2
    if damage == "duplicated":
        tamper("alter table prop_ledger_events drop constraint prop_ledger_events_pkey")
    tamper(DAMAGES[damage].format(row=f"account_id = '{broken.id}' and seq = {seq}"))
    found = await recovered(store, lives)
    assert list(found.failures) == [broken.id]
    assert found.failures[broken.id].seq == seq
    assert found.failures[broken.id].reason
    assert all(same(found.books[life.id], life) for life in lives if life is not broken)
    with pytest.raises(LedgerBroken, match=f"seq {seq}"):
        await load(store, broken.id)


async def test_what_only_explains_a_row_changes_no_account(store: PostgresStore, tamper: Callable[..., None]):
    lives = await lively(store)
    altered = ", ".join(f"{column} = {value}" for column, value in EXPLAINING.items())
    tamper("delete from prop_account_snapshots", f"update prop_ledger_events set {altered}")
    found = await recovered(store, lives)
    assert all(same(found.books[life.id], life) for life in lives)


def test_every_column_of_the_ledger_is_altered_by_a_test():
    altered = {column for damage in DAMAGES.values() for column in re.findall(r" set (\w+) =", damage)}
    assert altered | EXPLAINING.keys() == {column.name for column in tables.ledger_events.columns}


@pytest.mark.parametrize("damage", ["occurred_at = 'infinity'", """payload = '{"n": 1e4000}'"""])
async def test_a_row_that_cannot_even_be_read_stops_nobody_else(
    store: PostgresStore, tamper: Callable[..., None], damage: str
):
    lives = sorted(await lively(store), key=lambda life: life.id)
    broken = lives[1]
    tamper(f"update prop_ledger_events set {damage} where account_id = '{broken.id}' and seq = 7")
    tamper("delete from prop_account_snapshots")
    found = await recovered(store, lives)
    assert list(found.failures) == [broken.id]
    assert found.failures[broken.id].seq <= 7
    assert all(same(found.books[life.id], life) for life in lives if life is not broken)
    with pytest.raises(LedgerBroken):
        await load(store, broken.id)


async def test_a_ledger_that_ends_before_its_head_or_goes_on_after_it(
    store: PostgresStore, tamper: Callable[..., None]
):
    lives = await lively(store)
    cut, beyond, emptied, forged, whole = lives
    head = beyond.book.account.seq
    tamper(
        f"delete from prop_ledger_events where account_id = '{cut.id}' and seq = {cut.book.account.seq}",
        f"update prop_account_balances set last_seq = {head - 1} where account_id = '{beyond.id}'",
        f"delete from prop_ledger_events where account_id = '{emptied.id}'",
        f"update prop_account_balances set head_hash = repeat('x', 32)::bytea where account_id = '{forged.id}'",
        "delete from prop_account_snapshots",
    )
    found = await recovered(store, lives)
    assert {account_id: failure.seq for account_id, failure in found.failures.items()} == {
        cut.id: cut.book.account.seq,
        beyond.id: head,
        emptied.id: 1,
        forged.id: forged.book.account.seq,
    }
    assert same(found.books[whole.id], whole)


async def test_a_snapshot_does_not_stand_in_for_events_that_are_gone(store: PostgresStore, tamper: Callable[..., None]):
    """After a shutdown every account has a snapshot at its head."""
    cut, whole, *_ = lives = await lively(store)
    for life in lives:
        await life.snapshot()
    ends = cut.book.account.seq - 3
    tamper(f"delete from prop_ledger_events where account_id = '{cut.id}' and seq > {ends}")
    shown = await load(store, cut.id)
    assert shown is not None
    assert shown.account.seq == ends
    found = await recovered(store, lives)
    assert {account_id: failure.seq for account_id, failure in found.failures.items()} == {cut.id: ends + 1}
    assert same(found.books[whole.id], whole)


async def test_a_snapshot_of_another_history_is_not_shown(store: PostgresStore):
    (life, *_) = await lively(store)
    other = msgspec.structs.replace(life.book.state, head=bytes(32))
    await store.save_snapshots([StoredSnapshot(life.id, life.book.account.seq, life.book.epoch, other)])
    shown = await load(store, life.id)
    assert shown is not None
    assert shown.head == life.book.head


async def test_nothing_to_recover(store: PostgresStore):
    assert await recover(store, {}, receipts_in_memory_max=4) == Recovered({}, {})


async def test_an_account_is_loaded_without_claiming_it(store: PostgresStore):
    lives = await lively(store)
    for life in lives:
        before = await store.epochs([life.id])
        book = await load(store, life.id)
        assert book is not None
        assert same(book, life)
        assert {life.id: book.epoch} == before == await store.epochs([life.id])


@pytest.mark.parametrize("account_id", ["019b8e2a-0000-7000-8000-000000000001", "no-uuid"])
async def test_an_unknown_account_is_none(store: PostgresStore, account_id: str):
    assert await load(store, account_id) is None
