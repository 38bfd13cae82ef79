"""However a request ends, it gives back what it held of admission: a place that is kept is one the less for ever."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

import pytest

from actors.messages import Reading
from gateway.json_body import BodyLimits
from gateway.parts import GatewayLimits
from gateway.streaming import StreamLimits
from persistence.store import StoreUnavailable
from tests.support.floor import eventually
from tests.unit.gateway.fakes import ADMIN, FakeDoor, opened_door
from tests.unit.gateway.test_json_body import HEAD, raw

ACCOUNTS = "/api/v1/prop/accounts"
LIMITS = GatewayLimits(
    in_flight_max=3,
    in_flight_per_token_max=2,
    body=BodyLimits(timeout_ms=100),
    streams=StreamLimits(streams_max=2, streams_per_token_max=1),
)
EVENTS: Final = {"Accept": "text/event-stream"}

Ending = Callable[[FakeDoor, str], Awaitable[None]]


async def answered(door: FakeDoor, path: str) -> None:
    assert (await door.get(path)).status == 200
    assert (await door.send("HEAD", path)).status == 200
    assert (await door.get(path, headers={"If-None-Match": "*"})).status == 304


async def refused(door: FakeDoor, path: str) -> None:
    for status, method, at, token in (
        (401, "GET", path, None),
        (401, "GET", path, "nobody's"),
        (403, "POST", f"{path}/start", "read-token"),
        (404, "GET", "/api/v1/nowhere", ""),
        (405, "PUT", path, ""),
        (422, "GET", f"{path}?nonsense=1", ""),
        (415, "POST", ACCOUNTS, ""),
    ):
        assert (await door.send(method, at, token=token)).status == status


async def failed(door: FakeDoor, path: str) -> None:
    for status, failure in ((503, StoreUnavailable("away")), (500, KeyError("a defect"))):
        door.client.failure = failure
        assert (await door.get(path)).status == status
    door.client.failure = None


async def too_slow(door: FakeDoor, path: str) -> None:
    assert b" 408 " in await raw(door, HEAD + "Content-Length: 100\n\n{")


async def no_body_after_all(door: FakeDoor, path: str) -> None:
    await _leaving(door, HEAD + "Content-Length: 100\n\n{")
    await _leaving(door, HEAD + "Transfer-Encoding: chunked\n\nzz\n")


async def left_while_it_was_worked_on(door: FakeDoor, path: str) -> None:
    come, go = asyncio.Event(), asyncio.Event()
    read = door.client.read

    async def slowly(account_id: str, *, request_id: str) -> Reading | None:
        come.set()
        await go.wait()
        return await read(account_id, request_id=request_id)

    door.client.read = slowly  # type: ignore[method-assign]  # in place of its own
    await _leaving(door, _get(path), come)
    go.set()


async def one_too_many(door: FakeDoor, path: str) -> None:
    waiting = [asyncio.create_task(door.get(f"{path}?minSeq=99&waitMs=200", token=token)) for token in ("", "")]
    await eventually(lambda: door.server._admission.in_flight == 2)
    assert (await door.get(path)).status == 429
    third = asyncio.create_task(door.get(f"{path}?minSeq=99&waitMs=200", token="read-token"))
    await eventually(lambda: door.server._admission.in_flight == 3)
    assert (await door.get(path, token="trade-token")).status == 503
    assert [(await each).status for each in (*waiting, third)] == [503] * 3


async def a_stream_that_its_reader_left(door: FakeDoor, path: str) -> None:
    async with door.stream(f"{path}/ledger", EVENTS) as response:
        assert response.status == 200
        await response.content.readline()
        assert (door.server._admission.in_flight, door.server._admission.streams) == (0, 1)
        assert (await door.get(f"{path}/ledger", headers=EVENTS)).status == 429


async def a_stream_that_cannot_begin(door: FakeDoor, path: str) -> None:
    assert (await door.get(f"{path}/ledger", headers={**EVENTS, "Last-Event-ID": "?"})).status == 422


async def drained(door: FakeDoor, path: str) -> None:
    async with door.stream(f"{path}/ledger", EVENTS) as response:
        await response.content.readline()
        await door.server.drain()
        await response.read()
    assert door.server._admission.draining


@pytest.mark.parametrize(
    "ending",
    [
        answered,
        refused,
        failed,
        too_slow,
        no_body_after_all,
        left_while_it_was_worked_on,
        one_too_many,
        a_stream_that_its_reader_left,
        a_stream_that_cannot_begin,
        drained,
    ],
)
async def test_nothing_is_kept(ending: Ending) -> None:
    async with opened_door(LIMITS) as door:
        account_id = await door.opened()
        await ending(door, f"{ACCOUNTS}/{account_id}")
        admission = door.server._admission
        await eventually(lambda: (admission.in_flight, admission.streams) == (0, 0))
        assert (admission._of_token, admission._streams_of_token) == ({}, {})


def _get(path: str) -> str:
    return f"GET {path} HTTP/1.1\nHost: x\nAuthorization: Bearer {ADMIN}\n\n"


async def _leaving(door: FakeDoor, said: str, once: asyncio.Event | None = None) -> None:
    """Say this and hang up, in the middle of it or `once` it is worked on."""
    host, port = door.url.removeprefix("http://").split(":")
    _, writer = await asyncio.open_connection(host, int(port))
    writer.write(said.replace("\n", "\r\n").encode())
    await writer.drain()
    if once is None:
        await eventually(lambda: door.server._admission.in_flight > 0)
    else:
        await once.wait()
    writer.transport.abort()
