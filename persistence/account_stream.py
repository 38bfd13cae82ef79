"""The whole database, one account at a time: the ledger and every table beside it, merged in account order.

Owns the streaming only. Memory is bounded by one account, whatever is read. Values come as Postgres keeps them and
nothing in a row can make the reading fail: times are text (Postgres knows infinity), JSON is canonical text.
"""

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, suppress
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any, Final

import msgspec
from psycopg import AsyncConnection
from psycopg.rows import dict_row, scalar_row
from psycopg.sql import SQL, Composable, Composed, Identifier
from sqlalchemy import Column, DateTime, Table, Uuid
from sqlalchemy.dialects.postgresql import JSONB

from engine.events import RecordedEvent
from persistence import tables
from persistence.codec import canonical_payload
from persistence.drift import Row, Stored

FETCH_ROWS: Final = 1_000
"""Rows of one table held ahead."""

TABLES: Final[tuple[Table, ...]] = (
    tables.accounts,
    tables.balances,
    tables.orders,
    tables.fills,
    tables.positions,
    tables.decision_actions,
    tables.account_snapshots,
    tables.account_results,
)
"""What is read beside the ledger, every column of it."""

_LEDGER: Final = tables.ledger_events
_BOUNDARIES: Final = SQL(
    """
    select max(account_id::text collate "C") from (
        select account_id, div(sum(last_seq) over (order by account_id), %(events)s) as part from prop_account_balances
    ) as placed group by part
    """
)


class Span(msgspec.Struct, frozen=True):
    """Accounts with `after` < id <= `to`; None: no such end."""

    after: str | None = None
    to: str | None = None


EVERY: Final = Span()


async def spans(connection: AsyncConnection[Any], *, events: int) -> list[Span]:
    """Spans of about so many events each, that hold every id there can be between them."""
    async with connection.cursor(row_factory=scalar_row) as cursor:
        await cursor.execute(_BOUNDARIES, {"events": events})
        ends = sorted(await cursor.fetchall())
    return [Span(after, to) for after, to in pairwise([None, *ends, None])]


async def accounts(
    connection: AsyncConnection[Any], account_ids: Sequence[str] | None, span: Span = EVERY
) -> AsyncGenerator[Stored, None]:
    """Every account of the span that any table knows of, or those of `account_ids` in it; within one transaction of
    the caller's."""
    parameters = {"ids": list(account_ids or ()), "after": span.after, "to": span.to}
    async with AsyncExitStack() as stack:
        streams: dict[str, _Stream] = {}
        for table in (_LEDGER, *TABLES):
            cursor = await stack.enter_async_context(connection.cursor(name=f"all_{table.name}", row_factory=dict_row))
            cursor.itersize = FETCH_ROWS
            owner = "id" if table is tables.accounts else "account_id"
            where = _where(Identifier(owner), span, is_some=account_ids is not None)
            await cursor.execute(_select(table, owner, where), parameters)
            streams[table.name] = _Stream(owner, _reader(table), aiter(cursor))
            await streams[table.name].advance()
        while known := [stream.account_id for stream in streams.values() if stream.account_id is not None]:
            account_id = min(known)  # UUIDs order alike as text and in Postgres
            rows = {name: await stream.take(account_id) for name, stream in streams.items()}
            yield Stored(account_id, [recorded(row) for row in rows.pop(_LEDGER.name)], rows)


async def events_between(
    connection: AsyncConnection[Any], account_id: str, *, after: int, to: int
) -> list[RecordedEvent]:
    """An account's events with `after` < seq <= `to`, as they stand now."""
    where = SQL("account_id = %(id)s::uuid and seq > %(after)s and seq <= %(to)s")
    async with connection.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(_select(_LEDGER, "account_id", where), {"id": account_id, "after": after, "to": to})
        read = _reader(_LEDGER)
        return [recorded(read(row)) for row in await cursor.fetchall()]


class _Stream:
    """Rows of one table in account order, handed out an account at a time."""

    def __init__(self, owner: str, read: Callable[[dict[str, Any]], Row], rows: AsyncIterator[dict[str, Any]]) -> None:
        self.account_id: str | None = None
        self._owner = owner
        self._read = read
        self._rows = rows
        self._next: Row = {}

    async def advance(self) -> None:
        row = await anext(self._rows, None)
        self._next = {} if row is None else self._read(row)
        self.account_id = None if row is None else str(self._next[self._owner])

    async def take(self, account_id: str) -> list[Row]:
        taken = []
        while self.account_id == account_id:
            taken.append(self._next)
            await self.advance()
        return taken


def _where(owner: Identifier, span: Span, *, is_some: bool) -> Composable:
    held = [SQL("true")]
    held += [SQL("{} = any(%(ids)s::uuid[])")] if is_some else []
    held += [SQL("{} > %(after)s::uuid")] if span.after is not None else []
    held += [SQL("{} <= %(to)s::uuid")] if span.to is not None else []
    return SQL(" and ").join(each.format(owner) for each in held)


def _select(table: Table, owner: str, where: Composable) -> Composed:
    order = [owner, *(column.name for column in table.primary_key if column.name != owner)]
    return SQL("select {columns} from {table} where {where} order by {order}").format(
        columns=SQL(", ").join(map(_column, table.columns)),
        table=Identifier(table.name),
        where=where,
        order=SQL(", ").join(SQL("{}.{}").format(Identifier(table.name), Identifier(name)) for name in order),
    )


def _column(column: Column[Any]) -> Composable:
    name = Identifier(column.name)
    if isinstance(column.type, Uuid | JSONB):
        return SQL("{}::text as {}").format(name, name)
    if isinstance(column.type, DateTime):
        return SQL("""to_char({} at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') as {}""").format(name, name)
    return name


def _reader(table: Table) -> Callable[[dict[str, Any]], Row]:
    """Puts the JSON columns of a row into canonical form."""
    json_columns = [column.name for column in table.columns if isinstance(column.type, JSONB)]

    def read(row: dict[str, Any]) -> Row:
        for name in json_columns:
            if row[name] is not None:
                with suppress(msgspec.MsgspecError):  # a number too large to read stays text, and differs
                    row[name] = canonical_payload(row[name]).decode()
        return row

    return read


def recorded(row: Mapping[str, Any]) -> RecordedEvent:
    """A ledger row as the event it claims to be; a time that is none becomes the first of all, and breaks the hash."""
    try:
        occurred_at = datetime.fromisoformat(row["occurred_at"])
    except (TypeError, ValueError):
        occurred_at = datetime.min.replace(tzinfo=UTC)
    return RecordedEvent(
        account_id=row["account_id"],
        seq=row["seq"],
        type=row["type"],
        version=row["version"],
        occurred_at=occurred_at,
        epoch=row["epoch"],
        request_id=row["request_id"],
        payload=row["payload"].encode(),
        hash=row["hash"],
    )
