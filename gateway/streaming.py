"""Streaming: a feed of ledger events as Server-Sent Events, history first, then live.

Guarantee: every event after the one the reader named, once, in the order of the feed, for as long as the stream lasts;
whatever ends it (a slow reader, a restart, a lost connection), sending the last `id:` as `Last-Event-ID` goes on
exactly there. The first thing sent is the `id:` of where the stream begins. The last event of a reader that was too
slow is `resync`; a gateway that stops says so in a comment.

A stream is no request in flight: it gives that place back and takes one of the streams'. Its token is looked at again
with every heartbeat.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from typing import Final, Generic, TypeVar

import msgspec
import structlog
from aiohttp import HttpVersion11, hdrs, web

from gateway import wire
from gateway.admission import Admission
from gateway.problems import Problem
from gateway.responses import stamped
from gateway.tail import Belongs, Live, Subscription, Tail
from persistence.event_log import LoggedEvent, Place
from persistence.queries import LedgerRow
from persistence.store import StoreUnavailable

MEDIA_TYPE: Final = "text/event-stream"
LAST_EVENT_ID: Final = "Last-Event-ID"
HISTORY_EVENTS: Final = 200
"""Events of history read at once, and no more than these are held for a reader."""
LOOK_SECONDS: Final = 1.0
"""How often an idle stream looks whether a heartbeat is due."""
RETRY_MS: Final = 1_000
"""What a browser is told to wait before it connects again."""
RESYNC: Final = b'event: resync\ndata: {"reason":"not_kept_up"}\n\n'

log = structlog.get_logger(__name__)

Key = TypeVar("Key", int, Place)


class Watched:
    """A connection that says when it is lost, so that its stream gives back its place at once."""

    on_lost: Callable[[], None] | None = None


class StreamLimits(msgspec.Struct, frozen=True, kw_only=True):
    """Bounds of the streams of one gateway."""

    streams_max: int = 64
    streams_per_token_max: int = 16
    heartbeat_ms: int = 10_000
    poll_ms: int = 100
    buffer_bytes_max: int = 4 * 1024 * 1024
    stall_ms: int = 10_000
    """How long a reader may take nothing at all while there is something to send."""


class Entry(msgspec.Struct, Generic[Key], frozen=True):
    """One event of a feed. Keys grow along the feed."""

    key: Key
    event: LedgerRow


class Feed(msgspec.Struct, Generic[Key], frozen=True, kw_only=True):
    """Which events, from where. `read` gives the next of history, at most `HISTORY_EVENTS`; fewer are the last."""

    after: Key
    read: Callable[[Key], Awaitable[list[Entry[Key]]]]
    belongs: Belongs
    key_of: Callable[[LoggedEvent | Live], Key]
    id_of: Callable[[Key], str]


def asks_for_events(request: web.BaseRequest) -> bool:
    """Whether the client would rather have a stream: it names the media type."""
    accepted = request.headers.get(hdrs.ACCEPT, "").lower()
    return request.method == hdrs.METH_GET and any(
        each.partition(";")[0].strip() == MEDIA_TYPE for each in accepted.split(",")
    )


async def streamed(
    request: web.BaseRequest,
    feed: Feed[Key],
    *,
    request_id: str,
    tail: Tail,
    limits: StreamLimits,
    admission: Admission,
    recheck: Callable[[], Awaitable[object]],
) -> web.StreamResponse:
    """Send the feed until something ends it. `recheck` raises `Problem` once the caller may not read any more."""
    response = web.StreamResponse(
        headers=stamped(request_id, {hdrs.CONTENT_TYPE: MEDIA_TYPE, "X-Accel-Buffering": "no"})
    )
    if request.version >= HttpVersion11:  # to an older client the end of the connection is the end of the stream
        response.enable_chunked_encoding()
    await response.prepare(request)
    stream = _Stream(request, response, feed, limits, admission, recheck)
    try:
        with suppress(ConnectionError):  # the reader has gone
            await stream.run(tail)
    except TimeoutError:
        log.info("stream_stalled", request_path=request.path)
        stream.cut()
    except BaseException:
        stream.cut()  # the answer has begun: nothing else can be said any more
        raise
    return response


class _Stream(Generic[Key]):
    """One stream being sent: how far it is, and whether it has to end."""

    def __init__(
        self,
        request: web.BaseRequest,
        response: web.StreamResponse,
        feed: Feed[Key],
        limits: StreamLimits,
        admission: Admission,
        recheck: Callable[[], Awaitable[object]],
    ) -> None:
        self._request = request
        self._response = response
        self._feed: Feed[Key] = feed
        self._limits = limits
        self._admission = admission
        self._recheck = recheck
        self._at: Key = feed.after
        self._beat_due = self._now() + limits.heartbeat_ms / 1000

    async def run(self, tail: Tail) -> None:
        # The id first: who began `now` and was cut before anything came has to know where that was.
        await self._write(f"retry: {RETRY_MS}\nid: {self._feed.id_of(self._at)}\n\n".encode())
        try:
            await self._catch_up()
            async with tail.subscribed(self._feed.belongs) as live:
                if isinstance(self._request.protocol, Watched):
                    self._request.protocol.on_lost = live.wake
                await self._catch_up()  # what came between the end of history and the subscription
                await self._follow(live)
        except StoreUnavailable:
            await self._comment("storage does not answer; resume with Last-Event-ID")
        except Problem as gone:
            await self._comment(gone.code)

    def cut(self) -> None:
        if self._request.transport is not None:
            self._request.transport.abort()

    async def _catch_up(self) -> None:
        while not self._has_to_end():
            page = await self._feed.read(self._at)
            await self._send((entry.key, entry.event, wire.encoded(entry.event)) for entry in page)
            await self._beat()
            if len(page) < HISTORY_EVENTS:
                return

    async def _follow(self, live: Subscription) -> None:
        while not self._has_to_end():
            if live.lagging:
                await self._write(RESYNC)
                return
            taken = await live.take(LOOK_SECONDS)
            await self._send((self._feed.key_of(each), each.event, each.data) for each in taken)
            await self._beat()
        if self._admission.draining:
            await self._comment("this gateway is stopping; resume with Last-Event-ID")

    async def _send(self, entries: Iterable[tuple[Key, LedgerRow, bytes]]) -> None:
        frames = bytearray()
        for key, event, data in entries:
            if key > self._at:  # the end of history and the beginning of live overlap
                frames += f"id: {self._feed.id_of(key)}\nevent: {event.type}\ndata: ".encode() + data + b"\n\n"
                self._at = key
        if frames:
            await self._write(bytes(frames))

    async def _beat(self) -> None:
        now = self._now()
        if now >= self._beat_due:
            self._beat_due = now + self._limits.heartbeat_ms / 1000
            await self._recheck()
            await self._comment("heartbeat")

    async def _comment(self, text: str) -> None:
        await self._write(f": {text}\n\n".encode())

    async def _write(self, frames: bytes) -> None:
        async with asyncio.timeout(self._limits.stall_ms / 1000):
            await self._response.write(frames)

    def _has_to_end(self) -> bool:
        transport = self._request.transport
        return self._admission.draining or transport is None or transport.is_closing()

    def _now(self) -> float:
        return asyncio.get_running_loop().time()
