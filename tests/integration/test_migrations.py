"""Migrations: from nothing to the schema, twice, at once, interrupted; and the schema is the metadata."""

import asyncio
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import create_engine, make_url
from sqlalchemy.dialects.postgresql.base import ischema_names
from sqlalchemy.exc import OperationalError
from sqlalchemy.pool import NullPool

from persistence import reconcile, tables
from persistence.migrations import run
from persistence.postgres_store import PostgresStore
from tests.support.lively import lively

pytestmark = pytest.mark.postgres
ischema_names["xid8"] = tables.Xid8  # so that reflection knows it


def test_migrating_brings_an_empty_database_to_the_head_and_again_changes_nothing(empty_database_url: str):
    assert run.current(empty_database_url) is None
    for _ in range(2):
        run.upgrade(empty_database_url)
        assert run.current(empty_database_url) == run.head()


def test_migrators_at_once_take_turns(empty_database_url: str):
    start = threading.Barrier(4)

    def migrate(_: int) -> None:
        start.wait()
        run.upgrade(empty_database_url)

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(migrate, range(4)))
    assert run.current(empty_database_url) == run.head()


def test_an_interrupted_migration_leaves_nothing_behind(empty_database_url: str):
    with psycopg.connect(empty_database_url, autocommit=True) as other:
        other.execute("create table prop_service_tokens (in_the_way int)")
        with pytest.raises(Exception, match="prop_service_tokens"):
            run.upgrade(empty_database_url)
        assert run.current(empty_database_url) is None
        assert other.execute("select to_regclass('prop_accounts')").fetchone() == (None,)
        other.execute("drop table prop_service_tokens")
    run.upgrade(empty_database_url)
    assert run.current(empty_database_url) == run.head()


def test_a_migration_that_was_killed_is_run_again(empty_database_url: str):
    with psycopg.connect(empty_database_url) as other:
        other.execute("create table prop_service_tokens (not_committed_so_the_migration_waits int)")
        migrator = subprocess.Popen([sys.executable, "-c", MIGRATOR, empty_database_url])
        try:
            wait_for_backend(empty_database_url, "wait_event_type = 'Lock'", found=True)
        finally:
            migrator.kill()
            migrator.wait()
        other.rollback()
    wait_for_backend(empty_database_url, "true", found=False)
    assert run.current(empty_database_url) is None
    run.upgrade(empty_database_url)
    assert run.current(empty_database_url) == run.head()


MIGRATOR = "import sys; from persistence.migrations import run; run.upgrade(sys.argv[1])"


def wait_for_backend(url: str, condition: str, *, found: bool) -> None:
    """Until a migrator's connection is (or no longer is) in that condition."""
    query = (
        "select exists (select from pg_stat_activity where datname = current_database()"
        f" and application_name = 'prop migrate' and {condition})"
    )
    deadline = time.monotonic() + 30
    with psycopg.connect(url, autocommit=True) as looking:
        while looking.execute(query.encode()).fetchone() != (found,):
            assert time.monotonic() < deadline, f"{condition} is not {found}"
            time.sleep(0.02)


def test_a_database_of_a_later_program_is_left_alone(database_url: str):
    with psycopg.connect(database_url, autocommit=True) as other:
        other.execute("update alembic_version set version_num = '9999'")
    with pytest.raises(run.NewerSchema, match="version 9999"):
        run.upgrade(database_url)
    assert run.current(database_url) == "9999"


