"""The whole runtime in one process: the same supervisor, hosts and client, without Ray.

For tests of the gateway and the domain, and for researchers who want the durable engine without a cluster.
"""

import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager

from actors.client import RoutedClient
from actors.hosting import AccountHost
from actors.limits import ClientLimits, HostLimits, SupervisorLimits
from actors.ports import Appender, Host, Room
from actors.price_board import QuoteSource
from actors.supervisor import Supervisor
from persistence.store import Store


class LocalFleet:
    """Hosts that are objects of this process."""

    def __init__(self, store: Store, appender: Appender, limits: HostLimits, *, hosts_max: int = 16) -> None:
        self._store = store
        self._appender = appender
        self._limits = limits
        self.held = Room(hosts_max)
        self.hosts: dict[str, AccountHost] = {}

    async def spawn(self, name: str, node: str | None) -> Host:
        host = self.hosts[name] = AccountHost(name, self._store, self._appender, self._limits, node=node or "")
        return host

    async def room(self) -> Room:
        return self.held

    async def existing(self) -> Sequence[Host]:
        return tuple(self.hosts.values())

    async def discard(self, host: Host) -> None:
        self.hosts.pop(host.name, None)


class LocalRuntime:
    """A running in-process engine: `client` is its door."""

    def __init__(self, client: RoutedClient, supervisor: Supervisor, fleet: LocalFleet) -> None:
        self.client = client
        self.supervisor = supervisor
        self.fleet = fleet


async def _no_beat(detail: dict[str, object]) -> None:
    """An engine in one process lives as long as the process: nobody looks for its heartbeat."""


@asynccontextmanager
async def local_runtime(
    store: Store,
    appender: Appender,
    quote_source: QuoteSource,
    *,
    host_limits: HostLimits | None = None,
    supervisor_limits: SupervisorLimits | None = None,
    client_limits: ClientLimits | None = None,
    beat: Callable[[dict[str, object]], Awaitable[None]] = _no_beat,
) -> AsyncIterator[LocalRuntime]:
    """Start supervisor and hosts over a store and a committer; on leaving, all that was decided is made durable."""
    limits = supervisor_limits or SupervisorLimits()
    fleet = LocalFleet(store, appender, host_limits or HostLimits(), hosts_max=limits.account_actors_max)
    supervisor = Supervisor(fleet, store, quote_source, limits, beat=beat, entropy=secrets.token_bytes)
    client = RoutedClient(
        supervisor, store, fleet.hosts.__getitem__, client_limits or ClientLimits(), entropy=secrets.token_bytes
    )
    await supervisor.start()
    try:
        yield LocalRuntime(client, supervisor, fleet)
    finally:
        await supervisor.close()
