"""One group commit, step by step, on one connection: two round trips for small batches, COPY for large ones.

The caller owns the transaction's end and what an error means; nothing here catches any.
"""

from collections.abc import Sequence
from typing import Final

import psycopg

from persistence import rows, statements
from persistence.connections import Connection
from persistence.rows import Columns, Row
from persistence.store import Append

COPY_ROWS_MIN: Final = 200
"""From here on COPY is faster than `INSERT .. unnest`, which needs no round trip of its own."""


async def move_heads(connection: Connection, appends: Sequence[Append]) -> set[str]:
    """Lock the heads and set those that are where their appends expect them: round trip one."""
    values = rows.array_texts(rows.HEADS, rows.heads(appends))
    async with connection.pipeline():
        await connection.execute("BEGIN")
        if len(appends) > 1:
            await connection.execute(statements.LOCK_HEADS, (values[0],), prepare=True)
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
            await copy.write(rows.copy_text(shape, made))
    return few


async def insert_and_commit(
    connection: Connection, moving: Sequence[Append], few: Sequence[tuple[Columns, list[Row]]]
) -> None:
    """The rest and COMMIT, in one round trip: an error before COMMIT makes the server skip it."""
    positions, states = rows.positions(moving), rows.states(moving)
    voided_orders, voided_fills = rows.voided(moving)
    async with connection.pipeline():
        for shape, made in few:
            if made:
                await connection.execute(statements.INSERT[shape.table], rows.array_texts(shape, made), prepare=True)
        if positions:
            values = rows.array_texts(rows.POSITIONS, positions)
            await connection.execute(statements.PUT_POSITIONS, values, prepare=True)
        if states:
            await connection.execute(statements.PUT_STATES, rows.array_texts(rows.STATES, states), prepare=True)
        if voided_orders:
            await connection.execute(statements.VOID_ORDERS, (voided_orders,))
        if voided_fills:
            await connection.execute(statements.VOID_FILLS, (voided_fills,))
        done = await connection.execute("COMMIT")
    if done.statusmessage != "COMMIT":
        raise psycopg.InternalError(f"COMMIT was answered {done.statusmessage}")
