"""Verify: clean after lively histories, and every single figure that is changed by hand is found."""

from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

import msgspec
import psycopg
import pytest
from sqlalchemy import DateTime, LargeBinary, Numeric, Text, Uuid
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.types import TypeEngine

from engine.book import BookState
from engine.canonical import plain
from engine.money import ONE
from engine.views import snapshot_view
from persistence import reconcile, tables
from persistence.drift import KEYS, Drift
from persistence.postgres_store import PostgresStore
from persistence.reconcile import Progress, verify
from persistence.snapshots import packed
from persistence.store import StoredSnapshot, StoreUnavailable
from tests.support.lively import Life, ids, lively

pytestmark = pytest.mark.postgres

TABLES = (
    tables.accounts,
    tables.balances,
    tables.orders,
    tables.fills,
    tables.positions,
    tables.decision_actions,
    tables.account_results,
)
BY_HAND = frozenset({"epoch", "id", "account_id", "recorded_at"})
"""Columns with tests of their own: an epoch may rise, an id that changes is one row less and another more, and when a
row was written is not in the ledger."""
COLUMNS = [(table.name, column.name) for table in TABLES for column in table.columns if column.name not in BY_HAND]


@pytest.fixture
async def store(database_url: str) -> AsyncIterator[PostgresStore]:
    async with PostgresStore.connect(database_url, pool_size_max=3) as store:
        yield store


@pytest.fixture
async def lives(store: PostgresStore) -> list[Life]:
    return await lively(store, steps=6)


@pytest.fixture
def tamper(database_url: str) -> Callable[..., None]:
    """Runs SQL with triggers and checks out of the way."""

    def run(*statements: str) -> None:
        with psycopg.connect(database_url) as connection:
            connection.execute("set session_replication_role = replica")
            for statement in statements:
                assert connection.execute(statement.encode()).rowcount != 0, statement

    return run


@pytest.fixture
def unchecked(database_url: str) -> None:
    """Takes every CHECK and unique index off, as somebody with a superuser's console might."""
    with psycopg.connect(database_url, autocommit=True) as connection:
        found = connection.execute(
            "select conrelid::regclass::text, conname from pg_constraint"
            " where contype = 'c' and conislocal and connamespace = 'public'::regnamespace"
            " and not (select relispartition from pg_class where oid = conrelid)"
        ).fetchall()
        for table, name in found:
            connection.execute(f"alter table {table} drop constraint {name}".encode())
        connection.execute("drop index prop_positions_open")


async def found(url: str, **options: Any) -> list[Drift]:
    return list((await verify(url, **options)).drift)


def named(drifts: list[Drift]) -> set[tuple[str, str]]:
    return {(drift.table, drift.field) for drift in drifts}


async def test_lively_accounts_are_clean(database_url: str, lives: list[Life]):
    told: list[Progress] = []
    report = await verify(database_url, on_progress=told.append)
    assert report.drift == ()
    assert report.is_clean
    assert (report.accounts, report.live_checked) == (len(lives), 0)
    assert report.events == sum(life.book.account.seq for life in lives)
    assert {life.book.account.status for life in lives} == {"active", "completed", "liquidated"}
    assert [progress.account_id for progress in told] == sorted(ids(lives))
    assert (told[-1].accounts, told[-1].events, told[-1].drifts) == (len(lives), report.events, 0)


async def test_a_result_that_is_gone_and_one_that_came_too_early(
    database_url: str, lives: list[Life], tamper: Callable[..., None]
):
    running, ended = lives[0].id, lives[2].id
    assert (lives[0].book.account.status, lives[2].book.account.status) == ("active", "completed")
    tamper(
        "insert into prop_account_results (account_id, account_seq, status, ended_at, policy_hash, head_hash, result)"
        f" select '{running}', account_seq, status, ended_at, policy_hash, head_hash, result from prop_account_results"
        f" where account_id = '{ended}'",
        f"delete from prop_account_results where account_id = '{ended}'",
    )
    assert {(drift.account_id, drift.table, drift.field) for drift in await found(database_url)} == {
        (running, "prop_account_results", "(row)"),
        (ended, "prop_account_results", "(row)"),
    }


async def test_an_empty_database_is_clean(database_url: str):
    report = await verify(database_url)
    assert (report.accounts, report.events, report.is_clean) == (0, 0, True)


