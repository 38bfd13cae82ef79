"""Hosting: accounts recovered into a host, and what a process grows by when it hosts them.

`python -m benchmarks.hosting URL` is that process, a fresh one for each measurement: it recovers all accounts of a
database and prints the bytes that each has added. A few come before, so that what every host has anyway does not count.
"""

import asyncio
import gc
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Final

import psutil

from actors.hosting import AccountHost
from actors.limits import HostLimits, SupervisorLimits
from persistence.committer import Committer
from persistence.postgres_store import PostgresStore

CONNECTIONS_MAX: Final = 2
"""As an account actor has."""
ACCOUNTS_BEFORE: Final = 500


@asynccontextmanager
async def host_on(url: str) -> AsyncIterator[tuple[AccountHost, Sequence[str]]]:
    """A host as an account actor makes it, without Ray, and the ids of all accounts that there are to host."""
    async with PostgresStore.connect(url, pool_size_max=CONNECTIONS_MAX) as store:
        committer = Committer(store)
        yield AccountHost("bench", store, committer, HostLimits()), await store.hostable()
        await committer.close()


async def activate(host: AccountHost, ids: Sequence[str]) -> None:
    """Host them, in the portions that a supervisor asks for."""
    portion = SupervisorLimits().activation_chunk
    for start in range(0, len(ids), portion):
        activation = await host.activate(ids[start : start + portion])
        if activation.unknown or activation.broken:
            raise RuntimeError(f"not all were recovered: {activation}")


def resident_bytes() -> int:
    gc.collect()
    return int(psutil.Process().memory_info().rss)


async def _account_bytes(url: str) -> float:
    async with host_on(url) as (host, ids):
        await activate(host, ids[:ACCOUNTS_BEFORE])
        before = resident_bytes()
        await activate(host, ids[ACCOUNTS_BEFORE:])
        return (resident_bytes() - before) / (len(ids) - ACCOUNTS_BEFORE)


if __name__ == "__main__":
    print(asyncio.run(_account_bytes(sys.argv[1])))
