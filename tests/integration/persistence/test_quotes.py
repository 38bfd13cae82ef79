"""Quotes on a real price table: odd rows, other schemas, and millions of rows in milliseconds."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from decimal import Decimal

import psycopg
import pytest

from engine.quotes import Quote, fault, usable
from persistence.pools import connection_pool
from persistence.quotes import LATEST, QuoteQueryError, QuoteReader
from persistence.store import StoreUnavailable

pytestmark = pytest.mark.postgres

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def insert(url: str, *values: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f"insert into market_prices values {', '.join(values)}".encode())


@pytest.fixture
async def reader(database_url: str) -> AsyncIterator[QuoteReader]:
    async with QuoteReader(database_url) as reader:
        yield reader


async def test_no_rows_are_no_quotes(reader: QuoteReader):
    await reader.check()
    assert await reader.read() == {}


async def test_the_latest_row_of_each_symbol(database_url: str, reader: QuoteReader):
    insert(
        database_url,
        "('BTC-USD', 1, 2, null, 'old', '2026-01-02T03:04:04Z')",
        "('BTC-USD', 49999.5, 50000.5, null, 'feed', '2026-01-02T03:04:05Z')",
        "('ETH-USD', 3000, 3001, 3000.4, 'feed', '2026-01-02T12:04:05+09')",
        "('BTC-USD', 3, 4, null, 'older', '2026-01-01T00:00:00Z')",
    )
    assert await reader.read() == {
        "BTC-USD": Quote("BTC-USD", Decimal("49999.5"), Decimal("50000.5"), Decimal(50000), "feed", NOW),
        "ETH-USD": Quote("ETH-USD", Decimal(3000), Decimal(3001), Decimal("3000.4"), "feed", NOW),
    }


@pytest.mark.parametrize(
    "prices",
    [
        "'NaN', 1, null",
        "1, 'Infinity', null",
        "'-Infinity', 1, 1",
        "null, null, null",
        "1, 1, 'NaN'",
        "-1, 1, null",
        "0, 0, 0",
        "2, 1, null",
        "1e131000, 1e131000, null",
        "1e-16000, 1, 1",
    ],
)
async def test_an_odd_row_harms_nobody_else(database_url: str, reader: QuoteReader, prices: str):
    insert(
        database_url,
        f"('ODD', {prices}, 'feed', '2026-01-02T03:04:05Z')",
        "('PLAIN', 1, 1, null, null, '2026-01-02T03:04:05Z')",
    )
    quotes = await reader.read()
    assert fault(quotes["ODD"]) is not None
    assert isinstance(usable(quotes, "PLAIN", NOW, 60_000), Quote)


@pytest.mark.parametrize("at", ["infinity", "-infinity", "20000-01-01T00:00:00Z", "4000-01-01T00:00:00Z BC"])
async def test_a_time_that_no_clock_shows_is_stale(database_url: str, reader: QuoteReader, at: str):
    insert(database_url, f"('ODD', 1, 1, 1, 'feed', '{at}')")
    assert not isinstance(usable(await reader.read(), "ODD", NOW, 10**12), Quote)


async def test_a_query_of_the_operators(database_url: str):
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("create schema feed")
        connection.execute("create table feed.ticks (pair text, b float8, a float8, ts timestamp)")
        connection.execute("insert into feed.ticks values ('X%', 'Infinity', 2, now()), ('Y', 1.5, 2.5, '2026-01-02')")
    query = """
        select a as ask, b as bid, pair as symbol, null::numeric as mid, ts at time zone 'UTC' as observed_at,
               'ticks {raw}' as source from feed.ticks where pair not like 'Z%' -- all
        ;
    """
    async with QuoteReader(database_url, query=query) as reader:
        await reader.check()
        quotes = await reader.read()
    at = datetime(2026, 1, 2, tzinfo=UTC)
    assert quotes["Y"] == Quote("Y", Decimal("1.5"), Decimal("2.5"), Decimal(2), "ticks {raw}", at)
    assert fault(quotes["X%"]) == "not_a_number"


@pytest.mark.parametrize(
    ("query", "complaint"),
    [
        ("select 1", "must give symbol, bid, ask, mid, source, observed_at"),
        ("selec", "must give"),
        ("select * from nowhere", "nowhere"),
        ("select 'X' as symbol, 1 bid, 1 ask, null as mid, 'f' source, now() observed_at", "mid as text"),
        ("select 'X' as symbol, 1 bid, 1 ask, 1 mid, 'f' source, now()::timestamp observed_at", "time zone"),
        ("insert into market_prices select 'X', 1, 1, 1, 'f', now() returning *", "must give"),
    ],
)
async def test_a_query_that_cannot_give_quotes_is_refused_at_start(database_url: str, query: str, complaint: str):
    async with QuoteReader(database_url, query=query) as reader:
        with pytest.raises(QuoteQueryError, match=complaint):
            await reader.check()


async def test_a_given_pool_is_used_and_left_open(database_url: str):
    async with connection_pool(database_url, connections_max=1, read_only=True) as pool:
        async with QuoteReader(pool) as reader:
            assert await reader.read() == {}
        async with pool.connection() as connection:
            assert await (await connection.execute("select 1")).fetchone() == (1,)


async def test_reading_goes_on_after_postgres_cut_the_connections(database_url: str, reader: QuoteReader):
    assert await reader.read() == {}
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(
            "select pg_terminate_backend(pid) from pg_stat_activity"
            " where datname = current_database() and pid <> pg_backend_pid()"
        )
    assert await reader.read() == {}


async def test_postgres_away_is_said_so():
    pool = connection_pool(
        "postgresql://prop@127.0.0.1:1/prop", connections_max=1, read_only=True, connect_seconds_max=0.2
    )
    async with pool:
        with pytest.raises(StoreUnavailable):
            await QuoteReader(pool).read()


async def test_the_query_touches_a_few_rows_of_many(database_url: str, reader: QuoteReader):
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(
            "insert into market_prices"
            " select 'S' || n % 20, 1, 2, null, 'feed', timestamptz '2026-01-01Z' + n * interval '1 second'"
            " from generate_series(1, 200000) n"
        )
        connection.execute("vacuum analyze market_prices")
        plan = connection.execute(b"explain (analyze, buffers, format json) " + LATEST.encode()).fetchone()
    assert plan is not None
    root = plan[0][0]["Plan"]
    assert len(await reader.read()) == 20
    assert root["Shared Hit Blocks"] + root["Shared Read Blocks"] < 400  # of about 1,700, and no more as it grows
