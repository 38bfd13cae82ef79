"""Supervisor: who lives where, at what prices, and when everybody is marked.

Puts together what it takes: hosts (`hosts`, `watching`), accounts that have lost their place (`homecoming`), balance
(`moving`), prices (`price_board`), passes (`passes`), each in a file of its own; here stand their schedules and where
an account is found. It never judges an account: that is the hosts' business, and two supervisors at once could do no
worse than fence each other's activations.
Plain asyncio over the ports: `supervisor_actor` wraps it for Ray, `local_client` uses it as it is.
"""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime

import msgspec

from actors.figures import SYMBOLS_MAX, HostFigures, SupervisorFigures
from actors.homecoming import Homecoming
from actors.hosting import utc_now
from actors.hosts import Hosts
from actors.limits import SupervisorLimits
from actors.messages import PassReport, Unserved, Wellness
from actors.moving import Arriving, Balance, Mover
from actors.passes import Passes
from actors.placement import Placement
from actors.ports import Fleet, Location, Lost, Pulse
from actors.price_board import PriceBoard, QuoteSource
from actors.quarantine import Quarantine
from actors.schedules import every, until_done
from actors.sums import Sums
from actors.watching import Watch
from engine.quotes import Quote
from persistence.store import Store, StoreUnavailable