async def test_only_some_accounts(database_url: str, lives: list[Life], tamper: Callable[..., None]):
    tamper(f"update prop_account_balances set fees_paid = fees_paid + 1 where account_id = '{lives[0].id}'")
    assert (await verify(database_url, account_ids=[lives[1].id])).is_clean
    report = await verify(database_url, account_ids=[lives[0].id, lives[1].id])
    assert (report.accounts, report.drifts) == (2, 1)


def another(type_: TypeEngine[Any], column: str) -> str:
    """SQL for a value that is not the column's: of money only the last digit."""
    match type_:
        case Numeric():
            return f"{column} + 0.00000001"
        case DateTime():
            return f"coalesce({column}, '2020-01-01Z') + interval '1 microsecond'"
        case Uuid():
            return "'00000000-0000-7000-8000-000000000000'"
        case JSONB():
            return f'{column} || \'{{"forged": "x"}}\''
        case LargeBinary():
            return f"set_byte({column}, 31, get_byte({column}, 31) # 1)"
        case Text():
            return f"coalesce({column}, '') || 'x'"
        case _:
            return f"{column} + 1"


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(("table", "column"), COLUMNS)
async def test_every_figure_changed_by_hand_is_found(
    database_url: str, lives: list[Life], tamper: Callable[..., None], table: str, column: str
):
    owner = "id" if table == "prop_accounts" else "account_id"
    value = another(tables.metadata.tables[table].c[column].type, column)
    one = f"(select min(ctid) from {table} where {owner} = '{lives[2].id}')"
    tamper(f"update {table} set {column} = {value} where ctid = {one}")
    report = await verify(database_url)
    assert {drift.account_id for drift in report.drift} == {lives[2].id}
    if column in KEYS[table]:
        assert [(each.table, each.field) for each in report.drift] == [(table, "(row)")] * 2
    else:
        (drift,) = report.drift
        assert (drift.table, drift.field) == (table, column)
        assert drift.ledger_value != drift.stored_value


@pytest.mark.parametrize("table", [table.name for table in TABLES])
async def test_a_missing_row_is_found(database_url: str, lives: list[Life], tamper: Callable[..., None], table: str):
    owner = "id" if table == "prop_accounts" else "account_id"
    tamper(f"delete from {table} where ctid = (select min(ctid) from {table} where {owner} = '{lives[2].id}')")
    (drift,) = await found(database_url)
    assert (drift.account_id, drift.table, drift.field) == (lives[2].id, table, "(row)")
    assert (drift.ledger_value, drift.stored_value) == ("present", None)


@pytest.mark.parametrize("table", ["prop_orders", "prop_fills", "prop_positions", "prop_decision_actions"])
async def test_an_invented_row_is_found(database_url: str, lives: list[Life], tamper: Callable[..., None], table: str):
    changed = {
        "prop_orders": "id = gen_random_uuid()",
        "prop_fills": "id = gen_random_uuid()",
        "prop_positions": "opened_seq = 4, status = 'closed', quantity = 0, closed_at = now()",
        "prop_decision_actions": "decision_run_id = 'made-up', prop_action_id = gen_random_uuid()",
    }[table]
    one = f"(select min(ctid) from {table} where account_id = '{lives[0].id}')"
    tamper(
        f"create temp table invented as select * from {table} where ctid = {one}",
        f"update invented set {changed}",
        f"insert into {table} select * from invented",
    )
    (drift,) = await found(database_url)
    assert (drift.table, drift.field, drift.ledger_value, drift.stored_value) == (table, "(row)", None, "present")


async def test_rows_of_an_account_without_ledger(database_url: str, lives: list[Life], tamper: Callable[..., None]):
    tamper(f"delete from prop_ledger_events where account_id = '{lives[2].id}'")
    drifts = await found(database_url)
    assert {drift.account_id for drift in drifts} == {lives[2].id}
    assert {drift.table for drift in drifts} == set(KEYS)
    assert {drift.ledger_value for drift in drifts} == {None}


async def test_a_ledger_without_account(database_url: str, lives: list[Life], tamper: Callable[..., None]):
    tamper(
        f"delete from prop_account_balances where account_id = '{lives[1].id}'",
        f"delete from prop_accounts where id = '{lives[1].id}'",
    )
    assert named(await found(database_url)) == {("prop_accounts", "(row)"), ("prop_account_balances", "(row)")}


