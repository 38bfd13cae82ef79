"""The world: the real hosts, group commit, supervisor and routed clients, as processes on a network that loses things.

Of the engine nothing is replaced but its edges: storage, prices, the clock, and the calls between processes.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from random import Random
from typing import Final, TypeVar

import msgspec

from actors.client import RoutedClient
from actors.hosting import AccountHost
from actors.limits import ClientLimits, HostLimits, SupervisorLimits
from actors.messages import PassReport, Reply, Request, Unserved, Wellness
from actors.ports import Activation, Appender, Host, Location, Overseer, Pulse, Room, Silent, Tally
from actors.supervisor import Supervisor
from engine.account import Account
from engine.money import round8
from engine.quotes import Quote, observed
from persistence.committer import AppendVerdict, Committer
from persistence.memory_store import MemoryStore
from persistence.store import Append, StoreUnavailable
from tests.simulation.storage import FaultyStore, StoreSeenBy
from tests.simulation.virtual import NETWORK_S, Line, Process
from tests.support.audit_prices import QuoteKey

Answer = TypeVar("Answer")

BEGINNING: Final = datetime(2026, 1, 5, 12, tzinfo=UTC)


class Parts(msgspec.Struct, kw_only=True):
    """What a world is made of; a mutant puts a broken part in the place of one."""

    memory: Callable[[], MemoryStore] = MemoryStore
    storage: Callable[[MemoryStore, Random], FaultyStore] = FaultyStore
    host: type[AccountHost] = AccountHost
    host_limits: HostLimits = HostLimits(receipts_in_memory_max=4, snapshot_every_events=5, idle_ms=500)
    appender: Callable[[Appender], Appender] = lambda appender: appender
    committer: type[Committer] = Committer


class Prices:
    """A random walk of two symbols, and every quote it ever showed. `is_frozen`: the feed writes no more."""

    def __init__(self, world: "World") -> None:
        self.is_frozen = False
        self.recorded: list[QuoteKey] = []
        self.mids = {"BTC-USD": Decimal(50_000), "ETH-USD": Decimal(3_000)}
        self._world = world
        self._quotes: dict[str, Quote] = {}

    async def read(self) -> dict[str, Quote]:
        if self._world.storage.is_away:
            raise StoreUnavailable("Postgres is away")
        if not self.is_frozen:
            self._tick()
        return dict(self._quotes)

    def _tick(self) -> None:
        for symbol, mid in self.mids.items():
            self.mids[symbol] = mid = round8(mid * self._world.chance.randint(990, 1_010) / 1_000)
            quote = observed(symbol, mid - 1, mid + 1, None, "walk", self._world.now())
            self._quotes[symbol] = quote
            self.recorded.append((symbol, mid - 1, mid + 1, quote.observed_at))


class Told(msgspec.Struct):
    """What the group commit said of an append."""

    append: Append
    verdict: AppendVerdict


class Persister:
    """The group commit in a process of its own."""

    def __init__(self, world: "World") -> None:
        self.process = Process("persister")
        store = StoreSeenBy(self.process, world.storage)
        self.committer = world.parts.committer(store, queue_events_max=60, chance=world.chance)


class AppenderSeenBy(Appender):
    """The persister as a host calls it: the one that lives now, over the network."""

    def __init__(self, process: Process, world: "World") -> None:
        self._process = process
        self._world = world

    async def append(self, appends: Sequence[Append]) -> Sequence[AppendVerdict]:
        verdicts = await self._process.out(lambda: self._sent(appends))
        self._world.told += [Told(append, verdict) for append, verdict in zip(appends, verdicts, strict=True)]
        return verdicts

    async def _sent(self, appends: Sequence[Append]) -> Sequence[AppendVerdict]:
        persister = self._world.persister
        return await persister.process.asked(lambda: persister.committer.append(appends), self._world.line)


class HostProcess:
    """An account host in a process of its own. It lives, yet no new call reaches it from those it is cut off from."""

    def __init__(self, name: str, world: "World") -> None:
        self.name = name
        self.process = Process(name)
        self.cut_off_from: frozenset[str] = frozenset()
        self.clock_error = timedelta()
        self.host = world.parts.host(
            name,
            StoreSeenBy(self.process, world.storage),
            world.parts.appender(AppenderSeenBy(self.process, world)),
            world.parts.host_limits,
            now=lambda: world.now() + self.clock_error,
            monotonic=asyncio.get_running_loop().time,
        )


class HostSeenBy(Host):
    """A host as another process calls it."""

    def __init__(self, caller: Process, called: HostProcess, world: "World") -> None:
        self._caller = caller
        self._called = called
        self._world = world

    @property
    def name(self) -> str:
        return self._called.name

    async def activate(self, account_ids: Sequence[str]) -> Activation:
        return await self._asked(lambda: self._called.host.activate(account_ids))

    async def handle(self, requests: tuple[Request, ...]) -> tuple[Reply, ...]:
        return await self._asked(lambda: self._called.host.handle(requests))

    async def see(self, version: int, quotes: dict[str, Quote]) -> int:
        return await self._asked(lambda: self._called.host.see(version, quotes))

    async def mark(self, pass_id: str, quotes: dict[str, Quote]) -> Tally:
        return await self._asked(lambda: self._called.host.mark(pass_id, quotes))

    async def passivate(self, account_ids: Sequence[str]) -> tuple[str, ...]:
        return await self._asked(lambda: self._called.host.passivate(account_ids))

    async def hand_over(self, account_ids: Sequence[str]) -> tuple[str, ...]:
        return await self._asked(lambda: self._called.host.hand_over(account_ids))

    async def pulse(self) -> Pulse:
        return await self._asked(self._called.host.pulse)

    async def roster(self) -> tuple[str, ...]:
        return await self._asked(self._called.host.roster)

    async def close(self) -> None:
        await self._asked(self._called.host.close)

    def hang_up(self) -> None:
        self._called.host.hang_up()

    async def _asked(self, work: Callable[[], Awaitable[Answer]]) -> Answer:
        return await self._caller.out(lambda: self._sent(work))

    async def _sent(self, work: Callable[[], Awaitable[Answer]]) -> Answer:
        if self._caller.name in self._called.cut_off_from:
            raise Silent(f"{self.name} cannot be reached")
        return await self._called.process.asked(work, self._world.line)


class FleetSeenBy:
    """`Fleet` for one supervisor. A host it discards is dead, unless it is cut off: then it goes on unseen."""

    def __init__(self, process: Process, world: "World") -> None:
        self._process = process
        self._world = world

    async def room(self) -> Room:
        await self._process.breath()
        return Room(3)

    async def spawn(self, name: str, node: str | None) -> Host:
        await self._process.breath()
        await asyncio.sleep(self._world.chance.uniform(0.05, 0.3))
        self._world.hosts[name] = HostProcess(name, self._world)
        await self._process.breath()
        return self._seen(self._world.hosts[name])

    async def existing(self) -> Sequence[Host]:
        await self._process.breath()
        return [
            self._seen(host) for host in self._world.hosts.values() if not (host.process.is_dead or host.cut_off_from)
        ]

    async def discard(self, host: Host) -> None:
        await self._process.breath()
        called = self._world.hosts[host.name]
        if not called.cut_off_from:
            called.process.kill()

    def _seen(self, host: HostProcess) -> Host:
        return HostSeenBy(self._process, host, self._world)


class SupervisorProcess:
    """A supervisor in a process of its own, starting as soon as it is made."""

    def __init__(self, world: "World") -> None:
        self.process = Process("supervisor")
        process = self.process

        class PricesSeen:
            async def read(self) -> dict[str, Quote]:
                await process.breath()
                await asyncio.sleep(NETWORK_S)
                return await world.prices.read()

        async def beat(detail: dict[str, object]) -> None:
            await process.breath()

        self.supervisor = Supervisor(
            FleetSeenBy(process, world),
            StoreSeenBy(process, world.storage),
            PricesSeen(),
            SupervisorLimits(
                account_actors_max=3,
                spare_hosts=0,
                quotes_poll_ms=1_000,
                pulse_ms=1_000,
                pulse_deadline_ms=1_500,
                silence_ms=1_500,
                marking_cadence_ms=1_500,
                heartbeat_ms=5_000,
            ),
            beat=beat,
            entropy=world.chance.randbytes,
            now=world.now,
        )
        self.starting = asyncio.create_task(self.supervisor.start())


class OverseerSeenBy(Overseer):
    """The supervisor that lives now, as a gateway asks it."""

    def __init__(self, process: Process, world: "World") -> None:
        self._process = process
        self._world = world

    async def locate(self, account_id: str, tried: str | None) -> Location | Unserved:
        return await self._asked(lambda supervisor: supervisor.locate(account_id, tried))

    async def shelter(self, account_id: str) -> Location | Unserved:
        return await self._asked(lambda supervisor: supervisor.shelter(account_id))

    async def whereabouts(self, account_id: str) -> Location | None:
        return await self._asked(lambda supervisor: supervisor.whereabouts(account_id))

    async def mark_all(self, request_id: str) -> PassReport:
        return await self._asked(lambda supervisor: supervisor.mark_all(request_id))

    async def quotes(self) -> dict[str, Quote]:
        return await self._asked(lambda supervisor: supervisor.quotes())

    async def wellness(self) -> tuple[Wellness, ...]:
        return await self._asked(lambda supervisor: supervisor.wellness())

    async def _asked(self, ask: Callable[[Supervisor], Awaitable[Answer]]) -> Answer:
        await self._process.breath()
        running = self._world.supervisor
        return await running.process.asked(lambda: ask(running.supervisor), self._world.line)


class Gateway:
    """A gateway's client in a process of its own."""

    def __init__(self, name: str, world: "World") -> None:
        self.process = Process(name)
        self.client = RoutedClient(
            OverseerSeenBy(self.process, world),
            StoreSeenBy(self.process, world.storage),
            lambda host: HostSeenBy(self.process, world.hosts[host], world),
            ClientLimits(),
            entropy=world.chance.randbytes,
            now=world.now,
        )


class World:
    """Everything of one run. Made inside its loop; `chance` is the only source of chance.

    Kept for the judgement afterwards: what the group commit `told`, accounts as clients have `seen` them, and what was
    `overdue`.
    """

    def __init__(self, chance: Random, parts: Parts, note: Callable[[str], None]) -> None:
        self.chance = chance
        self.parts = parts
        self.note = note
        self.line = Line(chance)
        self.faults_end_at = 0.0
        self.memory = parts.memory()
        self.storage = parts.storage(self.memory, chance)
        self.prices = Prices(self)
        self.told: list[Told] = []
        self.seen: list[Account] = []
        self.overdue: list[str] = []
        self.hosts: dict[str, HostProcess] = {}
        self.persister = Persister(self)
        self.supervisor = SupervisorProcess(self)
        self.gateways = [Gateway("gateway-0", self), Gateway("gateway-1", self)]
        self.watching = Gateway("watching", self)

    def now(self) -> datetime:
        return BEGINNING + timedelta(seconds=asyncio.get_running_loop().time())

    def living_hosts(self) -> list[HostProcess]:
        return [host for host in self.hosts.values() if not host.process.is_dead]
