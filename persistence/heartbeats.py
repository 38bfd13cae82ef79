"""Heartbeats: which workers live, by the database's clock alone, so that no two machines' clocks are compared.

Owns `prop_worker_heartbeats`: one row a worker name, which a successor takes over.
"""

import os
import socket
from collections.abc import Mapping
from datetime import datetime
from typing import Final

import msgspec
from psycopg.rows import class_row
from psycopg.types.json import Jsonb

from persistence.pools import Pool, rows, writing

_ALL: Final = """
select worker, kind, host, pid, started_at, beat_at, detail,
       (extract(epoch from clock_timestamp() - beat_at) * 1000)::bigint as age_ms
from prop_worker_heartbeats
where %(worker)s::text is null or worker = %(worker)s
order by worker
"""
_BEAT: Final = """
insert into prop_worker_heartbeats as held (worker, kind, host, pid, started_at, beat_at, detail)
select %(worker)s, %(kind)s, %(host)s, %(pid)s, clock.now, clock.now, %(detail)s
from (select clock_timestamp() as now) clock
on conflict (worker) do update set
    started_at = case when (held.host, held.pid) = (excluded.host, excluded.pid)
                      then held.started_at else excluded.started_at end,
    kind = excluded.kind, host = excluded.host, pid = excluded.pid,
    beat_at = excluded.beat_at, detail = excluded.detail
"""


class Heartbeat(msgspec.Struct, frozen=True, kw_only=True):
    """A worker as it last made itself heard, `age_ms` milliseconds before it was read."""

    worker: str
    kind: str
    host: str
    pid: int
    started_at: datetime
    beat_at: datetime
    detail: dict[str, object]
    age_ms: int


class Heartbeats:
    """Heartbeats on a pool that may write. Methods raise `StoreUnavailable` when Postgres cannot be reached."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def beat(self, worker: str, *, kind: str, detail: Mapping[str, object] | None = None) -> None:
        """Say that `worker` lives, in this process; `detail` is JSON for people and probes.

        `started_at` is that of this process's first beat: another host or pid starts anew.
        """
        async with writing(self._pool) as connection:
            await connection.execute(
                _BEAT,
                {
                    "worker": worker,
                    "kind": kind,
                    "host": socket.gethostname(),
                    "pid": os.getpid(),
                    "detail": Jsonb(dict(detail or {})),
                },
            )

    async def read(self, worker: str) -> Heartbeat | None:
        """The last beat of one worker; None where it never beat."""
        found = await rows(self._pool, class_row(Heartbeat), _ALL, {"worker": worker})
        return found[0] if found else None

    async def all(self) -> list[Heartbeat]:
        """Every worker, by name."""
        return await rows(self._pool, class_row(Heartbeat), _ALL, {"worker": None})
