"""Bring a database to the schema of this program.

Guarantee: safe to run twice, also at once: a migrator waits for the one before it (an advisory lock) and then finds
nothing to do. A version is applied whole or not at all. No version waits long behind readers (`lock_timeout`), since
all who come after it would wait too.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, create_engine, make_url, text
from sqlalchemy.pool import NullPool

from persistence.migrations.restored import put_in_order
from persistence.migrations.results import freeze_lacking

LOCK_KEY: Final = 0x70726F70  # "prop"
MIGRATOR_WAIT_MS_MAX: Final = 120_000
"""How long to wait for another migrator."""
LOCK_TIMEOUT_MS: Final = 5_000
"""How long a version may wait for a table; past it the version is rolled back and the run fails, to be repeated."""
CONNECT_TIMEOUT_S: Final = 10


class NewerSchema(Exception):
    """The database is at a version of a later program: this one must not write to it. The message says what to do."""


def upgrade(url: str) -> None:
    """Apply every version that `postgresql://...` lacks, and put right what older programs and restores left.

    Raises `NewerSchema`, or `sqlalchemy.exc.OperationalError` past a timeout."""
    with _connected(url) as connection:
        _set_lock_timeout(connection, MIGRATOR_WAIT_MS_MAX)
        connection.execute(text("SELECT pg_advisory_lock(:key)"), {"key": LOCK_KEY})
        connection.commit()
        _set_lock_timeout(connection, LOCK_TIMEOUT_MS)
        config = _config()
        revision = MigrationContext.configure(connection).get_current_revision()
        if revision not in (None, *(each.revision for each in ScriptDirectory.from_config(config).walk_revisions())):
            raise NewerSchema(
                f"the database is at version {revision}, which this program does not know: a later one migrated it. "
                "Run that one, or restore a backup from before."
            )
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
        connection.commit()
        put_in_order(connection)
        connection.commit()
        freeze_lacking(connection)


def current(url: str) -> str | None:
    """The version of the database; None where none was ever applied."""
    with _connected(url) as connection:
        return MigrationContext.configure(connection).get_current_revision()


def head() -> str:
    """The version this program needs."""
    newest = ScriptDirectory.from_config(_config()).get_current_head()
    if newest is None:
        raise RuntimeError("no migrations found: the installation is incomplete")
    return newest


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    return config


@contextmanager
def _connected(url: str) -> Iterator[Connection]:
    engine = create_engine(
        make_url(url).set(drivername="postgresql+psycopg"),
        poolclass=NullPool,
        connect_args={"application_name": "prop migrate", "connect_timeout": CONNECT_TIMEOUT_S},
    )
    with engine.connect() as connection:
        yield connection


def _set_lock_timeout(connection: Connection, milliseconds: int) -> None:
    connection.execute(text("SELECT set_config('lock_timeout', :limit, false)"), {"limit": f"{milliseconds}ms"})
    connection.commit()
