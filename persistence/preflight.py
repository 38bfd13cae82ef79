"""Preflight: what a database must be before an engine is started on it.

Refuses one that could lose what it confirmed, or could not be written to; warns of what works yet will be noticed.
Reads only.
"""

from datetime import UTC, datetime
from typing import Final

import msgspec
import psycopg

CONNECT_SECONDS_MAX: Final = 10
SKEW_SECONDS_MAX: Final = 2.0
"""Further apart, and quotes written by others look stale, or from the future."""
DURABLE: Final = ("fsync", "full_page_writes")


class UnfitDatabase(Exception):
    """An engine must not run on this database; the message says why and what to do."""


class Preflight(msgspec.Struct, frozen=True):
    """What was found in a database that is fit."""

    warnings: tuple[str, ...]


def preflight(url: str, *, connections: int) -> Preflight:
    """Look at the database of `postgresql://...`, from which the engine will want so many connections.

    Raises `UnfitDatabase`, or `psycopg.OperationalError` where there is none to look at."""
    with psycopg.connect(url, autocommit=True, connect_timeout=CONNECT_SECONDS_MAX) as connection:
        for name in DURABLE:
            if _shown(connection, name) != "on":
                raise UnfitDatabase(f"{name} is off: a crash of this server could lose what it confirmed. Turn it on.")
        if _shown(connection, "default_transaction_read_only") == "on" or _one(
            connection, "select pg_is_in_recovery()"
        ):
            raise UnfitDatabase("the database is read-only, a standby perhaps: name the primary.")
        limit, reserved = (
            int(_shown(connection, "max_connections")),
            int(_shown(connection, "superuser_reserved_connections")),
        )
        if limit - reserved < connections:
            raise UnfitDatabase(
                f"max_connections {limit} less {reserved} reserved leaves fewer than the {connections} that this engine"
                " wants: raise it in postgresql.conf, or lower actors.max_account_actors."
            )
        skew_s = _skew_s(connection)
    if abs(skew_s) <= SKEW_SECONDS_MAX:
        return Preflight(())
    return Preflight((f"this machine's clock and the database's are {skew_s:+.1f} s apart: keep both on NTP",))


def _skew_s(connection: psycopg.Connection[tuple[object, ...]]) -> float:
    """How far the database's clock is ahead, less the time that asking took."""
    before = datetime.now(UTC)
    theirs = _one(connection, "select clock_timestamp()")
    after = datetime.now(UTC)
    if not isinstance(theirs, datetime):
        raise TypeError(f"clock_timestamp() is {theirs!r}")
    return (theirs - (before + (after - before) / 2)).total_seconds()


def _shown(connection: psycopg.Connection[tuple[object, ...]], name: str) -> str:
    return str(_one(connection, f"show {name}"))


def _one(connection: psycopg.Connection[tuple[object, ...]], query: str) -> object:
    row = connection.execute(query.encode()).fetchone()
    return None if row is None else row[0]
