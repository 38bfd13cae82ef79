"""Pools of connections to Postgres, and the two ways to use one: rows of a query, and a transaction that writes.

Guarantee: whatever keeps Postgres from answering (away, restarting, out of connections, a statement timeout) is raised
as `StoreUnavailable`, and a pool whose connections died with a restarted server serves the very next query.
A fault of the query itself is a defect or a wrong setting and is raised as psycopg says it.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final, LiteralString, TypeVar

import psycopg
from psycopg import AsyncConnection
from psycopg.rows import AsyncRowFactory
from psycopg.sql import SQL, Composed
from psycopg_pool import AsyncConnectionPool, PoolClosed, PoolTimeout

from persistence.store import StoreUnavailable

Pool = AsyncConnectionPool[AsyncConnection[Any]]
Query = SQL | Composed | LiteralString
Row = TypeVar("Row")
Parameters = Mapping[str, object] | Sequence[object]

UNREACHABLE: Final = (psycopg.OperationalError, psycopg.InterfaceError)
"""What psycopg raises when the server, not the query, is at fault; `PoolTimeout` is one of them."""
CONNECT_SECONDS_MAX: Final = 5.0
"""How long a query waits for a connection before Postgres counts as away."""
STATEMENT_TIMEOUT_MS: Final = 30_000


def connection_pool(
    database_url: str,
    *,
    connections_max: int,
    read_only: bool,
    connect_seconds_max: float = CONNECT_SECONDS_MAX,
    statement_timeout_ms: int = STATEMENT_TIMEOUT_MS,
) -> Pool:
    """A pool of autocommit connections that speak UTC, still closed: open it with `await pool.open()`."""
    options = (
        f"-c default_transaction_read_only={'on' if read_only else 'off'} -c timezone=UTC"
        f" -c statement_timeout={statement_timeout_ms} -c application_name=prop"
    )
    return AsyncConnectionPool(
        database_url,
        min_size=1,
        max_size=connections_max,
        timeout=connect_seconds_max,
        kwargs={"autocommit": True, "options": options, "connect_timeout": max(2, round(connect_seconds_max))},
        open=False,
    )


async def rows(
    pool: Pool,
    make_row: AsyncRowFactory[Row],
    query: Query,
    parameters: Parameters | None = None,
    *,
    is_binary: bool = False,
) -> list[Row]:
    """All rows of one query, run again once where its connection had died unnoticed; raises `StoreUnavailable`.

    For queries only: a statement that writes must not be run twice. `is_binary`: in Postgres' binary form, which for
    large values of bytes is half as long and need not be decoded.
    """
    try:
        try:
            return await _fetched(pool, make_row, query, parameters, is_binary)
        except UNREACHABLE as error:
            if not _is_lost(error):
                raise
            await pool.check()  # the others of this pool died with it
            return await _fetched(pool, make_row, query, parameters, is_binary)
    except UNREACHABLE as error:
        raise unavailable(error) from error


@asynccontextmanager
async def writing(pool: Pool) -> AsyncIterator[AsyncConnection[Any]]:
    """One transaction, committed at the end of the block; raises `StoreUnavailable`, after which it may yet have
    happened. For statements that may be repeated, not for the ledger."""
    try:
        async with pool.connection() as connection, connection.transaction():
            yield connection
    except UNREACHABLE as error:
        raise unavailable(error) from error


def unavailable(error: psycopg.Error) -> StoreUnavailable:
    return StoreUnavailable(f"Postgres does not answer: {str(error).strip() or type(error).__name__}")


def _is_lost(error: psycopg.Error) -> bool:
    """The connection broke under a query: no word from the server, or its word that it is going down."""
    return not isinstance(error, PoolTimeout | PoolClosed) and (error.sqlstate or "57P01").startswith("57P")


async def _fetched(
    pool: Pool, make_row: AsyncRowFactory[Row], query: Query, parameters: Parameters | None, is_binary: bool
) -> list[Row]:
    async with pool.connection() as connection, connection.cursor(row_factory=make_row) as cursor:
        await cursor.execute(query, parameters, binary=is_binary)
        return await cursor.fetchall()
