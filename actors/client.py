"""The account client: finds an account's host, sends requests there together, and tries again through a lost host.

Requests for one host that arrive while a call is in flight travel in the next call: a Ray call costs about a
millisecond whatever it carries. Sending again is safe because keys dedupe (G2); a command that carries no key and
is not idempotent is sent again only where it cannot have run.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime
from typing import Final, TypeVar

import msgspec

from actors.hosting import utc_now
from actors.limits import ClientLimits
from actors.messages import PassReport, Read, Reading, Recompute, Reply, Request, Submit, Unserved, Wellness
from actors.ports import Host, Lost, Overseer
from engine.book import AccountBook
from engine.changes import Changes
from engine.commands import CompleteAccount, CreateAccount, LiquidateAccount
from engine.ids import uuid7
from engine.quotes import Quote
from persistence.recovery import load
from persistence.store import Created, Store, StoreUnavailable, append_of

Answer = TypeVar("Answer")

LANE_IDLE_S: Final = 60.0
"""A host that was not called for so long is let go of. Hosts come and go; what is kept for each is a connection."""
NOTHING: Final = Changes((), (), (), ())
_UNANSWERED: Final = Unserved("outcome_unknown", "no answer within the deadline; sending the same ids again is safe")


class Lane:
    """The way to one host: what waits while calls are in flight travels together in the next one."""

    def __init__(self, host: Host, limits: ClientLimits) -> None:
        self._host = host
        self._limits = limits
        self._waiting: list[tuple[Request, asyncio.Future[Reply]]] = []
        self._in_flight: set[asyncio.Task[None]] = set()
        self._used_at = _time_s()

    def is_idle_since(self, time_s: float) -> bool:
        """Whether nothing was sent since then, on the loop's clock, and nothing is on its way."""
        return self._used_at < time_s and not self._waiting and not self._in_flight

    def close(self) -> None:
        """Let go of the host."""
        self._host.hang_up()

    async def send(self, request: Request, *, until: float | None = None) -> Reply:
        """Raises `Lost`, and `TimeoutError` where none is there by then, on the loop's clock: a timer on the answer
        takes a third of what a timeout around it would."""
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Reply] = loop.create_future()
        self._used_at = loop.time()
        self._waiting.append((request, answer))
        self._depart()
        if until is None:
            return await answer
        overdue = loop.call_at(until, _give_up, answer)
        try:
            return await answer
        finally:
            overdue.cancel()

    def _depart(self) -> None:
        while self._waiting and len(self._in_flight) < self._limits.calls_in_flight:
            self._waiting = [each for each in self._waiting if not each[1].done()]  # given up by their callers
            if not self._waiting:
                return
            seats = self._limits.requests_per_call_max
            passengers, self._waiting = self._waiting[:seats], self._waiting[seats:]
            call = asyncio.create_task(self._travel(passengers))
            self._in_flight.add(call)
            call.add_done_callback(self._arrived)

    def _arrived(self, call: asyncio.Task[None]) -> None:
        self._in_flight.discard(call)
        self._depart()

    async def _travel(self, passengers: list[tuple[Request, asyncio.Future[Reply]]]) -> None:
        try:
            async with asyncio.timeout(self._limits.attempt_ms / 1000):
                replies = await self._host.handle(tuple(request for request, _ in passengers))
        except (Lost, TimeoutError) as lost:
            for _, answer in passengers:
                if not answer.done():
                    answer.set_exception(Lost(str(lost) or f"{self._host.name} did not answer in time"))
            return
        except Exception as failed:  # a defect; whoever waits is told, or would wait for ever
            for _, answer in passengers:
                if not answer.done():
                    answer.set_exception(failed)
            return
        for (_, answer), reply in zip(passengers, replies, strict=True):
            if not answer.done():
                answer.set_result(reply)


def _give_up(answer: "asyncio.Future[Reply]") -> None:
    if not answer.done():
        answer.set_exception(TimeoutError())


