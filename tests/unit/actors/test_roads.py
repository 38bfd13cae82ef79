"""Roads: calls take the actor's line, and Ray where there is none to be had."""

import asyncio
import socket
from collections.abc import AsyncIterator
from concurrent.futures import Future
from contextlib import asynccontextmanager

import msgspec
import pytest
from structlog.testing import capture_logs

from actors import lines, roads
from actors.lines import LineAt, LineServer
from actors.ports import Lost, Silent
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


async def test_who_is_not_let_in_calls_through_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    """As the account actor that comes after as many as a persister has lines for."""
    monkeypatch.setattr(lines, "LINES_MAX", 1)
    async with on_the_phone() as (actor, _):
        first, second = (Road(actor.reached, "handle", direct=True) for _ in range(2))
        assert await first.call(b"", DEADLINE_S) == b"by line"
        assert [await second.call(b"", DEADLINE_S) for _ in range(2)] == [b"over Ray"] * 2
        assert actor.line.times == 2
        first.close()


async def test_an_actor_that_has_no_line_is_called_through_ray() -> None:
    """It was made under other settings, and outlived a gateway's."""
    async with on_the_phone() as (actor, _):
        actor.line.result = b""
        road = Road(actor.reached, "handle", direct=True)
        assert [await road.call(b"", DEADLINE_S) for _ in range(2)] == [b"over Ray"] * 2
        assert actor.line.times == 1


async def test_of_many_calls_at_once_one_finds_out_that_a_port_cannot_be_reached() -> None:
    actor = Actor(nobody_at())
    road = Road(actor.reached, "handle", direct=True)
    assert await asyncio.gather(*(road.call(b"", DEADLINE_S) for _ in range(5))) == [b"over Ray"] * 5
    assert actor.line.times == 1


class Unfound(Actor):
    """Ray's head does not say where it is."""

    async def reached(self) -> "Actor":
        await asyncio.Event().wait()
        return self


@pytest.mark.parametrize("direct", [True, False])
async def test_the_deadline_of_a_call_holds_for_all_of_it(direct: bool) -> None:
    async with asyncio.timeout(DEADLINE_S):
        with pytest.raises(Silent):
            await Road(Unfound(nobody_at()).reached, "handle", direct=direct).call(b"", 0.01)


async def test_a_road_that_was_closed_opens_another_line() -> None:
    async with on_the_phone() as (actor, server):
        road = Road(actor.reached, "handle", direct=True)
        await road.call(b"", DEADLINE_S)
        road.close()
        assert await road.call(b"", DEADLINE_S) == b"by line"
        async with asyncio.timeout(DEADLINE_S):
            while len(server.ends) != 1:
                await asyncio.sleep(0)
        road.close()


async def test_an_actor_that_is_gone_is_lost_and_not_asked_over_ray() -> None:
    async with on_the_phone() as (actor, _):
        actor.line.result = Lost("it died")
        with pytest.raises(Lost):
            await Road(actor.reached, "handle", direct=True).call(b"", DEADLINE_S)
        assert actor.handle.times == 0
