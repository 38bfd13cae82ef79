"""Lines: a connection straight into an actor, for the calls that are many.

Ray makes, names, places and ends the actors; but each of its calls goes through threads of its own on both sides and
takes some two milliseconds of an idle machine's time, as much as all the rest of an action (adr 0013). A line is a TCP
connection into the actor's own event loop that carries frames: a call and, by its number, the answer.
Guarantee: a call gets its own answer or raises; what was asked when a line breaks may have been done or not, and that
is `Lost`, as with Ray. Nobody is answered who does not begin with the actor's secret, which only Ray tells.
"""

import asyncio
import hmac
import itertools
import os
import socket
import struct
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Final, cast

import msgspec
import ray
import structlog

from actors.calling import OURS
from actors.messages import Message
from actors.ports import Lost, Silent

log = structlog.get_logger(__name__)

FRAME_BYTES_MAX: Final = 512 * 1024 * 1024
"""More than a gateway may have in flight at all: what claims to be longer is no frame."""
SECRET_BYTES: Final = 32
UNREAD_BYTES_MAX: Final = 64 * 1024 * 1024
"""What a caller keeps for an actor that does not read; past it a call is `Silent` at once."""
LINES_MAX: Final = 256
"""Into one actor: one for each gateway, or account actor, that calls it. Who comes later calls through Ray."""
HELLO_S: Final = 2.0
"""For a connection to be made and the secret to be said."""
VANISHED_S: Final = 10
"""Of silence of the other end's kernel: a node that lost its power or its network says no goodbye, and without this a
line to it would be held for whole for a quarter of an hour. A process that is merely stopped is not silent here."""

_HEAD: Final = struct.Struct("!IIB")
"""Length of what follows, number of the call, kind."""
_HELLO, _CALL, _ANSWER, _FAILED = range(4)
_RAISED: Final = {error.__name__: error for error in OURS}

Answering = Callable[[bytes], Awaitable[bytes]]


class LineAt(Message, frozen=True):
    """Where an actor's line is, and what to say first."""

    host: str
    port: int
    secret: bytes


class CallFailed(Exception):
    """The actor raised what nobody foresaw; its log says more."""


class _Failure(Message, frozen=True):
    error: str
    text: str


class _Framed(asyncio.Protocol):
    """Frames out of a stream of bytes, and into it."""

    _frame_bytes_max = FRAME_BYTES_MAX

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        _watch(transport.get_extra_info("socket"))

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        at = 0
        while len(self._buffer) - at >= _HEAD.size:
            length, number, kind = _HEAD.unpack_from(self._buffer, at)
            if length > self._frame_bytes_max:
                self._transport.abort()
                return
            end = at + _HEAD.size + length
            if len(self._buffer) < end:
                break
            self.framed(number, kind, bytes(self._buffer[at + _HEAD.size : end]))
            at = end
        del self._buffer[:at]

    def framed(self, number: int, kind: int, data: bytes) -> None:
        """What either end does with a frame."""
        raise NotImplementedError  # each end has its own; this class is neither

    def send(self, number: int, kind: int, data: bytes) -> None:
        if not self._transport.is_closing():
            self._transport.writelines((_HEAD.pack(len(data), number, kind), data))


