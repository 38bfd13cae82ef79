"""One group commit on one connection: a small one in one statement; what is larger, or amends rows, step by step.

The caller owns what an error means, and the end of a transaction that goes step by step; nothing here catches any.
"""

from collections.abc import Sequence
from typing import Final

import psycopg
from psycopg import AsyncRawCursor

from engine.changes import Amendment
from persistence import rows, statements
from persistence.columns import Columns, Row, array_texts, copy_text
from persistence.connections import Connection
from persistence.store import Append

_UNAMENDED: Final = Amendment()
COPY_ROWS_MIN: Final = 200
"""From here on COPY is faster than `INSERT .. unnest`, which needs no round trip of its own."""


def at_once(appends: Sequence[Append]) -> list[str] | None:
    """What `commit_at_once` takes: the values of appends that are few and only add to the tables. None for others."""
    if sum(len(append.events) for append in appends) >= COPY_ROWS_MIN or rows.states(appends):
        return None
    if any(append.audit or append.result or append.amendment != _UNAMENDED for append in appends):
        return None
    made = (
        rows.heads(appends),
        rows.events(appends),
        rows.orders(appends),
        rows.fills(appends),
        rows.actions(appends),
        rows.positions(appends),
        rows.revalued(appends),
    )
    shapes = zip(statements.AT_ONCE, made, strict=True)
    return [text for shape, each in shapes for text in array_texts(shape, each)]


async def commit_at_once(connection: Connection, values: Sequence[str]) -> set[str]:
    """Move heads, write rows and commit in one statement and one round trip; returns whose heads were moved."""
    cursor = AsyncRawCursor(connection)
    await cursor.execute(statements.COMMIT_AT_ONCE, values, prepare=True)
    return {account_id for (account_id,) in await cursor.fetchall()}


async def move_heads(connection: Connection, appends: Sequence[Append]) -> set[str]:
    """Lock the heads and set those that are where their appends expect them: round trip one."""
    values = array_texts(rows.HEADS, rows.heads(appends))
    async with connection.pipeline():
        await connection.execute("BEGIN")
        if len(appends) > 1:
            await connection.execute(statements.LOCK_HEADS, (values[0],), prepare=True)
        moved = await connection.execute(statements.MOVE_HEADS, values, prepare=True)
    return {account_id for (account_id,) in await moved.fetchall()}


async def lock_free_heads(connection: Connection, account_ids: Sequence[str]) -> tuple[set[str], set[str]]:
    """Begin, and lock the heads that can be had without waiting: those, and those that somebody else has locked."""
    async with connection.pipeline():
        await connection.execute("BEGIN")
        had = await connection.execute(statements.LOCK_FREE_HEADS, (list(account_ids),), prepare=True)
        known = await connection.execute(statements.EPOCHS, (list(account_ids),), prepare=True)
    mine = {account_id for account_id, *_ in await had.fetchall()}
    return mine, {account_id for account_id, _ in await known.fetchall()} - mine


async def move_locked_heads(connection: Connection, appends: Sequence[Append]) -> set[str]:
    """Set the heads, locked already, that are where their appends expect them."""
    values = array_texts(rows.HEADS, rows.heads(appends))
    moved = await connection.execute(statements.MOVE_HEADS, values, prepare=True)
    return {account_id for (account_id,) in await moved.fetchall()}


async def copy_large(connection: Connection, moving: Sequence[Append]) -> list[tuple[Columns, list[Row]]]:
    """COPY what has many rows; returns what has few."""
    few = []
    for shape, made in (
        (rows.EVENTS, rows.events(moving)),
        (rows.ORDERS, rows.orders(moving)),
        (rows.FILLS, rows.fills(moving)),
        (rows.ACTIONS, rows.actions(moving)),
    ):
        if len(made) < COPY_ROWS_MIN:
            few.append((shape, made))
            continue
        async with connection.cursor().copy(statements.COPY[shape.table]) as copy:
            await copy.write(copy_text(shape, made))
    return few


async def insert_and_commit(
    connection: Connection, moving: Sequence[Append], few: Sequence[tuple[Columns, list[Row]]]
) -> None:
    """The rest and COMMIT, in one round trip: an error before COMMIT makes the server skip it."""
    async with connection.pipeline():
        await _put(connection, moving, few)
        done = await connection.execute("COMMIT")
    if done.statusmessage != "COMMIT":
        raise psycopg.InternalError(f"COMMIT was answered {done.statusmessage}")


async def insert(connection: Connection, moving: Sequence[Append]) -> None:
    """All rows of appends whose heads were moved, in the caller's transaction."""
    await _put(connection, moving, await copy_large(connection, moving))


async def _put(connection: Connection, moving: Sequence[Append], few: Sequence[tuple[Columns, list[Row]]]) -> None:
    audited = rows.audit(entry for append in moving for entry in append.audit)
    # Rows that stand are amended once the new ones are in, and an episode goes before others take its place.
    then = (
        (statements.INSERT[rows.AUDIT.table], rows.AUDIT, audited),
        (statements.VOID_ORDERS, rows.VOIDED, rows.voided_orders(moving)),
        (statements.VOID_FILLS, rows.VOIDED, rows.voided_fills(moving)),
        (statements.RESTATE_FILLS, rows.RESTATED, rows.restated(moving)),
        (statements.DROP_POSITIONS, rows.GONE, rows.gone(moving)),
        (statements.PUT_POSITIONS, rows.POSITIONS, rows.positions(moving)),
        (statements.REVALUE_POSITIONS, rows.REVALUED, rows.revalued(moving)),
        (statements.PUT_STATES, rows.STATES, rows.states(moving)),
        (statements.INSERT[rows.RESULTS.table], rows.RESULTS, rows.results(moving)),
    )
    for shape, made in few:
        if made:
            await connection.execute(statements.INSERT[shape.table], array_texts(shape, made), prepare=True)
    for statement, shape, made in then:
        if made:
            await connection.execute(statement, array_texts(shape, made), prepare=True)