@pytest.mark.parametrize(
    "damage",
    [
        "delete from prop_ledger_events where {row}",
        "update prop_ledger_events set payload = payload || '{{\"forged\": 1}}' where {row}",
        "update prop_ledger_events set payload = '{{\"n\": 1e4000}}' where {row}",
        "update prop_ledger_events set occurred_at = occurred_at + interval '1 us' where {row}",
        "update prop_ledger_events set occurred_at = 'infinity' where {row}",
        "update prop_ledger_events set type = 'account_teleported' where {row}",
        "update prop_ledger_events set version = 99 where {row}",
        "update prop_ledger_events set hash = decode(repeat('ab', 32), 'hex') where {row}",
    ],
)
async def test_a_broken_ledger_is_named_and_hides_no_other(
    database_url: str, lives: list[Life], tamper: Callable[..., None], damage: str
):
    tamper(
        damage.format(row=f"account_id = '{lives[0].id}' and seq = 5"),
        f"update prop_account_balances set cash = cash + 1, equity = equity + 1, free_margin = free_margin + 1"
        f" where account_id = '{lives[1].id}'",
    )
    drifts = await found(database_url)
    assert [(each.table, each.key) for each in drifts if each.account_id == lives[0].id] == [
        ("prop_ledger_events", "5")
    ]
    assert {each.field for each in drifts if each.account_id == lives[1].id} == {"cash", "equity", "free_margin"}


async def test_the_epoch_never_falls(database_url: str, lives: list[Life], tamper: Callable[..., None]):
    tamper(
        f"update prop_ledger_events set epoch = 9 where account_id = '{lives[0].id}' and seq = 3",
        f"update prop_account_balances set epoch = 0 where account_id = '{lives[1].id}'",
        f"update prop_account_balances set epoch = epoch + 1 where account_id = '{lives[2].id}'",
    )
    assert [(each.account_id, each.table, each.key) for each in await found(database_url)] == sorted(
        [
            (lives[0].id, "prop_ledger_events", "4"),
            (lives[1].id, "prop_account_balances", lives[1].id),
        ]
    )


async def test_a_snapshot_that_is_not_its_seq(
    database_url: str, store: PostgresStore, lives: list[Life], tamper: Callable[..., None]
):
    tamper("delete from prop_account_snapshots")
    life, other, third, fourth, _ = lives
    for each in (life, other, third, fourth):
        await each.snapshot()
    state = life.book.state
    richer = msgspec.structs.replace(state.account, adjustments=ONE)
    lie = packed(StoredSnapshot(life.id, state.account.seq, 1, BookState(richer, state.head, frozenset({1}))))
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(
            "update prop_account_snapshots set state = %s, sha256 = %s where account_id = %s",
            (lie.state, lie.sha256, life.id),
        )
    tamper(
        f"update prop_account_snapshots set state = substr(state, 2) where account_id = '{other.id}'",
        f"update prop_account_snapshots set seq = seq + 100 where account_id = '{third.id}'",
        f"update prop_account_snapshots set schema_version = 999 where account_id = '{fourth.id}'",
    )
    drifts = await found(database_url)
    assert {(each.account_id, each.field) for each in drifts} == {
        (life.id, "adjustments"),
        (life.id, "seen"),
        (other.id, "state"),
        (third.id, "(row)"),
    }
    assert {each.table for each in drifts} == {"prop_account_snapshots"}


# ------------------------------------------------------------ live accounts


def wire(life: Life, **changed: Any) -> Mapping[str, Any]:
    """The snapshot as the gateway shows it, with an age that the ledger does not know."""
    shown: dict[str, Any] = plain(snapshot_view(life.book.account))
    return shown | {"positions": [each | {"markAgeMs": 17} for each in shown["positions"]]} | changed


async def test_live_accounts_are_compared_at_their_own_seq(database_url: str, lives: list[Life]):
    by_id = {life.id: life for life in lives}

    async def live(account_id: str) -> tuple[int, Mapping[str, Any]] | None:
        life = by_id[account_id]
        if life.book.account.is_terminal:
            return None
        await life.live_through(2)  # it trades on after the picture was taken
        return life.book.account.seq, wire(life)

    report = await verify(database_url, live=live)
    assert report.drift == ()
    assert report.live_checked == 2


