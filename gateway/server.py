"""The server: the app on a socket, with the deadlines and limits that aiohttp does not have.

Owns the connection: its head must arrive within `header_timeout_ms` of its first byte, an idle one is closed after
`idle_timeout_ms`, and so is one that takes nothing of its answer for as long; one past `connections_max` at once. What
is no HTTP is answered with a problem, too. Bodies are never decompressed. Stopping: say so where readiness is asked
for, serve on for `farewell_ms`, take no more connections, let what is in flight finish up to a limit, close.

Guarantee of a stop: who was let in and asks before its connection is closed has an answer, also when that is
`shutting_down`. An answer of a gateway that leaves ends its connection, so that clients go elsewhere one by one.
"""

import asyncio
import os
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, Final, cast

import msgspec
from aiohttp import web
from aiohttp.web_protocol import RequestHandler

from gateway.app import App
from gateway.door import UNMATCHED, log, new_request_id
from gateway.problems import MEDIA_TYPE, Problem
from gateway.responses import stamped
from gateway.streaming import Watched

BACKLOG: Final = 512
LINGER_SECONDS: Final = 2.0
"""How long the rest of a refused body is read and dropped, so that the client gets to see the answer."""
HEAD_LINE_BYTES_MAX: Final = 8_190
HEADERS_MAX: Final = 128
DRAIN_POLL_SECONDS: Final = 0.02
PARTING_SECONDS: Final = 0.25
"""How long connections that are open and idle at the end may still ask, which ends them with an answer."""


class ServerLimits(msgspec.Struct, frozen=True, kw_only=True):
    """Bounds of connections, in milliseconds and sockets."""

    header_timeout_ms: int = 5_000
    idle_timeout_ms: int = 75_000
    connections_max: int = 1_000
    farewell_ms: int = 0
    """For load balancers to learn of the stop, while all is still served."""
    drain_timeout_ms: int = 12_000
    """For what is in flight at the stop: a little over the deadline of a request."""


class Connection(RequestHandler, Watched):
    """One HTTP connection: its head has a deadline, and so has its reader."""

    def __init__(self, server: web.Server, *, header_timeout_ms: int, idle_timeout_ms: int, **options: Any) -> None:
        idle_seconds = idle_timeout_ms / 1000
        super().__init__(server, loop=asyncio.get_running_loop(), keepalive_timeout=idle_seconds, **options)
        self._header_seconds = header_timeout_ms / 1000
        self._head_due: asyncio.TimerHandle | None = None
        self._stall_seconds = idle_seconds
        self._stall_due: asyncio.TimerHandle | None = None
        self._socket: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._socket = cast(asyncio.Transport, transport)
        self._socket.set_write_buffer_limits(high=0)  # told of every byte that the reader leaves

    def pause_writing(self) -> None:
        super().pause_writing()
        self._watch_reader()

    def resume_writing(self) -> None:
        super().resume_writing()
        self._reader_has_taken()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self._is_awaiting_head():
            if self._head_due is None:
                self._head_due = self._loop.call_later(self._header_seconds, self._head_is_late)
        else:
            self._head_has_come()

    def connection_lost(self, exc: BaseException | None) -> None:
        self._head_has_come()
        self._reader_has_taken()
        super().connection_lost(exc)
        if self.on_lost is not None:
            self.on_lost()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """A request that is not HTTP (400), or a failure outside the app (500). Closes the connection."""
        if status >= 500:
            log.error("unexpected_error", exc_info=exc)
        if request.writer.output_size > 0:
            raise ConnectionError("the answer had begun")
        problem = Problem("internal_error" if status >= 500 else "bad_request")
        request_id = new_request_id()
        log.info("request", request_id=request_id, route=UNMATCHED, status=problem.kind.status, code=problem.code)
        response = web.Response(
            body=problem.body(instance="", request_id=request_id),
            status=problem.kind.status,
            content_type=MEDIA_TYPE,
            headers=stamped(request_id, {}),
        )
        response.force_close()
        return response

    def _is_awaiting_head(self) -> bool:
        """Bytes have come, no request is being served, and none is complete."""
        return self._waiter is not None and not self._waiter.done() and not self._messages

    def _head_has_come(self) -> None:
        if self._head_due is not None:
            self._head_due.cancel()
            self._head_due = None

    def _head_is_late(self) -> None:
        self._head_due = None
        if self._is_awaiting_head():
            self.force_close()

    def _watch_reader(self) -> None:
        if self._socket is not None:
            left = self._socket.get_write_buffer_size()
            self._stall_due = self._loop.call_later(self._stall_seconds, self._look_at_reader, self._socket, left)

    def _look_at_reader(self, socket: asyncio.Transport, left_before: int) -> None:
        if socket.get_write_buffer_size() < left_before:
            self._watch_reader()  # slow, but it reads
        else:
            socket.abort()  # to close would be to wait for it

    def _reader_has_taken(self) -> None:
        if self._stall_due is not None:
            self._stall_due.cancel()
            self._stall_due = None


