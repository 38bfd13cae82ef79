"""Hosting: accounts recovered into hosts, how long that takes and what a process grows by.

`python -m benchmarks.hosting URL RECEIPTS` is that process, a fresh one for each measurement: it recovers all accounts
of a database, lets each remember so many receipts and prints the bytes that each has added. A few come before, so that
what every host has anyway does not count.
"""

import asyncio
import gc
import multiprocessing
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from multiprocessing.sharedctypes import SynchronizedArray
from multiprocessing.synchronize import Barrier
from typing import Final, NamedTuple

import psutil
import uvloop

from actors.collecting import collect_seldom
from actors.hosting import AccountHost
from actors.limits import HostLimits, SupervisorLimits
from benchmarks import ledgers
from persistence.committer import Committer
from persistence.postgres_store import PostgresStore

CONNECTIONS_MAX: Final = 2
"""As an account actor has."""
ACCOUNTS_BEFORE: Final = 500
START_SECONDS_MAX: Final = 60
RECOVERY_SECONDS_MAX: Final = 600


@asynccontextmanager
async def host_on(url: str) -> AsyncIterator[tuple[AccountHost, PostgresStore]]:
    """A host as an account actor makes it, without Ray, and its store."""
    async with PostgresStore.connect(url, pool_size_max=CONNECTIONS_MAX) as store:
        committer = Committer(store)
        yield AccountHost("bench", store, committer, HostLimits()), store
        await committer.close()


async def activate(host: AccountHost, ids: Sequence[str]) -> None:
    """Host them, in the portions that a supervisor asks for."""
    portion = SupervisorLimits().activation_chunk
    for start in range(0, len(ids), portion):
        activation = await host.activate(ids[start : start + portion])
        if activation.unknown or activation.broken:
            raise RuntimeError(f"not all were recovered: {activation}")


class Spent(NamedTuple):
    """Seconds that a recovery took, and the CPU seconds of its hosts."""

    wall_s: float
    cpu_s: float


def recovery_by(url: str, hosts: int) -> Spent:
    """What it takes so many new processes, each with a host, to share all accounts among them and bring them back,
    from the listing on. Raises `BrokenBarrierError` where one of them failed."""
    context = multiprocessing.get_context("spawn")
    ready, done = context.Barrier(hosts + 1), context.Barrier(hosts + 1)
    cpu_s = context.Array("d", hosts)
    processes = [
        context.Process(target=_recover_share, args=(url, place, cpu_s, ready, done)) for place in range(hosts)
    ]
    for process in processes:
        process.start()
    try:
        ready.wait(START_SECONDS_MAX)
        began = time.perf_counter()
        done.wait(RECOVERY_SECONDS_MAX)
        return Spent(time.perf_counter() - began, sum(cpu_s[:]))
    finally:
        for process in processes:
            process.join()


def _recover_share(url: str, place: int, cpu_s: "SynchronizedArray[float]", ready: Barrier, done: Barrier) -> None:
    collect_seldom()
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:  # as Ray runs an account actor
            runner.run(_recovered_share(url, place, cpu_s, ready, done))
    except BaseException:
        ready.abort()
        done.abort()
        raise


async def _recovered_share(
    url: str, place: int, cpu_s: "SynchronizedArray[float]", ready: Barrier, done: Barrier
) -> None:
    async with host_on(url) as (host, store):
        await store.epochs([])  # connects
        ready.wait()
        began = time.process_time()
        await activate(host, (await store.hostable())[place :: len(cpu_s)])
        cpu_s[place] = time.process_time() - began
        done.wait()


def resident_bytes() -> int:
    gc.collect()
    return int(psutil.Process().memory_info().rss)


async def _account_bytes(url: str, receipts: int) -> float:
    async with host_on(url) as (host, store):
        ids = await store.hostable()
        await activate(host, ids[:ACCOUNTS_BEFORE])
        before = resident_bytes()
        await activate(host, ids[ACCOUNTS_BEFORE:])
        _remember(host, ids[ACCOUNTS_BEFORE:], receipts)
        return (resident_bytes() - before) / (len(ids) - ACCOUNTS_BEFORE)


def _remember(host: AccountHost, ids: Sequence[str], receipts: int) -> None:
    """So many receipts of each account, as if it had just traded."""
    made = ledgers.receipts(receipts)
    for account_id in ids:
        for receipt in made:
            host._hosted[account_id].book.receipts.add(receipt)


if __name__ == "__main__":
    print(asyncio.run(_account_bytes(sys.argv[1], int(sys.argv[2]))))
