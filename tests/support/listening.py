"""Listening: a reader of an event stream, as a client would write it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import aiohttp
import msgspec

from tests.e2e.gateway.door import Door


class Told(NamedTuple):
    """One message of a stream."""

    id: str
    event: str
    data: Any


class Listener:
    """Messages as they come, comments on the side."""

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self.response = response
        self.comments: list[str] = []
        self.last_id = ""

    async def next(self) -> Told | None:
        """The next message; None at the stream's end."""
        fields: dict[str, str] = {}
        while line := await self.response.content.readline():
            text = line.decode().rstrip("\n")
            if not text and "data" in fields:
                self.last_id = fields.get("id", self.last_id)
                return Told(fields.get("id", ""), fields["event"], msgspec.json.decode(fields["data"]))
            name, _, value = text.partition(":")
            if text and not name:
                self.comments.append(value.strip())
            elif text:
                fields[name] = value.strip()
        return None

    async def take(self, count: int) -> list[Told]:
        """So many messages; fails where they do not come within ten seconds."""
        async with asyncio.timeout(10):
            found = [await self.next() for _ in range(count)]
        assert all(found), "the stream ended"
        return [told for told in found if told is not None]

    async def rest(self) -> list[Told]:
        """What comes until the stream ends, within ten seconds."""
        found = []
        async with asyncio.timeout(10):
            while told := await self.next():
                found.append(told)
        return found


@asynccontextmanager
async def listening(door: Door, path: str, *, after: str | None = None) -> AsyncIterator[Listener]:
    headers = {"Accept": "text/event-stream"} | ({} if after is None else {"Last-Event-ID": after})
    async with door.stream(path, headers) as response:
        assert response.status == 200, await response.text()
        assert response.headers["Content-Type"] == "text/event-stream"
        yield Listener(response)
