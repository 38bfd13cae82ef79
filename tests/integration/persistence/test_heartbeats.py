"""Heartbeats on a real table: the database's clock, one row a worker."""

import os
from collections.abc import AsyncIterator

import psycopg
import pytest

from persistence.heartbeats import Heartbeats
from persistence.pools import connection_pool
from persistence.store import StoreUnavailable

pytestmark = pytest.mark.postgres


@pytest.fixture
async def heartbeats(database_url: str) -> AsyncIterator[Heartbeats]:
    async with connection_pool(database_url, connections_max=2, read_only=False) as pool:
        yield Heartbeats(pool)


def rewrite(url: str, assignments: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f"update prop_worker_heartbeats set {assignments}".encode())


async def test_a_worker_that_never_beat(heartbeats: Heartbeats):
    assert await heartbeats.read("supervisor") is None
    assert await heartbeats.all() == []


async def test_a_beat_is_fresh_and_carries_its_detail(heartbeats: Heartbeats):
    await heartbeats.beat("supervisor", kind="supervisor", detail={"accounts": 3, "stuck": ["a"]})
    beat = await heartbeats.read("supervisor")
    assert beat is not None
    assert (beat.kind, beat.pid, beat.detail) == ("supervisor", os.getpid(), {"accounts": 3, "stuck": ["a"]})
    assert 0 <= beat.age_ms < 10_000
    assert await heartbeats.read("another") is None


async def test_the_age_is_the_databases(heartbeats: Heartbeats, database_url: str):
    await heartbeats.beat("worker", kind="marking")
    rewrite(database_url, "beat_at = clock_timestamp() - interval '90 seconds'")
    (beat,) = await heartbeats.all()
    assert 90_000 <= beat.age_ms < 100_000


async def test_beats_keep_the_start_and_a_successor_starts_anew(heartbeats: Heartbeats, database_url: str):
    await heartbeats.beat("worker", kind="marking")
    rewrite(database_url, "started_at = '2026-01-01Z', beat_at = '2026-01-01Z'")
    await heartbeats.beat("worker", kind="marking", detail={"passes": 2})
    beat = await heartbeats.read("worker")
    assert beat is not None
    assert beat.started_at.year == 2026
    assert beat.started_at.month == beat.started_at.day == 1
    assert beat.started_at < beat.beat_at
    rewrite(database_url, "pid = pid + 1, started_at = '2026-01-01Z'")
    await heartbeats.beat("worker", kind="marking")
    successor = await heartbeats.read("worker")
    assert successor is not None
    assert successor.started_at == successor.beat_at


async def test_postgres_away_is_said_so():
    pool = connection_pool(
        "postgresql://prop@127.0.0.1:1/prop", connections_max=1, read_only=False, connect_seconds_max=0.2
    )
    async with pool:
        with pytest.raises(StoreUnavailable):
            await Heartbeats(pool).beat("worker", kind="marking")
