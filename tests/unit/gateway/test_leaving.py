"""A gateway that stops: it says so first, serves on for a while, and whoever was let in has an answer."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from gateway.server import ServerLimits
from tests.support.floor import eventually
from tests.unit.gateway.fakes import ADMIN, FakeDoor, opened_door

ACCOUNTS = "/api/v1/prop/accounts"


class Line:
    """One connection, kept open for as long as the gateway wants it."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def get(self, path: str) -> tuple[int, str]:
        """Status and head of the answer."""
        self._writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {ADMIN}\r\n\r\n".encode())
        async with asyncio.timeout(5):
            head = (await self._reader.readuntil(b"\r\n\r\n")).decode()
            length = next(line for line in head.splitlines() if line.startswith("Content-Length:"))
            await self._reader.readexactly(int(length.split()[1]))
        return int(head.split()[1]), head

    async def is_ended(self) -> bool:
        async with asyncio.timeout(5):
            return await self._reader.read() == b""


@asynccontextmanager
async def line_to(door: FakeDoor) -> AsyncIterator[Line]:
    host, port = door.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        yield Line(reader, writer)
    finally:
        writer.close()


async def test_a_gateway_that_leaves_says_so_and_serves_on():
    async with opened_door(server_limits=ServerLimits(farewell_ms=300)) as door, line_to(door) as line:
        assert (await line.get(ACCOUNTS))[0] == 200
        assert (await line.get("/readyz"))[0] == 200
        leaving = asyncio.create_task(door.server.drain())
        await eventually(lambda: door.server._admission.leaving)
        async with line_to(door) as late:  # a balancer that has not looked yet
            assert (await late.get("/readyz"))[0] == 503
            assert await late.is_ended()
        status, head = await line.get(ACCOUNTS)
        assert (status, "Connection: close" in head) == (200, True)
        assert await line.is_ended()
        await leaving
        with pytest.raises(ConnectionRefusedError):
            async with line_to(door):
                raise AssertionError("it still listens")


async def test_who_was_let_in_has_an_answer_after_the_last_was_let_in():
    async with opened_door() as door, line_to(door) as line:
        assert (await line.get(ACCOUNTS))[0] == 200
        leaving = asyncio.create_task(door.server.drain())
        await eventually(lambda: door.server._admission.draining)
        status, head = await line.get(ACCOUNTS)
        assert (status, "Connection: close" in head) == (503, True)
        assert await line.is_ended()
        await asyncio.wait_for(leaving, 5)
