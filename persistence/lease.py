"""Lease: which cluster's supervisor works on this database, one at a time.

Owns the row of its worker in `prop_worker_heartbeats`: the row names the cluster and the very holder, and a beat keeps
it. Two clusters on one database would be safe, since epochs fence, and useless, since each would fence the other's
every account. Guarantee: of two clusters that beat, one is refused. A row and no session lock, so that it holds through
a restart of Postgres, through a pooler, and against a holder that is stopped and so can let go of nothing.
"""

import asyncio
import os
import socket
from collections.abc import Mapping
from typing import Final, LiteralString

from psycopg.types.json import Jsonb

from persistence.heartbeats import Heartbeat, Heartbeats
from persistence.pools import Pool, writing

BEATS_SEEN_MAX: Final = 2
"""A holder that beats this often while we wait is alive. Once is not enough: it may have been its last."""

_CLAIM: Final = """
insert into prop_worker_heartbeats as held (worker, kind, host, pid, started_at, beat_at, detail)
values (%(worker)s, %(kind)s, %(host)s, %(pid)s, clock_timestamp(), clock_timestamp(), %(detail)s)
on conflict (worker) do update set
    kind = excluded.kind, host = excluded.host, pid = excluded.pid,
    started_at = excluded.started_at, beat_at = excluded.beat_at, detail = excluded.detail
where held.detail->>'cluster' is null
   or held.detail->>'cluster' = excluded.detail->>'cluster'
   or abs(extract(epoch from clock_timestamp() - held.beat_at)) * 1000 > %(lease_ms)s
"""
_KEEP: Final = """
update prop_worker_heartbeats set beat_at = clock_timestamp(), detail = %(detail)s
where worker = %(worker)s and detail->>'holder' = %(holder)s
"""
_RELEASE: Final = """
update prop_worker_heartbeats set detail = detail - 'cluster' - 'holder'
where worker = %(worker)s and detail->>'holder' = %(holder)s
"""


class DatabaseTaken(Exception):
    """Another cluster's supervisor works on this database, and lives."""


class LeaseLost(Exception):
    """Another holder has the lease now: stop. What was decided since is fenced where it was taken over."""


class Lease:
    """The lease of `worker`, for a `holder` of a `cluster`. By the database's clock it lasts `lease_ms` after a beat.

    A successor in the same cluster takes over at once: there, names see to it that there is one. Methods raise
    `StoreUnavailable` when Postgres cannot be reached.
    """

    def __init__(self, pool: Pool, *, worker: str, cluster: str, holder: str, lease_ms: int, poll_ms: int) -> None:
        self._pool = pool
        self._heartbeats = Heartbeats(pool)
        self._worker = worker
        self._mine = {"cluster": cluster, "holder": holder}
        self._lease_ms = lease_ms
        self._poll_ms = poll_ms

    async def take(self) -> None:
        """Have the lease, waiting for one whose holder is silent to run out. Raises `DatabaseTaken`."""
        beats, last = 0, None
        while not await self._claimed():
            held = await self._heartbeats.read(self._worker)
            if held is not None and held.beat_at != last:
                beats, last = beats + (last is not None), held.beat_at
                if beats >= BEATS_SEEN_MAX:
                    raise DatabaseTaken(_refusal(held))
            await asyncio.sleep(self._poll_ms / 1000)

    async def keep(self, detail: Mapping[str, object]) -> None:
        """Beat, with `detail` for people and probes. Raises `LeaseLost`."""
        if not await self._written(_KEEP, detail):
            held = await self._heartbeats.read(self._worker)
            raise LeaseLost(f"pid {held.pid} on {held.host} has taken over" if held else "the lease is gone")

    async def release(self) -> None:
        """Let the next one have it at once; nothing where it is another's already."""
        await self._written(_RELEASE, {})

    async def _claimed(self) -> bool:
        return await self._written(_CLAIM, {})

    async def _written(self, statement: LiteralString, detail: Mapping[str, object]) -> bool:
        """Whether the statement found the row as it wants it."""
        parameters = {
            "worker": self._worker,
            "kind": self._worker,
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "detail": Jsonb({**detail, **self._mine}),
            "holder": self._mine["holder"],
            "lease_ms": self._lease_ms,
        }
        async with writing(self._pool) as connection:
            return (await connection.execute(statement, parameters)).rowcount == 1


def _refusal(held: Heartbeat) -> str:
    return (
        f"database_taken: another engine works on this database: its supervisor is pid {held.pid} on {held.host}, "
        f"since {held.started_at:%Y-%m-%d %H:%M:%S} UTC, last heard {held.age_ms} ms ago. Two would "
        "take every account from each other. Stop that one, or join its Ray with RAY_ADDRESS, or use another database."
    )
