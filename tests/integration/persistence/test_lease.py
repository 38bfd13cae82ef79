"""The lease on a database: one cluster at a time, by the database's clock."""

import asyncio
from collections.abc import AsyncIterator

import psycopg
import pytest

from persistence.heartbeats import Heartbeats
from persistence.lease import DatabaseTaken, Lease, LeaseLost
from persistence.pools import Pool, connection_pool

pytestmark = pytest.mark.postgres


@pytest.fixture
async def pool(database_url: str) -> AsyncIterator[Pool]:
    async with connection_pool(database_url, connections_max=2, read_only=False) as pool:
        yield pool


def leased(pool: Pool, cluster: str, holder: str, *, lease_ms: int = 60_000) -> Lease:
    return Lease(pool, worker="supervisor", cluster=cluster, holder=holder, lease_ms=lease_ms, poll_ms=10)


async def beating(lease: Lease) -> None:
    while True:
        await lease.keep({})
        await asyncio.sleep(0.02)


async def test_another_cluster_is_refused_while_the_holder_lives(pool: Pool):
    first = leased(pool, "one", "a")
    await first.take()
    heart = asyncio.create_task(beating(first))
    with pytest.raises(DatabaseTaken, match=r"^database_taken: .*pid \d+ on .*RAY_ADDRESS"):
        await leased(pool, "two", "b").take()
    heart.cancel()
    await first.keep({"hosts": 3})
    beat = await Heartbeats(pool).read("supervisor")
    assert beat is not None
    assert beat.detail == {"hosts": 3, "cluster": "one", "holder": "a"}


async def test_one_that_was_killed_is_waited_for_and_then_replaced(pool: Pool, database_url: str):
    first, second = leased(pool, "one", "a"), leased(pool, "two", "b")
    await first.take()
    taking = asyncio.create_task(second.take())
    await asyncio.sleep(0.05)
    assert not taking.done(), "the lease had not run out"
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("update prop_worker_heartbeats set beat_at = beat_at - interval '61 seconds'")
    async with asyncio.timeout(5):
        await taking
    with pytest.raises(LeaseLost, match="has taken over"):
        await first.keep({})


async def test_a_database_clock_that_was_set_back_keeps_nobody_out(pool: Pool, database_url: str):
    await leased(pool, "one", "a").take()
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("update prop_worker_heartbeats set beat_at = beat_at + interval '1 day'")
    async with asyncio.timeout(5):
        await leased(pool, "two", "b").take()


async def test_a_successor_in_the_same_cluster_takes_over_at_once(pool: Pool):
    first, second = leased(pool, "one", "a"), leased(pool, "one", "b")
    await first.take()
    await second.take()
    with pytest.raises(LeaseLost):
        await first.keep({})
    await first.release()
    await second.keep({})


async def test_one_that_ends_in_order_leaves_nobody_waiting(pool: Pool):
    first, second = leased(pool, "one", "a"), leased(pool, "two", "b")
    await first.take()
    await first.release()
    async with asyncio.timeout(5):
        await second.take()


async def test_a_row_of_before_there_were_leases_keeps_nobody_out(pool: Pool):
    await Heartbeats(pool).beat("supervisor", kind="supervisor", detail={"hosts": 1})
    async with asyncio.timeout(5):
        await leased(pool, "one", "a").take()
