"""Fixtures every test may use. A test that asks for none of them starts nothing."""

from collections.abc import Iterator

import pytest

from persistence.embedded import EmbeddedPostgres
from tests.support.postgres import make_template, temporary_database, temporary_postgres


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[EmbeddedPostgres]:
    """A real PostgreSQL for the session (for each worker, where tests run in parallel)."""
    with temporary_postgres() as server:
        yield server


@pytest.fixture(scope="session")
def migrated_template(postgres_server: EmbeddedPostgres) -> str:
    """The name of a database with every migration run. Connect to its clones, not to it."""
    return make_template(postgres_server)


@pytest.fixture
def database_url(postgres_server: EmbeddedPostgres, migrated_template: str) -> Iterator[str]:
    """The URL of a migrated, empty database of this test's own."""
    with temporary_database(postgres_server, migrated_template) as url:
        yield url


@pytest.fixture
def empty_database_url(postgres_server: EmbeddedPostgres) -> Iterator[str]:
    """The URL of a database without any table, for tests of the migrations themselves."""
    with temporary_database(postgres_server) as url:
        yield url
