"""SupervisorActor: the Ray shell of the supervisor."""

import asyncio
import os
import secrets
from contextlib import AsyncExitStack

import msgspec
import ray
import structlog

from actors.account_actor import RemoteAccountActor
from actors.logs import configure
from actors.options import SUPERVISOR
from actors.remote import RayFleet
from actors.runtime import config_of, connected
from actors.supervisor import Supervisor
from persistence.lease import Lease, LeaseLost
from persistence.pools import connection_pool
from persistence.quotes import QuoteReader

log = structlog.get_logger(__name__)

CONNECTIONS_MAX = 2


class SupervisorActor:
    """Supervises one namespace. `open` returns when it can be asked; accounts come back meanwhile (`wellness`).

    It has the lease on the database from before its first activation to its end. One that has lost it ends at once.
    """

    def __init__(self, config: bytes) -> None:
        self._config = config_of(config)
        self._made = asyncio.Event()
        configure(self._config.log_level, self._config.log_format)

    async def open(self) -> None:
        config, self._resources = self._config, AsyncExitStack()
        beats = await self._resources.enter_async_context(
            connection_pool(config.database_url, connections_max=1, read_only=False)
        )
        lease = Lease(
            beats,
            worker=SUPERVISOR,
            cluster=f"{ray.get_runtime_context().get_session_name()}/{config.namespace}",
            holder=secrets.token_hex(8),
            lease_ms=config.supervisor.lease_ms,
            poll_ms=config.supervisor.heartbeat_ms // 4,
        )
        await lease.take()
        self._resources.push_async_callback(lease.release)
        store = await self._resources.enter_async_context(
            connected(config, connections_max=CONNECTIONS_MAX, application_name=SUPERVISOR)
        )
        quotes = await self._resources.enter_async_context(QuoteReader(config.database_url, query=config.quotes_query))
        self._supervisor = Supervisor(
            RayFleet(RemoteAccountActor, config),
            store,
            quotes,
            config.supervisor,
            beat=lambda detail: _kept(lease, detail),
            entropy=secrets.token_bytes,
        )
        self._resources.push_async_callback(self._supervisor.close)
        self._starting = asyncio.create_task(self._supervisor.start())
        self._made.set()

    async def locate(self, account_id: str, tried: str | None) -> bytes:
        await self._made.wait()
        return msgspec.msgpack.encode(await self._supervisor.locate(account_id, tried))

    async def shelter(self, account_id: str) -> bytes:
        await self._made.wait()
        return msgspec.msgpack.encode(await self._supervisor.shelter(account_id))

    async def whereabouts(self, account_id: str) -> bytes:
        await self._made.wait()
        return msgspec.msgpack.encode(await self._supervisor.whereabouts(account_id))

    async def mark_all(self, request_id: str) -> bytes:
        await self._made.wait()
        return msgspec.msgpack.encode(await self._supervisor.mark_all(request_id))

    async def quotes(self) -> bytes:
        await self._made.wait()
        return msgspec.msgpack.encode(await self._supervisor.quotes())

    async def wellness(self) -> bytes:
        await self._made.wait()
        return msgspec.msgpack.encode(await self._supervisor.wellness())

    async def figures(self) -> bytes:
        await self._made.wait()
        return msgspec.msgpack.encode(await self._supervisor.figures())

    async def alive(self) -> bool:
        return True

    async def close(self) -> None:
        self._starting.cancel()
        await asyncio.gather(self._starting, return_exceptions=True)
        await self._resources.aclose()


async def _kept(lease: Lease, detail: dict[str, object]) -> None:
    try:
        await lease.keep(detail)
    except LeaseLost as lost:
        log.error("supervisor_replaced", why=str(lost))
        os._exit(1)  # to go on would be to fence what the other activates; nothing is lost, Postgres holds it


RemoteSupervisorActor = ray.remote(SupervisorActor)
