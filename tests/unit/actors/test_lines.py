"""Lines: a call gets its own answer or is told that it will get none, and nobody without the secret gets any."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from socket import TCP_KEEPCNT, TCP_KEEPIDLE, TCP_KEEPINTVL, TCP_USER_TIMEOUT

import msgspec
import pytest

from actors import lines
from actors.lines import CallFailed, Line, LineAt, LineServer
from actors.ports import Lost, Silent
from persistence.committer import Overloaded
from persistence.store import StoreUnavailable

DEADLINE_S = 5.0


class Desk:
    """An actor's method that answers when it is told to, in any order."""

    def __init__(self) -> None:
        self.asked: dict[bytes, asyncio.Future[bytes]] = {}

    async def __call__(self, data: bytes) -> bytes:
        self.asked[data] = asyncio.get_running_loop().create_future()
        return await self.asked[data]

    async def was_asked(self, *questions: bytes) -> None:
        async with asyncio.timeout(DEADLINE_S):
            while not self.asked.keys() >= set(questions):
                await asyncio.sleep(0)

    def answer(self, question: bytes) -> None:
        self.asked[question].set_result(question.upper())


async def echo(data: bytes) -> bytes:
    return data


@asynccontextmanager
async def served(answering: lines.Answering) -> AsyncIterator[tuple[LineServer, LineAt]]:
    server = LineServer(answering)
    at = await server.start("127.0.0.1")
    try:
        yield server, at
    finally:
        for call in server.calls:
            call.cancel()
        await server.close()


async def test_calls_get_their_own_answers_in_whatever_order_these_come() -> None:
    desk = Desk()
    async with served(desk) as (_, at):
        line = await Line.opened(at)
        first = asyncio.create_task(line.call(b"first", DEADLINE_S))
        second = asyncio.create_task(line.call(b"second", DEADLINE_S))
        await desk.was_asked(b"first", b"second")
        desk.answer(b"second")
        assert await second == b"SECOND"
        desk.answer(b"first")
        assert await first == b"FIRST"
        line.close()


@pytest.mark.parametrize("size", [0, 1, 100_000, 5_000_000])
async def test_an_answer_of_any_size_arrives_whole(size: int) -> None:
    async with served(echo) as (_, at):
        line = await Line.opened(at)
        assert await line.call(b"x" * size, DEADLINE_S) == b"x" * size
        line.close()


async def test_frames_may_be_cut_anywhere() -> None:
    heard: list[tuple[int, int, bytes]] = []

    class Ear(lines._Framed):
        def framed(self, number: int, kind: int, data: bytes) -> None:
            heard.append((number, kind, data))

    said = [(1, 1, b"one"), (2, 2, b""), (3, 1, b"three" * 100)]
    stream = b"".join(lines._HEAD.pack(len(data), number, kind) + data for number, kind, data in said)
    for step in (1, 2, 7, 11, len(stream)):
        ear = Ear()
        heard.clear()
        for at in range(0, len(stream), step):
            ear.data_received(stream[at : at + step])
        assert heard == said


async def test_every_call_is_lost_when_the_line_breaks_and_later_ones_at_once() -> None:
    desk = Desk()
    async with served(desk) as (server, at):
        line = await Line.opened(at)
        calls = [asyncio.create_task(line.call(question, DEADLINE_S)) for question in (b"a", b"b")]
        await desk.was_asked(b"a", b"b")
        for end in server.ends:
            end._transport.abort()
        for call in calls:
            with pytest.raises(Lost) as lost:
                await call
            assert not isinstance(lost.value, Silent)
        assert line.is_broken
        with pytest.raises(Lost):
            await line.call(b"c", DEADLINE_S)
        assert b"c" not in desk.asked
        desk.answer(b"a")  # what was taken in is finished all the same, and answered to nobody


async def test_a_late_answer_is_nobodys() -> None:
    desk = Desk()
    async with served(desk) as (_, at):
        line = await Line.opened(at)
        with pytest.raises(Silent):
            await line.call(b"early", 0.01)
        await desk.was_asked(b"early")
        desk.answer(b"early")
        later = asyncio.create_task(line.call(b"later", DEADLINE_S))
        await desk.was_asked(b"later")
        desk.answer(b"later")
        assert await later == b"LATER"
        line.close()


@pytest.mark.parametrize("error", [Overloaded("full"), StoreUnavailable("away"), Lost("gone")])
async def test_what_an_actor_raises_of_ours_arrives_as_itself(error: Exception) -> None:
    async def refuse(_: bytes) -> bytes:
        raise error

    async with served(refuse) as (_, at):
        line = await Line.opened(at)
        with pytest.raises(type(error), match=str(error)):
            await line.call(b"", DEADLINE_S)
        line.close()


