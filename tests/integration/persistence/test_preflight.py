"""A database that could lose what it confirmed is refused before anything is started on it."""

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
import pytest
from psycopg import sql

from persistence import preflight as module
from persistence.embedded import EmbeddedPostgres
from persistence.preflight import Preflight, UnfitDatabase, preflight
from tests.support.scratch import scratch

pytestmark = pytest.mark.postgres


@contextmanager
def server(**settings: str) -> Iterator[str]:
    with scratch() as folder, EmbeddedPostgres(folder / "data", settings=settings) as postgres:
        yield postgres.url


@pytest.mark.parametrize("name", ["fsync", "full_page_writes"])
def test_a_server_that_may_lose_what_it_confirmed(name: str) -> None:
    with server(**{name: "off"}) as url, pytest.raises(UnfitDatabase, match=f"{name} is off"):
        preflight(url, connections=10)


def test_a_read_only_database(database_url: str) -> None:
    with psycopg.connect(database_url, autocommit=True) as connection:
        (name,) = connection.execute("select current_database()").fetchone() or ("",)
        read_only = sql.SQL("alter database {} set default_transaction_read_only = on").format(sql.Identifier(name))
        connection.execute(read_only)
    with pytest.raises(UnfitDatabase, match="read-only"):
        preflight(database_url, connections=10)


def test_too_few_connections(database_url: str) -> None:
    with pytest.raises(UnfitDatabase, match="max_connections 100 less 3 reserved"):
        preflight(database_url, connections=98)
    assert preflight(database_url, connections=97) == Preflight(())


def test_clocks_that_are_apart_are_told(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SKEW_SECONDS_MAX", -1.0)
    (warning,) = preflight(database_url, connections=10).warnings
    assert "s apart" in warning


def test_none_to_look_at() -> None:
    with pytest.raises(psycopg.OperationalError):
        preflight("postgresql://nobody@127.0.0.1:1/none", connections=1)
