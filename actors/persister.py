"""PersisterActor: the Ray shell of a group committer that many account actors share."""

import asyncio
from contextlib import AsyncExitStack

import msgspec
import ray

from actors.collecting import collect_seldom
from actors.limits import PersisterLimits
from actors.lines import listening
from actors.logs import configure
from actors.runtime import config_of, connected
from persistence.committer import Committer
from persistence.store import Append, Store

CONNECTIONS_MAX = 2


class PersisterActor:
    """Commits what account actors append. Any number of these is safe: each account's epoch is the fence."""

    def __init__(self, name: str, config: bytes) -> None:
        self._name = name
        self._config = config_of(config)
        self._made = asyncio.Event()
        configure(self._config.log_level, self._config.log_format)
        collect_seldom()

    async def open(self) -> None:
        config = self._config
        self._resources = AsyncExitStack()
        store = await self._resources.enter_async_context(
            connected(config, connections_max=CONNECTIONS_MAX, application_name=self._name)
        )
        self._committer = committer_over(store, config.persister)
        self._resources.push_async_callback(self._committer.close)
        self._line = await self._resources.enter_async_context(listening(self.append, direct=config.direct_lines))
        self._made.set()

    async def line(self) -> bytes:
        await self._made.wait()  # its name is found before it is open
        return self._line

    async def append(self, data: bytes) -> bytes:
        await self._made.wait()
        appends = msgspec.msgpack.decode(data, type=tuple[Append, ...])
        return msgspec.msgpack.encode(await self._committer.append(appends))

    async def figures(self) -> bytes:
        await self._made.wait()
        return msgspec.msgpack.encode(self._committer.figures)

    async def alive(self) -> bool:
        return True

    async def close(self) -> None:
        await self._resources.aclose()


def committer_over(store: Store, limits: PersisterLimits) -> Committer:
    """The group committer with the limits of the settings, wherever it is hosted."""
    return Committer(
        store,
        queue_events_max=limits.queue_events_max,
        queue_bytes_max=limits.queue_bytes_max,
        commit_events_max=limits.commit_events_max,
    )


RemotePersisterActor = ray.remote(PersisterActor)