class Supervisor:
    """Places accounts on the hosts of a fleet. `beat` writes a heartbeat; `entropy` makes host names and pass ids."""

    def __init__(
        self,
        fleet: Fleet,
        store: Store,
        quote_source: QuoteSource,
        limits: SupervisorLimits,
        *,
        beat: Callable[[dict[str, object]], Awaitable[None]],
        entropy: Callable[[int], bytes],
        now: Callable[[], datetime] = utc_now,
    ) -> None:
        self._limits = limits
        self._beat = beat
        self._arriving: Arriving = {}
        self._cold = asyncio.Semaphore(limits.cold_activations_max)
        self._recovered = False
        self._schedules: list[asyncio.Task[None]] = []
        self._sums = Sums()
        self._board = PriceBoard(quote_source, limits, now=now)
        self._placement = placement = Placement(limits.account_actors_max)
        self._hosts = hosts = Hosts(fleet, placement, self._board, limits, entropy=entropy)
        self._quarantine = quarantine = Quarantine()
        self._homecoming = homecoming = Homecoming(hosts, placement, quarantine, store, limits)
        self._watch = Watch(
            hosts, placement, limits, arriving=self._arriving, homeless=homecoming.lost, heard=self._heard
        )
        self._mover = Mover(hosts, placement, homecoming, self._arriving)
        self._balance = Balance(hosts, placement, self._mover, limits)
        self._passes = Passes(
            hosts,
            placement,
            self._board,
            homecoming,
            quarantine,
            limits,
            arriving=self._arriving,
            entropy=entropy,
            now=now,
        )

    # -- life -----------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Adopt hosts that outlived an earlier supervisor, bring back every account that trades, begin schedules; show
        life from the first moment, since a start may take longer than the lease on the database lasts."""
        limits = self._limits
        self._keep(limits.heartbeat_ms, self._show_life)
        await until_done(self._hosts.survey)
        await until_done(self._hosts.adopt_all)
        await until_done(self.look)
        # Who is back trades already, and a refusal for a stale quote is final: prices go on while the others come back.
        self._keep(limits.quotes_poll_ms, self.look)
        self._keep(limits.pulse_ms, self._watch_over)
        await until_done(self._homecoming.enlist)
        await until_done(self._homecoming.complete)
        self._recovered = True
        self._hosts.make_spare()
        await self._hosts.made()
        self._keep(limits.balance_ms, self._even_out)
        if limits.marking_cadence_ms:
            self._keep(limits.marking_cadence_ms, self._mark_on_cadence)

    def _keep(self, period_ms: int, work: Callable[[], Awaitable[object]]) -> None:
        self._schedules.append(asyncio.create_task(every(period_ms, work)))

    async def close(self) -> None:
        """Stop the schedules, then let every host finish and snapshot."""
        for schedule in self._schedules:
            schedule.cancel()
        await asyncio.gather(*self._schedules, return_exceptions=True)
        await self._watch.close()
        await self._homecoming.close()
        await self._hosts.close()

    async def _watch_over(self) -> None:
        """Ask every host for a sign of life; bring the accounts of lost ones back, and keep a host to spare."""
        await self._watch.round()
        if self._recovered:
            self._homecoming.attend()
            self._hosts.make_spare()

    def _heard(self, pulse: Pulse) -> None:
        if pulse.figures:
            self._sums.heard(pulse.node, msgspec.msgpack.decode(pulse.figures, type=HostFigures))
        self._homecoming.broke(pulse.breaks)
        for account_id, epoch in pulse.restored.items():
            self._quarantine.restored(account_id, epoch)

    async def _even_out(self) -> None:
        await self._hosts.survey()
        async with self._passes.one_at_a_time:
            await self._balance.step()

    async def _show_life(self) -> None:
        await self._beat({"hosts": len(self._hosts), "quotes": len(self._board.shown)})

    # -- where accounts live --------------------------------------------------------------------------------

    async def locate(self, account_id: str, tried: str | None) -> Location | Unserved:
        """Where the account lives. Concurrent askers share one activation."""
        place = self._placement.host_of(account_id)
        if place is not None and place != tried and not self._hosts.is_silent(place):
            return Location(place)
        arriving = self._arriving.get(account_id)
        if arriving is None:
            if len(self._arriving) >= self._limits.cold_waiting_max:
                return Unserved("overloaded", "too many accounts are waiting to be activated")
            arriving = asyncio.create_task(self._bring(account_id, tried))
            self._arriving[account_id] = arriving
            arriving.add_done_callback(lambda _: self._arriving.pop(account_id, None))
        return await asyncio.shield(arriving)

    async def shelter(self, account_id: str) -> Location | Unserved:
        """Where an account that cannot be activated may be recomputed; it lives there if that puts it right."""
        try:
            host = await self._hosts.place_for(account_id)
        except Lost as away:
            return Unserved("overloaded", f"there is no room to recompute the account: {away}")
        return Location(host.name)

    async def whereabouts(self, account_id: str) -> Location | None:
        """Where the account lives and answers, if anywhere: a read needs no activation."""
        place = self._placement.host_of(account_id)
        if place is None or account_id in self._arriving or self._hosts.is_silent(place):
            return None
        return Location(place)

    async def _bring(self, account_id: str, tried: str | None) -> Location | Unserved:
        if tried is not None and not self._hosts.is_silent(tried):
            await self._watch.examine(self._hosts[tried])
        if account_id in self._quarantine:
            self._placement.release([account_id])
            return Unserved("quarantined", self._quarantine.sentence(account_id))
        async with self._cold:
            try:
                host = await self._hosts.place_for(account_id)
                activation = await self._hosts.answer(host, host.activate([account_id]))
            except (Lost, StoreUnavailable) as away:
                return Unserved("overloaded", f"the account could not be activated: {away}")
            if account_id in activation.hosted:
                self._quarantine.lives(account_id)
                return Location(host.name)
            self._placement.release([account_id])
            if account_id in activation.unknown:
                return Unserved("unknown_account", "no such account")
            self._quarantine.not_rebuilt(activation.broken)
            if account_id in activation.broken:
                return Unserved("quarantined", self._quarantine.sentence(account_id))
            self._homecoming.lost([account_id])
            return Unserved("overloaded", "the account was lost again while it was brought back")

    # -- prices and marks -----------------------------------------------------------------------------------

    async def look(self) -> None:
        """Read the latest quotes and give them to every host that is heard of."""
        await self._board.look(self._hosts.heard)

    async def quotes(self) -> dict[str, Quote]:
        """The price vector that the hosts have."""
        return self._board.shown

    async def mark_all(self, request_id: str) -> PassReport:
        """One pass over every account that trades."""
        return await self._passes.mark_all(request_id)

    async def _mark_on_cadence(self) -> None:
        await self.mark_all("cadence")

    # -- health ---------------------------------------------------------------------------------------------

    async def wellness(self) -> tuple[Wellness, ...]:
        """Readiness of supervision, recovery and quotes."""
        silent = len(self._hosts) - len(self._hosts.heard)
        return (
            Wellness("supervisor", True, f"{len(self._hosts)} hosts" + (f", {silent} silent" if silent else "")),
            Wellness("recovery", self._recovered, self._recovery_detail()),
            self._board.wellness(),
        )

    async def figures(self) -> SupervisorFigures:
        """What hosts have told with their pulses, and what is known here."""
        hosts, placement = self._hosts, self._placement
        return SupervisorFigures(
            nodes=self._sums.nodes(hosts, placement.nodes),
            passes=self._passes.figures(),
            live_nodes=hosts.live_nodes,
            hosts_max=placement.hosts_max,
            hosts_silent=len(hosts) - len(hosts.heard),
            hosts_coming=hosts.coming,
            hosts_lost=hosts.lost,
            recovered=self._recovered,
            backlog=self._homecoming.backlog + len(self._arriving),
            quarantined=len(self._quarantine.absent),
            quotes=len(self._board.shown),
            quotes_read_seconds=self._board.read_seconds_ago(),
            quote_ages_seconds=self._board.ages_seconds(SYMBOLS_MAX),
        )

    def _recovery_detail(self) -> str:
        if not self._recovered:
            return "accounts are being rebuilt"
        return f"done; {self._quarantine.summary()}"