class RoutedClient:
    """`AccountClient` over a supervisor and the hosts it names. `reach` turns a host's name into a way to call it."""

    def __init__(
        self,
        overseer: Overseer,
        store: Store,
        reach: Callable[[str], Host],
        limits: ClientLimits,
        *,
        entropy: Callable[[int], bytes],
        now: Callable[[], datetime] = utc_now,
    ) -> None:
        self._overseer = overseer
        self._store = store
        self._reach = reach
        self._limits = limits
        self._entropy = entropy
        self._now = now
        self._places: dict[str, str] = {}
        self._lanes: dict[str, Lane] = {}

    async def create(self, opening: CreateAccount, *, request_id: str) -> Created:
        """A new pending account, or the one that has the opening's idempotency key. Tried again until the deadline:
        the id is made once, so a creation whose answer was lost is found, not repeated. Raises `StoreUnavailable`."""
        now = self._now()
        account_id = uuid7(now, self._entropy(10))
        book, first = AccountBook.open(opening, account_id=account_id, now=now, request_id=request_id)
        append = append_of(book.account, epoch=0, expected_seq=0, events=[first], changes=NOTHING)
        deadline = _time_s() + self._limits.deadline_ms / 1000
        backoff_s = self._limits.backoff_ms / 1000
        while True:
            try:
                return await self._store.create(opening, append)
            except StoreUnavailable:
                if _time_s() + backoff_s >= deadline:
                    raise
                await asyncio.sleep(backoff_s)
                backoff_s *= 2

    async def call(self, request: Request) -> Reply:
        """Send to wherever the account lives; through a lost host once more, until the deadline."""
        deadline = _time_s() + self._limits.deadline_ms / 1000
        try:
            reply = await self._until_answered(request, deadline)
            if isinstance(reply, Unserved) and reply.reason == "quarantined" and isinstance(request, Recompute):
                return await self._sheltered(request, deadline)
        except TimeoutError:
            self._places.pop(request.account_id, None)
            return _UNANSWERED
        return reply

    async def _sheltered(self, request: Recompute, deadline: float) -> Reply:
        """A recompute is how an account gets out of quarantine, so it needs no activation. Raises `TimeoutError`."""
        try:
            async with asyncio.timeout_at(deadline):
                place = await self._overseer.shelter(request.account_id)
                if isinstance(place, Unserved):
                    return place
                return await self._lane(place.host).send(msgspec.structs.replace(request, sheltered=True))
        except Lost:
            return _UNANSWERED

    async def _until_answered(self, request: Request, deadline: float) -> Reply:
        """Raises `TimeoutError` at the deadline, which what is awaited here keeps each for itself: mostly it is an
        answer alone."""
        may_have_run = False
        tried: str | None = None
        backoff_s = self._limits.backoff_ms / 1000
        while _time_s() < deadline:
            try:
                place = self._places.get(request.account_id) or await self._locate(request.account_id, tried, deadline)
                if isinstance(place, Unserved):
                    if place.reason != "overloaded" or _time_s() + backoff_s >= deadline:
                        return _honest(place, request, may_have_run)
                else:
                    tried = place
                    reply = await self._lane(place).send(request, until=deadline)
                    if not isinstance(reply, Unserved):
                        return reply
                    if reply.reason != "not_hosted":
                        return _honest(reply, request, may_have_run)
            except Lost:
                if not _repeatable(request) and tried is not None:
                    self._places.pop(request.account_id, None)
                    break
                may_have_run = tried is not None
            self._places.pop(request.account_id, None)
            await asyncio.sleep(min(backoff_s, max(0.0, deadline - _time_s())))
            backoff_s *= 2
        return _UNANSWERED

    async def read(self, account_id: str, *, request_id: str) -> Reading | None:
        """Live where hosted, else from storage, which knows all that is durable; also where nobody has answered in the
        time of one attempt. Raises `StoreUnavailable`, or `LedgerBroken` for a ledger that does not hold."""
        until = _time_s() + self._limits.attempt_ms / 1000
        place = self._places.get(account_id) or await self._whereabouts(account_id, until)
        if place is not None:
            try:
                reply = await self._lane(place).send(Read(account_id, request_id), until=until)
            except (Lost, TimeoutError):
                reply = Unserved("not_hosted", "the host was lost")
            if isinstance(reply, Reading):
                return reply
            self._places.pop(account_id, None)
        book = await load(self._store, account_id)
        return None if book is None else Reading(book.account)

    async def mark_all(self, *, request_id: str) -> PassReport:
        """One marking pass now. Raises `StoreUnavailable` when the supervisor does not answer."""
        return await self._asked(self._overseer.mark_all(request_id))

    async def quotes(self) -> Mapping[str, Quote]:
        """The price vector that hosts have. Raises `StoreUnavailable` when the supervisor does not answer."""
        return await self._asked(self._overseer.quotes())

    async def wellness(self) -> Sequence[Wellness]:
        """Health of supervisor, recovery and quotes; of the supervisor alone when it does not answer."""
        try:
            return await self._overseer.wellness()
        except Lost as lost:
            return (Wellness("supervisor", False, str(lost)),)

    async def _asked(self, asking: Awaitable[Answer]) -> Answer:
        try:
            return await asking
        except Lost as lost:
            raise StoreUnavailable(f"the supervisor does not answer: {lost}") from lost

    async def _locate(self, account_id: str, tried: str | None, deadline: float) -> str | Unserved:
        async with asyncio.timeout_at(deadline):
            place = await self._overseer.locate(account_id, tried)
        if isinstance(place, Unserved):
            return place
        self._places[account_id] = place.host
        return place.host

    async def _whereabouts(self, account_id: str, until: float) -> str | None:
        try:
            async with asyncio.timeout_at(until):
                place = await self._overseer.whereabouts(account_id)
        except (Lost, TimeoutError):
            return None
        return place.host if place else None

    def _lane(self, host: str) -> Lane:
        lane = self._lanes.get(host)
        if lane is None:
            self._let_go()
            lane = self._lanes[host] = Lane(self._reach(host), self._limits)
        return lane

    def _let_go(self) -> None:
        """Of the lanes that nobody uses: mostly their hosts are gone. With each new one, so they never pile up."""
        before_s = _time_s() - LANE_IDLE_S
        for host in [name for name, lane in self._lanes.items() if lane.is_idle_since(before_s)]:
            self._lanes.pop(host).close()


def _time_s() -> float:
    """The loop's monotonic clock."""
    return asyncio.get_running_loop().time()


def _repeatable(request: Request) -> bool:
    """Whether a second run of the request cannot do anything a first has not done."""
    return not (isinstance(request, Submit) and isinstance(request.command, CompleteAccount | LiquidateAccount))


def _honest(reply: Unserved, request: Request, may_have_run: bool) -> Unserved:
    """`overloaded` and `quarantined` promise that nothing was done; after a lost answer nobody can promise that. A
    recompute goes on elsewhere where an account is in quarantine."""
    promises = ("overloaded",) if isinstance(request, Recompute) else ("overloaded", "quarantined")
    if may_have_run and reply.reason in promises:
        return Unserved("outcome_unknown", reply.detail)
    return reply
