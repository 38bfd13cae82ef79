"""SupervisorActor: the Ray shell of the supervisor."""

import asyncio
import secrets
from contextlib import AsyncExitStack

import msgspec
import ray

from actors.account_actor import RemoteAccountActor
from actors.logs import configure
from actors.options import SUPERVISOR
from actors.remote import RayFleet
from actors.runtime import config_of
from actors.supervisor import Supervisor
from persistence.heartbeats import Heartbeats
from persistence.pools import connection_pool
from persistence.postgres_store import PostgresStore
from persistence.quotes import QuoteReader

CONNECTIONS_MAX = 2


class SupervisorActor:
    """Supervises one namespace. `open` returns when it can be asked; accounts come back meanwhile (`wellness`)."""

    def __init__(self, config: bytes) -> None:
        self._config = config_of(config)
        self._made = asyncio.Event()
        configure(self._config.log_level, self._config.log_format)

    async def open(self) -> None:
        config, self._resources = self._config, AsyncExitStack()
        store = await self._resources.enter_async_context(
            PostgresStore.connect(config.database_url, pool_size_max=CONNECTIONS_MAX, application_name=SUPERVISOR)
        )
        quotes = await self._resources.enter_async_context(QuoteReader(config.database_url, query=config.quotes_query))
        beats = await self._resources.enter_async_context(
            connection_pool(config.database_url, connections_max=1, read_only=False)
        )
        heartbeats = Heartbeats(beats)
        self._supervisor = Supervisor(
            RayFleet(RemoteAccountActor, config),
            store,
            quotes,
            config.supervisor,
            beat=lambda detail: heartbeats.beat(SUPERVISOR, kind="supervisor", detail=detail),
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

    async def alive(self) -> bool:
        return True

    async def close(self) -> None:
        self._starting.cancel()
        await asyncio.gather(self._starting, return_exceptions=True)
        await self._resources.aclose()


RemoteSupervisorActor = ray.remote(SupervisorActor)
