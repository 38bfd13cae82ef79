"""AccountActor: the Ray shell of an account host. Decodes, delegates, encodes; decides nothing."""

import asyncio
from contextlib import AsyncExitStack

import msgspec
import ray

from actors.collecting import collect_seldom
from actors.hosting import AccountHost
from actors.lines import listening
from actors.logs import configure
from actors.messages import packed, requests
from actors.persister import committer_over
from actors.remote import RayAppender
from actors.runtime import RuntimeConfig, config_of, connected
from engine.quotes import Quote
from persistence.committer import Committer
from persistence.postgres_store import PostgresStore

CONNECTIONS_MAX = 2
"""Of one account actor: recovery, old receipts, leases and snapshots; commits have the persister's."""


class AccountActor:
    """Hosts accounts in a process of its own. `open` before anything else."""

    def __init__(self, name: str, config: bytes) -> None:
        self._name = name
        self._config = config_of(config)
        self._made = asyncio.Event()
        configure(self._config.log_level, self._config.log_format)
        collect_seldom()

    async def open(self) -> None:
        config, self._resources = self._config, AsyncExitStack()
        connections = CONNECTIONS_MAX + (CONNECTIONS_MAX if config.persister_placement == "local" else 0)
        store = await self._resources.enter_async_context(
            connected(config, connections_max=connections, application_name=self._name)
        )
        node = ray.get_runtime_context().get_node_id()
        own = self._committer(config, store)
        appender = own or RayAppender(config, place=sum(self._name.encode()))
        self._host = AccountHost(self._name, store, appender, config.host, node=node, own=own)
        self._line = await self._resources.enter_async_context(listening(self.handle, direct=config.direct_lines))
        self._made.set()

    def _committer(self, config: RuntimeConfig, store: PostgresStore) -> Committer | None:
        if config.persister_placement == "shared":
            return None
        committer = committer_over(store, config.persister)
        self._resources.push_async_callback(committer.close)
        return committer

    async def activate(self, account_ids: list[str]) -> bytes:
        return msgspec.msgpack.encode(await self._host.activate(account_ids))

    async def line(self) -> bytes:
        return self._line

    async def handle(self, data: bytes) -> bytes:
        return packed(await self._host.handle(requests(data)))

    async def see(self, version: int, quotes: bytes) -> int:
        return await self._host.see(version, msgspec.msgpack.decode(quotes, type=dict[str, Quote]))

    async def mark(self, pass_id: str, quotes: bytes) -> bytes:
        vector = msgspec.msgpack.decode(quotes, type=dict[str, Quote])
        return msgspec.msgpack.encode(await self._host.mark(pass_id, vector))

    async def passivate(self, account_ids: list[str]) -> tuple[str, ...]:
        return await self._host.passivate(account_ids)

    async def hand_over(self, account_ids: list[str]) -> tuple[str, ...]:
        return await self._host.hand_over(account_ids)

    async def pulse(self) -> bytes:
        return msgspec.msgpack.encode(await self._host.pulse())

    async def roster(self) -> tuple[str, ...]:
        await self._made.wait()  # a new supervisor may ask before the one that made us has opened us
        return await self._host.roster()

    async def close(self) -> None:
        await self._host.close()
        await self._resources.aclose()


RemoteAccountActor = ray.remote(AccountActor)
