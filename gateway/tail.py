"""Tail: one reader of the event log for all the streams of a gateway (G11).

While anybody listens it looks every `poll_ms` for what was committed since, reads it once and hands it to everyone whom
it belongs to; while nobody does it asks nothing. Looking costs a commit nothing, where a NOTIFY would take a lock that
all commits share.

Guarantee: from the moment `subscribed` gives a subscription, it is offered every event of the log that is not shown
yet, once and in order, until it is left. A subscription whose reader is slow is not waited for: past its bytes it is
emptied and `lagging`, for good.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Final, Protocol

import msgspec
import structlog

from gateway import wire
from persistence.event_log import LoggedEvent, Place
from persistence.queries import LedgerRow
from persistence.store import StoreUnavailable

PAGE_EVENTS: Final = 500
"""Events read at once; the next are read without a pause where there are more."""
CHUNK_BYTES: Final = 256 * 1024
"""What is taken from a subscription at once, so that little is held twice."""
AWAY_SECONDS: Final = 1.0
"""Between looks while Postgres does not answer."""

log = structlog.get_logger(__name__)

Belongs = Callable[[LedgerRow], bool]


class Source(Protocol):
    """The log, as the tail reads it (`persistence.event_log.EventLog`)."""

    async def after(self, place: Place, *, limit: int) -> list[LoggedEvent]: ...

    async def end(self) -> Place: ...


class Live(msgspec.Struct, frozen=True):
    """An event that was just shown; `data` is its JSON, made once for all streams."""

    place: Place
    event: LedgerRow
    data: bytes


class Subscription:
    """What one stream has not sent yet. Made by `Tail.subscribed`."""

    def __init__(self, belongs: Belongs, bytes_max: int) -> None:
        self.lagging = False
        self._belongs = belongs
        self._bytes_max = bytes_max
        self._waiting: deque[Live] = deque()
        self._bytes = 0
        self._news = asyncio.Event()

    def offer(self, live: Live) -> None:
        if self.lagging or not self._belongs(live.event):
            return
        if self._bytes + len(live.data) > self._bytes_max:
            self.lag()
        else:
            self._waiting.append(live)
            self._bytes += len(live.data)
            self._news.set()

    def lag(self) -> None:
        """Give up on this reader: it has to begin again after what it saw last."""
        self.lagging = True
        self._waiting.clear()
        self._bytes = 0
        self._news.set()

    def wake(self) -> None:
        """Have `take` return now."""
        self._news.set()

    async def take(self, seconds_max: float) -> list[Live]:
        """The next events, at most a chunk; none when the time is up, when woken, or when lagging."""
        if not self._waiting and not self.lagging:
            try:
                async with asyncio.timeout(seconds_max):
                    await self._news.wait()
            except TimeoutError:
                return []
        self._news.clear()
        taken: list[Live] = []
        size = 0
        while self._waiting and size < CHUNK_BYTES:
            taken.append(self._waiting.popleft())
            size += len(taken[-1].data)
        self._bytes -= size
        return taken


class Tail:
    """Reads while `running`. `buffer_bytes_max` bounds each subscription."""

    def __init__(self, source: Source, *, poll_ms: int, buffer_bytes_max: int) -> None:
        self._source = source
        self._poll_seconds = poll_ms / 1000
        self._buffer_bytes_max = buffer_bytes_max
        self._subscriptions: set[Subscription] = set()
        self._place: Place | None = None  # None: nobody listens
        self._starting = asyncio.Lock()
        self._wanted = asyncio.Event()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        reading = asyncio.create_task(self._read(), name="tail")
        try:
            yield
        finally:
            reading.cancel()

    @asynccontextmanager
    async def subscribed(self, belongs: Belongs) -> AsyncIterator[Subscription]:
        """A subscription to events that `belongs` says yes to. Raises `StoreUnavailable`."""
        async with self._starting:
            if self._place is None:
                self._place = await self._source.end()
            subscription = Subscription(belongs, self._buffer_bytes_max)
            self._subscriptions.add(subscription)
            self._wanted.set()
        try:
            yield subscription
        finally:
            self._subscriptions.discard(subscription)
            if not self._subscriptions:
                self._place = None
                self._wanted.clear()

    def wake_all(self) -> None:
        for subscription in self._subscriptions:
            subscription.wake()

    async def _read(self) -> None:
        while True:
            await self._wanted.wait()
            place = self._place
            if place is None:
                continue  # who was wanting it left again before this task had its turn
            try:
                page = await self._source.after(place, limit=PAGE_EVENTS)
            except StoreUnavailable as away:
                log.warning("tail_waits", detail=str(away))
                await asyncio.sleep(AWAY_SECONDS)
                continue
            except Exception:  # a defect, or a database that is not what it was: no reader may wait in vain
                log.exception("tail_failed")
                self._send_away()
                await asyncio.sleep(AWAY_SECONDS)
                continue
            if self._place is not place:
                continue  # all who listened left meanwhile; whoever came since begins elsewhere
            if page:
                self._place = page[-1].place
                self._hand_out(page)
            await asyncio.sleep(0 if len(page) == PAGE_EVENTS else self._poll_seconds)

    def _send_away(self) -> None:
        for subscription in self._subscriptions:
            subscription.lag()

    def _hand_out(self, page: list[LoggedEvent]) -> None:
        for logged in page:
            live = Live(logged.place, logged.event, wire.encoded(logged.event))
            for subscription in self._subscriptions:
                subscription.offer(live)
