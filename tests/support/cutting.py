"""A wire that is cut now and then: between a client and what it talks to, before a request arrives or before its answer
does."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

CHUNK_BYTES = 65_536


class Wire:
    """Forwards to `url`. Of the chunks that pass either way, a `share` is swallowed and its connection cut."""

    def __init__(self, url: str, *, share: float, seed: int) -> None:
        self.cuts = {"request": 0, "answer": 0}
        self._to = urlsplit(url)
        self._share = share
        self._chance = random.Random(seed)

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection(self._to.hostname, self._to.port)
        both = (
            asyncio.create_task(self._forward("request", reader, back)),
            asyncio.create_task(self._forward("answer", there, writer)),
        )
        await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        for end in (writer, back):
            end.transport.abort()
        await asyncio.gather(*both, return_exceptions=True)

    async def _forward(self, way: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while chunk := await reader.read(CHUNK_BYTES):
            if self._chance.random() < self._share:
                self.cuts[way] += 1
                return
            writer.write(chunk)
            await writer.drain()


@asynccontextmanager
async def cutting(url: str, *, share: float, seed: int) -> AsyncIterator[tuple[str, Wire]]:
    """The address of the wire, and the wire."""
    wire = Wire(url, share=share, seed=seed)
    async with await asyncio.start_server(wire._connect, "127.0.0.1", 0) as server:
        host, port = server.sockets[0].getsockname()
        yield f"http://{host}:{port}", wire
