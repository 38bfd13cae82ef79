"""Roads: calls take the actor's line, and Ray where there is none to be had."""

import asyncio
import socket
from collections.abc import AsyncIterator
from concurrent.futures import Future
from contextlib import asynccontextmanager

import msgspec
import pytest
from structlog.testing import capture_logs

from actors import roads
from actors.lines import LineAt, LineServer
from actors.ports import Lost
from actors.roads import Road

DEADLINE_S = 5.0


class Call:
    """What Ray makes of calling a method: `remote` counts it and refers to its result."""

    def __init__(self, result: bytes | Exception) -> None:
        self.result = result
        self.times = 0

    def remote(self, *_: bytes) -> "Call":
        self.times += 1
        return self

    def future(self) -> "Future[bytes]":
        done: Future[bytes] = Future()
        if isinstance(self.result, Exception):
            done.set_exception(self.result)
        else:
            done.set_result(self.result)
        return done


class Actor:
    """As Ray's handle of an actor with one method, and a line."""

    def __init__(self, at: LineAt) -> None:
        self.line = Call(msgspec.msgpack.encode(at))
        self.handle = Call(b"over Ray")

    async def reached(self) -> "Actor":
        return self


async def by_line(_: bytes) -> bytes:
    return b"by line"


@asynccontextmanager
async def on_the_phone() -> AsyncIterator[tuple[Actor, LineServer]]:
    server = LineServer(by_line)
    yield Actor(await server.start("127.0.0.1")), server
    await server.close()


def nobody_at() -> LineAt:
    """An address where nobody listens any more."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        return LineAt("127.0.0.1", unused.getsockname()[1], b"s")


async def test_many_calls_at_once_open_one_line() -> None:
    async with on_the_phone() as (actor, server):
        road = Road(actor.reached, "handle", direct=True)
        assert await asyncio.gather(*(road.call(b"", DEADLINE_S) for _ in range(10))) == [b"by line"] * 10
        assert (actor.line.times, len(server.ends), actor.handle.times) == (1, 1, 0)
        road.close()


async def test_without_direct_lines_calls_are_rays() -> None:
    async with on_the_phone() as (actor, _):
        assert await Road(actor.reached, "handle", direct=False).call(b"", DEADLINE_S) == b"over Ray"
        assert actor.line.times == 0


async def test_a_port_that_cannot_be_reached_is_told_and_tried_again_later(monkeypatch: pytest.MonkeyPatch) -> None:
    actor = Actor(nobody_at())
    road = Road(actor.reached, "handle", direct=True)
    with capture_logs() as said:
        assert [await road.call(b"", DEADLINE_S) for _ in range(3)] == [b"over Ray"] * 3
    assert [each["event"] for each in said] == ["line_unreachable"]
    assert actor.line.times == 1
    monkeypatch.setattr(roads, "RETRY_S", 0.0)
    road._by_ray_until_s = 0.0
    async with on_the_phone() as (reachable, _):
        actor.line.result = reachable.line.result
        assert await road.call(b"", DEADLINE_S) == b"by line"
        road.close()


async def test_a_broken_line_is_opened_again() -> None:
    async with on_the_phone() as (actor, server):
        road = Road(actor.reached, "handle", direct=True)
        await road.call(b"", DEADLINE_S)
        for end in list(server.ends):
            end.close()
        async with asyncio.timeout(DEADLINE_S):
            while road._line is not None and not road._line.is_broken:
                await asyncio.sleep(0)
        assert await road.call(b"", DEADLINE_S) == b"by line"
        assert (actor.line.times, actor.handle.times) == (2, 0)
        road.close()


async def test_an_actor_that_is_gone_is_lost_and_not_asked_over_ray() -> None:
    async with on_the_phone() as (actor, _):
        actor.line.result = Lost("it died")
        with pytest.raises(Lost):
            await Road(actor.reached, "handle", direct=True).call(b"", DEADLINE_S)
        assert actor.handle.times == 0
