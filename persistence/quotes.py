"""Quotes out of Postgres: the latest observed price of every symbol, as Data Ingestion wrote it.

Owns the query and the way from a row to a quote; writes nothing. Guarantee: no row of the price table, however odd
(NaN, Infinity, null, negative, huge, observed at no time at all), makes a read fail: it becomes a quote that
`engine.quotes.usable` refuses (G7). Another ingestion schema is read through a query of the operator's.
"""

from collections.abc import Iterable
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Final, LiteralString, Self

import psycopg
from psycopg.rows import tuple_row
from psycopg.sql import SQL, Composed

from engine.quotes import Quote, observed
from persistence.pools import UNREACHABLE, Pool, connection_pool, rows, unavailable

CONNECTIONS_MAX: Final = 2
NEVER: Final = datetime.min.replace(tzinfo=UTC)
"""Observed at no time that a clock can show: older than any age allows."""

LATEST: Final = """
with recursive symbols as (
    (select symbol from market_prices order by symbol limit 1)
    union all
    select (select price.symbol from market_prices price where price.symbol > symbols.symbol
            order by price.symbol limit 1)
    from symbols where symbols.symbol is not null
)
select latest.symbol, latest.bid, latest.ask, latest.mid, latest.source, latest.observed_at
from symbols cross join lateral (
    select price.* from market_prices price where price.symbol = symbols.symbol
    order by price.observed_at desc limit 1
) latest
"""
"""A loose index scan: two descents of (symbol, observed_at) a symbol, one to find it and one for its quote."""

_TYPED: Final = """
select quotes.symbol::text, quotes.bid::numeric, quotes.ask::numeric, quotes.mid::numeric, quotes.source::text,
       case when quotes.observed_at between timestamptz '0001-01-02 00:00Z' and timestamptz '9999-12-30 00:00Z'
            then quotes.observed_at end
from ({query}
) quotes
"""
"""Any query brought to types that a driver can always read: Python's clock has no infinity and no year 10000."""

_RAW: Final = "select symbol, bid, ask, mid, source, observed_at from ({query}\n) quotes limit 0"

_TEXTS: Final = frozenset({"text", "varchar", "bpchar", "name"})
_NUMBERS: Final = frozenset({"numeric", "float8", "float4", "int8", "int4", "int2"})
_COLUMNS: Final = (
    ("symbol", _TEXTS, "text"),
    ("bid", _NUMBERS, "a number"),
    ("ask", _NUMBERS, "a number"),
    ("mid", _NUMBERS, "a number (null::numeric where there is none)"),
    ("source", _TEXTS, "text"),
    ("observed_at", frozenset({"timestamptz"}), "timestamptz (a time without zone: observed_at at time zone 'UTC')"),
)

PriceRow = tuple[str | None, Decimal | None, Decimal | None, Decimal | None, str | None, datetime | None]
"""symbol, bid, ask, mid, source, observed_at."""


class QuoteQueryError(Exception):
    """The query cannot give quotes; the message says what it must give. For start-up, not for a running engine."""


class QuoteReader:
    """Reads all quotes at once, on a given pool or on a small one of its own that `open` makes and `close` ends."""

    def __init__(self, database: Pool | str, *, query: str | None = None) -> None:
        self._is_own = isinstance(database, str)
        self._pool = (
            connection_pool(database, connections_max=CONNECTIONS_MAX, read_only=True)
            if isinstance(database, str)
            else database
        )
        self._query = (query or LATEST).strip().rstrip(";")

    async def open(self) -> None:
        if self._is_own:
            await self._pool.open()

    async def close(self) -> None:
        if self._is_own:
            await self._pool.close()

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(self, *failure: object) -> None:
        await self.close()

    async def check(self) -> None:
        """Plan the query without running it through; raises `QuoteQueryError` or `StoreUnavailable`."""
        try:
            async with self._pool.connection() as connection:
                cursor = await connection.execute(self._sql(_RAW))
                types = {
                    column.name: connection.adapters.types.get(column.type_code) for column in cursor.description or ()
                }
        except UNREACHABLE as error:
            raise unavailable(error) from error
        except psycopg.Error as error:
            wanted = ", ".join(name for name, _, _ in _COLUMNS)
            raise QuoteQueryError(f"the query for quotes must give {wanted}: {str(error).strip()}") from error
        for name, allowed, must_be in _COLUMNS:
            found = types[name]
            if found is None or found.name not in allowed:
                given = found.name if found else "of an unknown type"
                raise QuoteQueryError(f"the query for quotes gives {name} as {given}; it must be {must_be}")

    async def read(self) -> dict[str, Quote]:
        """The latest quote of each symbol, times in UTC; raises `StoreUnavailable`."""
        return latest(await rows(self._pool, tuple_row, self._sql(_TYPED)))

    def _sql(self, around: LiteralString) -> Composed:
        # The operator's own SQL, from the settings file: it is not composed with anything that a client sends.
        return SQL(around).format(query=SQL(self._query))


def latest(found: Iterable[PriceRow | tuple[Any, ...]]) -> dict[str, Quote]:
    """One quote a symbol, the last observed where a query gives several; a row without a symbol is nobody's price."""
    quotes: dict[str, Quote] = {}
    for symbol, bid, ask, mid, source, at in found:
        if symbol is None:
            continue
        quote = observed(symbol, bid, ask, mid, source or "", NEVER if at is None else at.astimezone(UTC))
        held = quotes.get(symbol)
        if held is None or held.observed_at <= quote.observed_at:
            quotes[symbol] = quote
    return quotes
