"""Databases for tests: one server for the session, one migrated template, one clone of it for each test."""

import itertools
from collections.abc import Iterator
from contextlib import contextmanager

from persistence.embedded import EmbeddedPostgres
from tests.support.scratch import scratch

TEMPLATE = "prop_template"
_numbers = itertools.count(1)


@contextmanager
def temporary_postgres() -> Iterator[EmbeddedPostgres]:
    """A server in a folder of its own, with the durability of a real one; both are gone afterwards."""
    with scratch() as folder, EmbeddedPostgres(folder / "data") as server:
        yield server


def make_template(server: EmbeddedPostgres) -> str:
    """Run all migrations once, in a database for tests to be cloned from; returns its name."""
    from persistence.migrations.run import upgrade

    upgrade(server.create_database(TEMPLATE))
    return TEMPLATE


@contextmanager
def temporary_database(server: EmbeddedPostgres, template: str | None = None) -> Iterator[str]:
    """The URL of a new database, dropped afterwards whatever is still connected to it."""
    name = f"test_{next(_numbers)}"
    try:
        yield server.create_database(name, template)
    finally:
        server.drop_database(name)