async def test_a_live_account_that_differs(database_url: str, lives: list[Life]):
    life, ahead, *_ = lives
    balance = plain(snapshot_view(life.book.account))["balance"]

    async def live(account_id: str) -> tuple[int, Mapping[str, Any]] | None:
        if account_id == life.id:
            return life.book.account.seq, wire(life, balance=balance | {"cash": "1.00000000"}, valuation="nonsense")
        if account_id == ahead.id:
            return ahead.book.account.seq + 3, wire(ahead)
        return None

    drifts = await found(database_url, live=live)
    assert {(each.account_id, each.table, each.field) for each in drifts} == {
        (life.id, "live", "balance.cash"),
        (life.id, "live", "valuation"),
        (ahead.id, "live", "accountSeq"),
    }
    (cash,) = (each for each in drifts if each.field == "balance.cash")
    assert (cash.ledger_value, cash.stored_value) == (balance["cash"], "1.00000000")


async def test_an_invented_live_position_is_found(database_url: str, lives: list[Life]):
    (life, *_) = lives
    shown = wire(life)

    async def live(account_id: str) -> tuple[int, Mapping[str, Any]] | None:
        if account_id != life.id:
            return None
        return life.book.account.seq, {**shown, "positions": [*shown["positions"], {"symbol": "ZZZ"}]}

    assert named(await found(database_url, live=live)) == {("live", "positions")}


async def test_a_live_view_that_cannot_be_had_ends_it(database_url: str, lives: list[Life]):
    async def live(account_id: str) -> tuple[int, Mapping[str, Any]] | None:
        raise StoreUnavailable(f"no word of {account_id}")

    with pytest.raises(StoreUnavailable, match="no word of"):
        await verify(database_url, live=live)


# ------------------------------------------------------------ pictures


@pytest.fixture
def short_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of one account each."""
    monkeypatch.setattr(reconcile, "PICTURE_EVENTS", 1)


@pytest.mark.usefixtures("short_pictures")
async def test_no_picture_is_held_from_the_first_account_to_the_last(database_url: str, lives: list[Life]):
    """As long as one is, no row version that a commit replaces can go."""
    begun = []

    async def live(account_id: str) -> None:
        async with await psycopg.AsyncConnection.connect(database_url) as connection:
            cursor = await connection.execute(
                "select xact_start from pg_stat_activity where application_name = 'prop-verify' and"
                " datname = current_database() and backend_xmin is not null"
            )
            begun.append(await cursor.fetchall())

    report = await verify(database_url, live=live)
    assert report.is_clean
    assert all(len(held) == 1 for held in begun)
    assert len({held[0] for held in begun}) == report.accounts == len(lives)


@pytest.mark.usefixtures("short_pictures")
async def test_between_two_pictures_no_account_is_lost(
    database_url: str, lives: list[Life], tamper: Callable[..., None]
):
    """Also not those that only one table knows of: below the first id, between two, above the last."""
    one = sorted(ids(lives))[0]
    beside = one[:24] + "ffffffffffff"
    strangers = ["00000000-0000-7000-8000-000000000000", beside, "ffffffff-ffff-7fff-bfff-ffffffffffff"]
    tamper(
        *(
            "insert into prop_account_balances select (b).* from (select jsonb_populate_record(balances,"
            f" jsonb_build_object('account_id', '{stranger}')) as b from prop_account_balances balances"
            f" where account_id = '{one}') as made"
            for stranger in strangers
        )
    )
    told: list[Progress] = []
    drifts = await found(database_url, on_progress=told.append)
    assert [progress.account_id for progress in told] == sorted([*ids(lives), *strangers])
    assert {each.account_id for each in drifts} == set(strangers)
    some = [strangers[2], one]
    told.clear()
    await verify(database_url, account_ids=some, on_progress=told.append)
    assert [progress.account_id for progress in told] == sorted(some)


# ------------------------------------------------------------ the report itself


async def test_a_report_holds_so_many_drifts_and_counts_the_rest(
    database_url: str, lives: list[Life], tamper: Callable[..., None], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(reconcile, "DRIFT_MAX", 3)
    tamper("update prop_orders set symbol = 'X'")
    report = await verify(database_url)
    assert len(report.drift) == 3
    assert report.drifts == sum(life.book.account.counters.orders for life in lives)


async def test_postgres_away_is_said_so():
    with pytest.raises(StoreUnavailable):
        await verify("postgresql://prop@127.0.0.1:1/prop")