class _Full(asyncio.Protocol):
    """A connection past the limit: closed before a byte of it is read."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport.close()


class RunningServer:
    """A listening gateway. `url` is where it answers."""

    def __init__(
        self,
        url: str,
        app: App,
        server: web.Server,
        sockets: asyncio.Server,
        connection: Callable[[], asyncio.Protocol],
        limits: ServerLimits,
    ) -> None:
        self.url = url
        self._admission = app.admission
        self._tail = app.tail
        self._server = server
        self._connection = connection
        self._sockets = sockets
        self._limits = limits

    async def drain(self) -> None:
        """Leave, stop listening and admitting; return once nothing is in flight, or the time for it is up."""
        loop = asyncio.get_running_loop()
        self._admission.leaving = True
        await asyncio.sleep(self._limits.farewell_ms / 1000)
        await self._close_the_door()
        self._admission.draining = True
        self._tail.wake_all()
        closed_at = loop.time()
        # Polled, since no request should pay for an event that is awaited once in a gateway's life.
        while self._has_to_wait(loop.time() - closed_at):  # noqa: ASYNC110
            await asyncio.sleep(DRAIN_POLL_SECONDS)
        if self._admission.in_flight:
            log.warning("stopped_with_requests_in_flight", in_flight=self._admission.in_flight)

    async def _close_the_door(self) -> None:
        """Listen no more, but take the connections that the kernel has made already: closing would break them."""
        loop, callers = asyncio.get_running_loop(), list[socket.socket]()
        for listening in self._sockets.sockets:
            with socket.socket(fileno=os.dup(listening.fileno())) as door:
                for _ in range(BACKLOG):
                    try:
                        caller, _ = door.accept()
                    except BlockingIOError:
                        break
                    caller.setblocking(False)
                    callers.append(caller)
        self._sockets.close()
        for caller in callers:
            await loop.connect_accepted_socket(self._connection, caller)

    def _has_to_wait(self, waited_seconds: float) -> bool:
        if self._admission.in_flight or self._admission.streams:
            return waited_seconds < self._limits.drain_timeout_ms / 1000
        return bool(self._server.connections) and waited_seconds < PARTING_SECONDS


@asynccontextmanager
async def serving_app(
    app: App, *, host: str, port: int, limits: ServerLimits | None = None, shared: bool = False
) -> AsyncIterator[RunningServer]:
    """Listen on `host` and `port` (0: a free one) until the block is left, then drain and close. A `shared` port may be
    listened on by others of this user that share it, too.

    Raises `OSError` where the address cannot be had.
    """
    bounds = limits or ServerLimits()
    server = web.Server(app.answer)
    runner = web.ServerRunner(server, shutdown_timeout=1.0)
    async with app.running():
        await runner.setup()
        try:
            connection = _connections(server, bounds)
            sockets = await asyncio.get_running_loop().create_server(
                connection, host, port, backlog=BACKLOG, reuse_port=shared
            )
            running = RunningServer(_url(sockets), app, server, sockets, connection, bounds)
            try:
                yield running
            finally:
                await running.drain()
        finally:
            await runner.cleanup()


def new_event_loop() -> asyncio.AbstractEventLoop:
    """A uvloop where there is one: `asyncio.Runner(loop_factory=new_event_loop)`."""
    try:
        import uvloop
    except ImportError:  # no wheel for this platform
        return asyncio.new_event_loop()
    return uvloop.new_event_loop()


def _connections(server: web.Server, limits: ServerLimits) -> Callable[[], asyncio.Protocol]:
    def connection() -> asyncio.Protocol:
        if len(server.connections) >= limits.connections_max:
            return _Full()
        return Connection(
            server,
            header_timeout_ms=limits.header_timeout_ms,
            idle_timeout_ms=limits.idle_timeout_ms,
            lingering_time=LINGER_SECONDS,
            max_line_size=HEAD_LINE_BYTES_MAX,
            max_field_size=HEAD_LINE_BYTES_MAX,
            max_headers=HEADERS_MAX,
            auto_decompress=False,
            access_log=None,
        )

    return connection


def _url(sockets: asyncio.Server) -> str:
    host, port, *_ = sockets.sockets[0].getsockname()
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