async def test_a_defect_is_told_and_the_line_goes_on() -> None:
    async def stumble(data: bytes) -> bytes:
        if data == b"stone":
            raise KeyError("stone")
        return data

    async with served(stumble) as (_, at):
        line = await Line.opened(at)
        with pytest.raises(CallFailed, match="KeyError: 'stone'"):
            await line.call(b"stone", DEADLINE_S)
        assert await line.call(b"grass", DEADLINE_S) == b"grass"
        line.close()


class Hung(Silent):
    """A kind of `Lost` that the other end need not know."""


async def test_a_kind_of_lost_arrives_as_lost() -> None:
    async def give_up(_: bytes) -> bytes:
        raise Hung("the persister says nothing")

    async with served(give_up) as (_, at):
        line = await Line.opened(at)
        with pytest.raises(Lost, match="the persister says nothing"):
            await line.call(b"", DEADLINE_S)
        line.close()


async def test_another_actor_on_the_same_port_is_not_the_one_that_was_meant() -> None:
    desk = Desk()
    async with served(desk) as (_, at):
        with pytest.raises(ConnectionRefusedError):
            await Line.opened(msgspec.structs.replace(at, secret=b"?" * lines.SECRET_BYTES))


@pytest.mark.parametrize(
    "first",
    [
        lines._HEAD.pack(3, 1, lines._CALL) + b"buy",
        lines._HEAD.pack(lines.SECRET_BYTES + 1, 0, lines._HELLO),
        b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
    ],
    ids=["a call", "a long hello", "a browser"],
)
async def test_who_does_not_say_the_secret_first_is_hung_up_on(first: bytes) -> None:
    desk = Desk()
    async with served(desk) as (_, at):
        reader, writer = await asyncio.open_connection(at.host, at.port)
        writer.write(first)
        async with asyncio.timeout(DEADLINE_S):
            assert await _until_closed(reader) == b""
        assert not desk.asked
        writer.close()


async def test_who_says_nothing_is_hung_up_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines, "HELLO_S", 0.05)
    async with served(echo) as (server, at):
        reader, writer = await asyncio.open_connection(at.host, at.port)
        async with asyncio.timeout(DEADLINE_S):
            assert await _until_closed(reader) == b""
        writer.close()
        assert not server.ends


async def test_lines_into_an_actor_are_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines, "LINES_MAX", 1)
    async with served(echo) as (_, at):
        line = await Line.opened(at)
        with pytest.raises(ConnectionRefusedError):
            await Line.opened(at)
        assert await line.call(b"still here", DEADLINE_S) == b"still here"
        line.close()


async def test_a_frame_past_the_limit_breaks_the_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines, "FRAME_BYTES_MAX", 100)
    async with served(echo) as (_, at):
        line = await Line.opened(at)
        with pytest.raises(Lost):
            await line.call(b"x" * 101, DEADLINE_S)


async def test_an_actor_that_does_not_read_is_asked_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines, "UNREAD_BYTES_MAX", 1_000_000)
    async with served(echo) as (server, at):
        line = await Line.opened(at)
        (end,) = server.ends
        end._transport.pause_reading()
        for _ in range(20):  # the kernel takes some of it
            with pytest.raises(Silent):
                await line.call(b"x" * 1_000_000, 0.01)
        assert line._transport.get_write_buffer_size() < 3_000_000
        line._transport.abort()


async def test_closing_answers_what_was_asked() -> None:
    desk = Desk()
    server = LineServer(desk)
    line = await Line.opened(await server.start("127.0.0.1"))
    call = asyncio.create_task(line.call(b"last", DEADLINE_S))
    await desk.was_asked(b"last")
    closing = asyncio.create_task(server.close())
    await asyncio.sleep(0)
    desk.answer(b"last")
    assert await call == b"LAST"
    await closing
    async with asyncio.timeout(DEADLINE_S):
        while not line.is_broken:
            await asyncio.sleep(0)


async def test_both_ends_notice_a_node_that_vanishes() -> None:
    """It closes nothing, so only the kernel can tell: by probes where the line is idle, else by what is not acked."""
    async with served(echo) as (server, at):
        line = await Line.opened(at)
        for end in (line, *server.ends):
            ours = end._transport.get_extra_info("socket")
            probed = [ours.getsockopt(socket.IPPROTO_TCP, each) for each in (TCP_KEEPIDLE, TCP_KEEPINTVL, TCP_KEEPCNT)]
            assert ours.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
            assert probed[0] + probed[1] * probed[2] == lines.VANISHED_S
            assert ours.getsockopt(socket.IPPROTO_TCP, TCP_USER_TIMEOUT) == lines.VANISHED_S * 1000
        line.close()


async def test_no_port_is_opened_where_calls_are_not_direct() -> None:
    async with lines.listening(echo, direct=False) as told:
        assert told == b""


async def _until_closed(reader: asyncio.StreamReader) -> bytes:
    try:
        return await reader.read()
    except ConnectionResetError:
        return b""