class Line(_Framed):
    """The calling end. Make it with `opened`."""

    def __init__(self) -> None:
        super().__init__()
        self._numbers = itertools.count(1)
        self._answers: dict[int, asyncio.Future[bytes]] = {}
        self.is_broken = False

    @classmethod
    async def opened(cls, at: LineAt) -> "Line":
        """A line whose actor knows us. Raises `OSError` (`TimeoutError` is one) where its port cannot be reached, or
        hangs up on us: it has lines enough, or is another actor's by now."""
        async with asyncio.timeout(HELLO_S):
            _, line = await asyncio.get_running_loop().create_connection(cls, at.host, at.port)
            try:
                await line._asked(0, _HELLO, at.secret)
            except Lost as refused:
                raise ConnectionRefusedError(f"not let in: {refused}") from refused
            except BaseException:
                line.close()
                raise
        return line

    async def call(self, data: bytes, deadline_s: float) -> bytes:
        """The actor's answer. Raises `Silent` past the deadline, `Lost`, what the actor raised of ours, or
        `CallFailed`."""
        if self._transport.get_write_buffer_size() > UNREAD_BYTES_MAX:
            raise Silent(f"{UNREAD_BYTES_MAX} bytes wait to be read")
        try:
            async with asyncio.timeout(deadline_s):
                return await self._asked(next(self._numbers) & 0xFFFFFFFF, _CALL, data)
        except TimeoutError as silent:
            raise Silent(f"no answer within {deadline_s:g} s") from silent

    async def _asked(self, number: int, kind: int, data: bytes) -> bytes:
        if self.is_broken:
            raise Lost("the line is broken")
        answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._answers[number] = answer
        self.send(number, kind, data)
        try:
            return await answer
        finally:
            del self._answers[number]

    def framed(self, number: int, kind: int, data: bytes) -> None:
        answer = self._answers.get(number)
        if answer is None or answer.done():
            return  # given up
        if kind == _FAILED:
            answer.set_exception(_raised(data))
        else:
            answer.set_result(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self.is_broken = True
        for answer in self._answers.values():
            if not answer.done():
                answer.set_exception(Lost(f"the line broke: {exc or 'closed by the actor'}"))

    def close(self) -> None:
        self._transport.close()


@asynccontextmanager
async def listening(answering: Answering, *, direct: bool) -> AsyncIterator[bytes]:
    """A line server of this actor, on its node's address; what its `line` method tells those who call: nothing where
    calls are not to be `direct`, when no port is opened."""
    if not direct:
        yield b""
        return
    server = LineServer(answering)
    at = await server.start(node_address())
    try:
        yield msgspec.msgpack.encode(at)
    finally:
        await server.close()


def node_address() -> str:
    """Where other nodes, or on one machine only its own processes, reach this one."""
    return str(ray.util.get_node_ip_address())  # type: ignore[no-untyped-call]  # ray leaves it untyped


class LineServer:
    """The answering end, in an actor: `answering` turns the bytes of each call into those of its answer."""

    def __init__(self, answering: Answering) -> None:
        self.answering = answering
        self.secret = os.urandom(SECRET_BYTES)
        self.calls: set[asyncio.Task[None]] = set()
        self.ends: set[_End] = set()
        self._listening: asyncio.Server

    async def start(self, host: str) -> LineAt:
        """Listen on a free port of `host` from now on."""
        loop = asyncio.get_running_loop()
        self._listening = await loop.create_server(lambda: _End(self), host, 0)
        return LineAt(host, self._listening.sockets[0].getsockname()[1], self.secret)

    async def close(self) -> None:
        """Answer what was asked, and no more."""
        self._listening.close()
        if self.calls:
            await asyncio.wait(self.calls)
        for end in list(self.ends):
            end.close()


class _End(_Framed):
    """One connection into an actor; nothing long is read from it before the secret."""

    _frame_bytes_max = SECRET_BYTES

    def __init__(self, server: LineServer) -> None:
        super().__init__()
        self._server = server
        self._is_known = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        if len(self._server.ends) >= LINES_MAX:
            log.error("line_refused", lines=LINES_MAX)
            transport.abort()  # type: ignore[attr-defined]  # a TCP server's transports are all `asyncio.Transport`
            return
        self._server.ends.add(self)
        self._hello_due = asyncio.get_running_loop().call_later(HELLO_S, self.close)

    def connection_lost(self, exc: Exception | None) -> None:
        self._server.ends.discard(self)

    def framed(self, number: int, kind: int, data: bytes) -> None:
        if not self._is_known:
            self._greeted(number, kind, data)
        elif kind == _CALL:
            call = asyncio.create_task(self._answer(number, data))
            self._server.calls.add(call)
            call.add_done_callback(self._server.calls.discard)

    def _greeted(self, number: int, kind: int, data: bytes) -> None:
        self._hello_due.cancel()
        if kind != _HELLO or not hmac.compare_digest(data, self._server.secret):
            log.warning("line_refused", why="not the secret of this actor")
            self._transport.abort()
            return
        self._is_known, self._frame_bytes_max = True, FRAME_BYTES_MAX
        self.send(number, _HELLO, b"")

    async def _answer(self, number: int, data: bytes) -> None:
        try:
            answer = await self._server.answering(data)
        except Exception as error:  # the caller is told, or would wait for its deadline
            if not isinstance(error, OURS):
                log.exception("line_call_failed")
            self.send(number, _FAILED, msgspec.msgpack.encode(_Failure(_name_of(error), str(error))))
        else:
            self.send(number, _ANSWER, answer)

    def close(self) -> None:
        self._transport.close()


def _watch(ours: socket.socket) -> None:
    """Have the kernel break the line, idle or not, once the other end's has said nothing for `VANISHED_S`."""
    ours.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    if sys.platform == "linux":  # elsewhere it takes what the system is set to
        ours.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, VANISHED_S // 2)
        ours.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 1)
        ours.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, VANISHED_S - VANISHED_S // 2)
        ours.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, VANISHED_S * 1000)


def _name_of(error: Exception) -> str:
    """Of ours, which the other end knows: a kind of `Lost` is `Lost`."""
    return next((known for known, ours in _RAISED.items() if isinstance(error, ours)), type(error).__name__)


def _raised(data: bytes) -> Exception:
    failure = msgspec.msgpack.decode(data, type=_Failure)
    known = _RAISED.get(failure.error)
    return CallFailed(f"{failure.error}: {failure.text}") if known is None else known(failure.text)
