"""Supervisor: who lives where, at what prices, and when everybody is marked.

Owns placement and the schedules: it activates accounts, pushes the price vector to the hosts, runs marking passes,
watches hosts and replaces those that died or hang, lets ended accounts go, and shows its own sign of life. It never
judges an account: that is the hosts' business, and two supervisors at once could do no worse than fence each
other's activations.
Plain asyncio over the ports: `supervisor_actor` wraps it for Ray, `local_client` uses it as it is.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from datetime import datetime

import msgspec
import structlog

from actors.hosting import utc_now
from actors.limits import SupervisorLimits
from actors.messages import PassReport, Unserved, Wellness
from actors.moving import Mover
from actors.placement import Placement
from actors.ports import Activation, Fleet, Host, Location, Lost, Tally
from actors.price_board import PriceBoard, QuoteSource
from engine.ids import uuid7
from engine.quotes import Quote
from persistence.store import Store, StoreUnavailable

log = structlog.get_logger(__name__)

RETRY_MS = 500
"""Pause before a schedule that failed is tried again."""


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
        self._fleet = fleet
        self._store = store
        self._board = PriceBoard(quote_source, limits, now=now)
        self._limits = limits
        self._beat = beat
        self._entropy = entropy
        self._now = now
        self._placement = Placement(limits.account_actors_max)
        self._hosts: dict[str, Host] = {}
        self._broken: dict[str, str] = {}
        self._homeless: dict[str, None] = {}  # in the order in which they are to come back
        self._returning: set[str] = set()  # placed by `_rehome`, activation under way
        self._recovered = False
        self._placing = asyncio.Lock()
        self._marking = asyncio.Lock()
        self._cold = asyncio.Semaphore(limits.cold_activations_max)
        self._spawning = asyncio.Semaphore(limits.cold_activations_max)
        self._coming: list[str] = []  # nodes of hosts in the making
        self._suspects: dict[str, float] = {}  # nodes that lost a host in silence, until this time
        self._arriving: dict[str, asyncio.Task[Location | Unserved]] = {}
        self._mover = Mover(
            self._placement, self._hosts, self._arriving, evict=self._evict, activated=self._note_activated
        )
        self._schedules: list[asyncio.Task[None]] = []

    # -- life -----------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Adopt hosts that outlived an earlier supervisor, bring back every account that trades, begin schedules; show
        life from the first moment, since a start may take longer than the lease on the database lasts."""
        limits = self._limits
        self._schedules = [asyncio.create_task(self._every(limits.heartbeat_ms, self._show_life))]
        await self._until_done(self._survey)
        await self._until_done(self._adopt_all)
        await self._until_done(self.look)
        # Who is back trades already, and a refusal for a stale quote is final: prices go on while the others come back.
        self._schedules.append(asyncio.create_task(self._every(limits.quotes_poll_ms, self.look)))
        await self._until_done(self._recover)
        await self._until_done(self._keep_spare)
        self._schedules += [
            asyncio.create_task(self._every(limits.pulse_ms, self._watch)),
            asyncio.create_task(self._every(limits.balance_ms, self._balance)),
        ]
        if limits.marking_cadence_ms:
            self._schedules.append(asyncio.create_task(self._every(limits.marking_cadence_ms, self._mark_on_cadence)))

    async def _adopt_all(self) -> None:
        for host in await self._fleet.existing():
            await self._adopt(host)

    async def _recover(self) -> None:
        order = await self._store.hostable()
        self._homeless |= dict.fromkeys(order)
        await self._rehome(order)
        self._recovered = True

    async def _until_done(self, work: Callable[[], Awaitable[object]]) -> None:
        """Work that must be done before the next: tried again until it is. A defect is told, and tried again too: the
        account actors live on, and need a supervisor."""
        while True:
            try:
                await work()
                return
            except (StoreUnavailable, Lost) as away:
                log.warning("start_delayed", work=work.__name__, why=str(away))
            except Exception:
                log.exception("start_failed", work=work.__name__)
            await asyncio.sleep(RETRY_MS / 1000)

    async def close(self) -> None:
        """Stop the schedules, then let every host finish and snapshot."""
        for schedule in self._schedules:
            schedule.cancel()
        await asyncio.gather(*self._schedules, return_exceptions=True)
        hosts = list(self._hosts.values())  # a request that is answered meanwhile may find one of them lost
        ended = await asyncio.gather(*(host.close() for host in hosts), return_exceptions=True)
        for host, outcome in zip(hosts, ended, strict=True):
            if isinstance(outcome, BaseException):
                log.warning("host_not_closed", host=host.name, why=repr(outcome))  # safe: recovery needs no farewell
            await self._fleet.discard(host)
        self._hosts.clear()

    async def _every(self, period_ms: int, work: Callable[[], Awaitable[object]]) -> None:
        """Run `work` on a cadence, never twice at once: a late round is skipped, not queued. A round that fails ends no
        schedule, however it fails: the price table may be away for being altered."""
        clock = asyncio.get_running_loop()
        due = clock.time()
        while True:
            due = max(due + period_ms / 1000, clock.time())
            await asyncio.sleep(max(0.0, due - clock.time()))
            try:
                await work()
            except (StoreUnavailable, Lost) as away:
                log.warning("schedule_delayed", work=work.__name__, why=str(away))
                await asyncio.sleep(RETRY_MS / 1000)
            except Exception:
                log.exception("schedule_failed", work=work.__name__)
                await asyncio.sleep(RETRY_MS / 1000)

    # -- where accounts live --------------------------------------------------------------------------------

    async def locate(self, account_id: str, tried: str | None) -> Location | Unserved:
        """Where the account lives. Concurrent askers share one activation."""
        place = self._placement.host_of(account_id)
        if place is not None and place != tried:
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
            host = await self._place_for(account_id)
        except (Lost, StoreUnavailable) as away:
            return Unserved("overloaded", f"there is no room to recompute the account: {away}")
        self._broken.pop(account_id, None)
        return Location(host.name)

    async def whereabouts(self, account_id: str) -> Location | None:
        """Where the account lives, if anywhere: a read needs no activation."""
        place = self._placement.host_of(account_id)
        return Location(place) if place is not None and account_id not in self._arriving else None

    async def _bring(self, account_id: str, tried: str | None) -> Location | Unserved:
        async with self._cold:
            if tried is not None and tried in self._hosts:
                await self._examine(self._hosts[tried])
            try:
                host = await self._place_for(account_id)
                activation = await host.activate([account_id])
            except (Lost, StoreUnavailable) as away:
                return Unserved("overloaded", f"the account could not be activated: {away}")
            if account_id in activation.hosted:
                self._broken.pop(account_id, None)
                return Location(host.name)
            self._placement.release([account_id])
            if account_id in activation.unknown:
                return Unserved("unknown_account", "no such account")
            self._note_broken(activation)
            if account_id in activation.broken:
                return Unserved("quarantined", activation.broken[account_id])
            return Unserved("overloaded", "the account was lost again while it was brought back")

    async def _place_for(self, account_id: str) -> Host:
        """The account's host, or the best place for it, making a new host while there is room."""
        async with self._placing:
            place = self._placement.host_of(account_id) or self._placement.choose()
            if place is None:
                place = (await self._spawn()).name
            self._placement.assign(account_id, place)
            return self._hosts[place]

    async def _spawn(self, node: str | None = None) -> Host:
        """A new host, on `node` or on the one with the fewest; at most `cold_activations_max` are made at once."""
        async with self._spawning:
            node = node or self._placement.roomiest(self._coming)
            self._coming.append(node or "")
            try:
                host = await self._fleet.spawn(f"account-host-{self._entropy(6).hex()}", node)
                self._hosts[host.name] = host
                self._placement.add_host(host.name, node or "")
            finally:
                self._coming.remove(node or "")
        await self._board.show(host)
        if host.name not in self._hosts:
            raise Lost(f"{host.name} was lost as soon as it was made")
        return host

    async def _adopt(self, host: Host) -> None:
        try:
            roster = await asyncio.wait_for(host.roster(), self._limits.pulse_deadline_ms / 1000)
        except Exception as lost:  # one that cannot say whom it hosts is of no use, and its accounts are fenced
            log.warning("host_not_adopted", host=host.name, why=repr(lost))
            await self._fleet.discard(host)
            return
        self._hosts[host.name] = host
        self._placement.add_host(host.name)
        for account_id in roster:
            self._placement.assign(account_id, host.name)

    async def _rehome(self, order: Sequence[str] | None = None) -> None:
        """Bring every account that has lost its place back, in bulk, those with open positions first; what fails stays
        homeless. `order` is that of the store, where it was asked already."""
        if not self._homeless:
            return
        order = order or await self._store.hostable()
        async with self._placing:
            waiting = dict.fromkeys(each for each in order if each in self._homeless) | self._homeless
            homeless = [each for each in waiting if self._placement.host_of(each) is None]
            room = self._placement.hosts_max - len(self._hosts)
            # A few hosts now, so that all are back soon; they spread out once they trade (`_balance`).
            spawning = min(len(homeless), room, self._limits.cold_activations_max)
            await asyncio.gather(*(self._spawn() for _ in range(spawning)))
            groups: dict[str, list[str]] = {}
            for account_id in homeless:
                place = self._placement.emptiest()
                if place is None:
                    raise Lost("there is no account actor left to live on")
                self._placement.assign(account_id, place)
                groups.setdefault(place, []).append(account_id)
            self._homeless.clear()
            self._returning.update(homeless)
        await asyncio.gather(*(self._activate_all(self._hosts[place], ids) for place, ids in groups.items()))

    async def _activate_all(self, host: Host, account_ids: Sequence[str]) -> None:
        chunk = self._limits.activation_chunk
        for start in range(0, len(account_ids), chunk):
            part = account_ids[start : start + chunk]
            try:
                activation = await host.activate(part)
            except BaseException:
                self._evict(account_ids[start:])
                self._returning.difference_update(account_ids)
                raise
            self._returning.difference_update(part)
            self._note_activated(part, activation)

    def _note_activated(self, asked: Sequence[str], activation: Activation) -> None:
        self._note_broken(activation)
        absent = set(asked) - set(activation.hosted)
        self._placement.release(absent)
        gone = absent - set(activation.unknown) - activation.broken.keys()  # poisoned while the others came
        self._homeless |= dict.fromkeys(sorted(gone))

    def _evict(self, account_ids: Iterable[str]) -> None:
        """Accounts that live nowhere now, until the next watch or pass brings them back."""
        account_ids = tuple(account_ids)
        self._placement.release(account_ids)
        self._homeless |= dict.fromkeys(account_ids)

    def _note_broken(self, activation: Activation) -> None:
        for account_id, why in activation.broken.items():
            if self._broken.get(account_id) != why:
                log.error("account_broken", account_id=account_id, why=why)
            self._broken[account_id] = why

    # -- watching hosts -------------------------------------------------------------------------------------

    async def _watch(self) -> None:
        """Ask every host for a sign of life; replace the lost ones and bring their accounts back."""
        await asyncio.gather(*(self._examine(host) for host in list(self._hosts.values())))
        if self._homeless:
            await self._rehome()
        await self._keep_spare()

    async def _keep_spare(self) -> None:
        """Have an empty host ready while there is room: making one takes a process start, which a first request would
        wait for."""
        async with self._placing:
            while len(self._hosts) < self._placement.hosts_max and self._placement.empty < self._limits.spare_hosts:
                await self._spawn()

    async def _examine(self, host: Host) -> None:
        """A host that is silent or dead is ended and forgotten; one that answers may let idle accounts go."""
        try:
            pulse = await asyncio.wait_for(host.pulse(), self._limits.pulse_deadline_ms / 1000)
            if host.name in self._hosts:
                self._placement.add_host(host.name, pulse.node)
            self._suspects.pop(pulse.node, None)
            leaving = [each for each in pulse.idle if each not in self._arriving]
            if leaving:
                await host.passivate(leaving)
                self._placement.release(leaving)
        except Exception as lost:  # one that cannot say how it is, is not well
            if self._hosts.pop(host.name, None) is not None:
                self._suspect(self._placement.node_of(host.name))
                homeless = self._placement.remove_host(host.name)
                log.error("host_lost", host=host.name, accounts=len(homeless), why=repr(lost))
                self._homeless |= dict.fromkeys(sorted(homeless))
                await self._fleet.discard(host)

    def _suspect(self, node: str) -> None:
        """Put nothing new on a node that has lost a host, until another host there shows life or Ray must know."""
        if node:
            self._suspects[node] = asyncio.get_running_loop().time() + self._limits.suspicion_ms / 1000
            others = tuple(each for each in self._placement.nodes if each != node)
            self._placement.nodes = others or self._placement.nodes

    # -- balance --------------------------------------------------------------------------------------------

    async def _survey(self) -> None:
        """What the cluster has room for now: nodes come and go."""
        room = await self._fleet.room()
        now = asyncio.get_running_loop().time()
        trusted = tuple(node for node in room.nodes if self._suspects.get(node, now) <= now)
        self._placement.nodes = trusted or room.nodes
        if room.hosts_max != self._placement.hosts_max:
            log.info("room_changed", hosts_max=room.hosts_max, nodes=len(room.nodes))
            self._placement.hosts_max = room.hosts_max

    async def _balance(self) -> None:
        """One step towards as many hosts on every node, and as many accounts on every host. Not during a marking pass,
        which would miss what moves."""
        await self._survey()
        async with self._marking:
            misplaced = self._placement.misplaced()
            if misplaced is not None:
                await self._resettle(*misplaced)
                return
            move = self._placement.uneven(self._limits.moves_max)
            if move is not None:
                await self._mover.move(move.accounts, move.source, move.target)

    async def _resettle(self, name: str, node: str) -> None:
        """Replace a host by one on another node, its accounts moving over; what does not move in time keeps it."""
        async with self._placing:
            successor = await self._spawn(node)
        while leaving := sorted(self._placement.accounts_of(name)):
            if not await self._mover.move(leaving[: self._limits.moves_max], name, successor.name):
                return
        host = self._hosts.pop(name, None)
        if host is not None:
            self._placement.remove_host(name)
            await self._fleet.discard(host)  # empty as it is, it has nothing to finish

    # -- prices and marks -----------------------------------------------------------------------------------

    async def look(self) -> None:
        """Read the latest quotes and give them to every host."""
        await self._board.look(self._hosts.values())

    async def quotes(self) -> dict[str, Quote]:
        """The price vector that the hosts have."""
        return self._board.shown

    async def mark_all(self, request_id: str) -> PassReport:
        """One pass over every account that trades, on one price vector (`passId`)."""
        async with self._marking:
            clock = asyncio.get_running_loop()
            began = clock.time()
            pass_id = uuid7(self._now(), self._entropy(10))
            try:
                await self._rehome()
            except (StoreUnavailable, Lost) as away:  # the others are marked all the same (G8)
                log.warning("pass_without", accounts=len(self._homeless), why=str(away))
            stranded = len(self._homeless)
            quotes = await self._board.read()
            hosts = [host for host in self._hosts.values() if self._placement.accounts_of(host.name)]
            tallies = await asyncio.gather(*(self._mark_on(host, pass_id, quotes) for host in hosts))
            failed = len(self._broken) + stranded + sum(each.failed + len(each.dropped) for each in tallies)
            marked, flat = sum(each.marked for each in tallies), sum(each.flat for each in tallies)
            liquidated = sum(each.liquidated for each in tallies)
            report = PassReport(
                pass_id=pass_id,
                accounts=marked + flat + failed + liquidated,
                marked=marked,
                flat=flat,
                failed=failed,
                liquidated=liquidated,
                duration_ms=int((clock.time() - began) * 1000),
            )
        log.info(
            "marking_pass",
            request_id=request_id,
            pass_id=pass_id,
            accounts=report.accounts,
            marked=report.marked,
            failed=report.failed,
            liquidated=report.liquidated,
            duration_ms=report.duration_ms,
        )
        return report

    async def _mark_on(self, host: Host, pass_id: str, quotes: dict[str, Quote]) -> Tally:
        """What is not marked because its host or activation was lost comes back, and is marked, in the next pass."""
        placed = self._placement.accounts_of(host.name)
        try:
            tally = await host.mark(pass_id, quotes)
            strayed = tuple(placed - set(await host.roster())) if tally.hosted < len(placed) else ()
        except Lost as lost:
            log.error("pass_lost_host", host=host.name, accounts=len(placed), why=str(lost))
            return Tally(failed=len(placed))
        returning = self._returning & set(strayed)  # on its way already: to place it once more would fence it
        dropped = tuple({*tally.dropped, *strayed} - self._arriving.keys() - returning)
        self._evict(dropped)
        return msgspec.structs.replace(tally, failed=tally.failed + len(returning), dropped=dropped)

    async def _mark_on_cadence(self) -> None:
        await self.mark_all("cadence")

    # -- health ---------------------------------------------------------------------------------------------

    async def _show_life(self) -> None:
        await self._beat({"hosts": len(self._hosts), "quotes": len(self._board.shown)})

    async def wellness(self) -> tuple[Wellness, ...]:
        """Readiness of supervision, recovery and quotes."""
        return (
            Wellness("supervisor", True, f"{len(self._hosts)} hosts"),
            Wellness("recovery", self._recovered, self._recovery_detail()),
            self._board.wellness(),
        )

    def _recovery_detail(self) -> str:
        if not self._recovered:
            return "accounts are being rebuilt"
        return f"done; {len(self._broken)} accounts in quarantine" + "".join(f", {each}" for each in self._broken)