def test_a_migrator_does_not_wait_for_another_for_ever(empty_database_url: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(run, "MIGRATOR_WAIT_MS_MAX", 50)
    with psycopg.connect(empty_database_url) as other:
        other.execute("select pg_advisory_lock(%s)", (run.LOCK_KEY,))
        with pytest.raises(OperationalError, match="lock timeout"):
            run.upgrade(empty_database_url)


def test_the_metadata_is_the_schema(database_url: str):
    partitions = {f"prop_ledger_events_{part}" for part in range(tables.LEDGER_PARTITIONS)}

    def of_interest(_: object, name: str | None, type_: str, reflected: bool, __: object) -> bool:
        return not (type_ == "table" and reflected and name in partitions)

    engine = create_engine(make_url(database_url).set(drivername="postgresql+psycopg"), poolclass=NullPool)
    options = {"compare_type": True, "compare_server_default": True, "include_object": of_interest}
    with engine.connect() as connection:
        found = compare_metadata(MigrationContext.configure(connection, opts=options), tables.metadata)
    assert found == []


def test_the_ledger_is_partitioned(database_url: str):
    with psycopg.connect(database_url) as connection:
        rows = connection.execute("select count(*) from pg_inherits where inhparent = 'prop_ledger_events'::regclass")
        assert rows.fetchone() == (tables.LEDGER_PARTITIONS,)


def test_prices_of_data_ingestion_are_left_as_they_are(empty_database_url: str):
    with psycopg.connect(empty_database_url, autocommit=True) as connection:
        connection.execute("create table market_prices (symbol text, bid float8, more jsonb)")
        run.upgrade(empty_database_url)
        columns = connection.execute(
            "select column_name::text from information_schema.columns where table_name = 'market_prices'"
        ).fetchall()
    assert sorted(columns) == [("bid",), ("more",), ("symbol",)]


@pytest.mark.parametrize(
    "statement",
    [
        "update prop_ledger_events set payload = '{}'",
        "delete from prop_ledger_events",
        "truncate prop_ledger_events",
        "truncate prop_ledger_events_3",
        "update prop_admin_audit_log set reason = 'another'",
        "delete from prop_admin_audit_log",
        "truncate prop_admin_audit_log",
    ],
)
def test_what_was_written_is_not_rewritten(database_url: str, statement: str):
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(
            "insert into prop_ledger_events values"
            " (gen_random_uuid(), 1, 't', 1, now(), now(), 0, 'r', '{}', sha256('x'))"
        )
        connection.execute(
            "insert into prop_admin_audit_log (token_name, action, reason, request_id) values ('t', 'a', 'r', 'r')"
        )
        with pytest.raises(psycopg.errors.IntegrityConstraintViolation, match="insert only"):
            connection.execute(statement.encode())


BALANCES = (
    "insert into prop_account_balances values (gen_random_uuid(), {cash}, {equity}, 0, 0, 0, 0, 0, {equity}, 1, 0, 1,"
    " {seq}, 0, sha256('x'))"
)


@pytest.mark.parametrize(
    "figures",
    [
        {"cash": "'NaN'", "equity": "'NaN'", "seq": "1"},
        {"cash": "1", "equity": "2", "seq": "1"},
        {"cash": "1", "equity": "1", "seq": "0"},
    ],
)
def test_a_balance_that_contradicts_itself_is_refused(database_url: str, figures: dict[str, str]):
    with psycopg.connect(database_url) as connection, pytest.raises(psycopg.errors.CheckViolation):
        connection.execute(BALANCES.format(**figures).encode())


async def test_accounts_that_ended_before_results_were_kept_get_theirs(database_url: str):
    async with PostgresStore.connect(database_url) as store:
        lives = await lively(store)
    ended = [life.id for life in lives if life.book.account.is_terminal]
    kept = (
        "select account_id::text, account_seq, ended_at, policy_hash, head_hash, result::text from prop_account_results"
    )
    with psycopg.connect(database_url, autocommit=True) as connection:
        frozen = set(connection.execute(kept))
        assert len(frozen) == len(ended) == 3
        connection.execute("delete from prop_account_results")
        connection.execute("set session_replication_role = replica")
        connection.execute(
            "update prop_ledger_events set hash = sha256('x') where account_id = %s and seq = 3", (ended[0],)
        )
        await asyncio.to_thread(run.upgrade, database_url)
        assert set(connection.execute(kept)) == {row for row in frozen if row[0] != ended[0]}
        connection.execute("delete from prop_account_results where account_id = %s", (ended[1],))
    await asyncio.to_thread(run.upgrade, database_url)
    report = await reconcile.verify(database_url, account_ids=ended[1:])
    assert report.drift == ()
