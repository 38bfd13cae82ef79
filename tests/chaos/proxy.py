"""A TCP proxy in front of PostgreSQL that can cut connections just before or just after a COMMIT."""

import asyncio
import contextlib
import re
import threading
from collections.abc import Iterator
from typing import Final, Literal

Cut = Literal["before", "after"]
CHUNK_BYTES: Final = 64 * 1024
COMMIT: Final = re.compile(rb"COMMIT|order_validated|action_rejected|mark_to_market")
"""What a chunk holds that ends a transaction: the word, or the events of one that goes in a single statement."""


class Proxy:
    """`port` leads to the server. While `cutting` is set, the next connections that send a COMMIT are cut: `before` it
    arrives, or `after`, so that nobody hears whether it happened. `cuts` counts them."""

    def __init__(self) -> None:
        self.port = 0
        self.cutting: Cut | None = None
        self.cuts = 0
        self._upstream = 0
        self._loop = asyncio.new_event_loop()
        self._writers: set[asyncio.StreamWriter] = set()

    def lead_to(self, port: int) -> None:
        """Connect to this port of loopback from now on."""
        self._upstream = port

    def cut_all(self) -> None:
        """Every connection that is open now."""
        self._loop.call_soon_threadsafe(self._abort_all)

    def _abort_all(self) -> None:
        for writer in list(self._writers):
            writer.transport.abort()

    async def _serve(self, started: threading.Event) -> None:
        server = await asyncio.start_server(self._carry, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        started.set()
        async with server:
            await server.serve_forever()

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            server_reader, server_writer = await asyncio.open_connection("127.0.0.1", self._upstream)
        except OSError:
            writer.transport.abort()
            return
        both = {writer, server_writer}
        self._writers |= both
        try:
            await asyncio.gather(self._to_server(reader, server_writer), self._to_client(server_reader, writer))
        except (OSError, _Cut):
            pass  # a broken connection is what this is for
        finally:
            self._writers -= both
            for each in both:
                each.transport.abort()

    async def _to_server(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while chunk := await reader.read(CHUNK_BYTES):
            how = self.cutting if COMMIT.search(chunk) else None
            if how is not None:
                self.cuts += 1
            if how != "before":
                writer.write(chunk)
                await writer.drain()
            if how is not None:
                raise _Cut
        writer.write_eof()

    async def _to_client(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while chunk := await reader.read(CHUNK_BYTES):
            writer.write(chunk)
            await writer.drain()
        raise _Cut

    def run(self, started: threading.Event) -> None:
        asyncio.set_event_loop(self._loop)
        with contextlib.suppress(asyncio.CancelledError):
            self._loop.run_until_complete(self._serve(started))
        self._loop.close()

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(lambda: [task.cancel() for task in asyncio.all_tasks(self._loop)])


class _Cut(Exception):
    """The connection ends here, on both sides."""


@contextlib.contextmanager
def proxy() -> Iterator[Proxy]:
    """A running proxy, in a thread of its own."""
    made, started = Proxy(), threading.Event()
    thread = threading.Thread(target=made.run, args=(started,), name="proxy")
    thread.start()
    started.wait()
    try:
        yield made
    finally:
        made.stop()
        thread.join()
