"""The real gateway in a thread of its own, for what calls it without awaiting."""

import asyncio
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager

from persistence.embedded import EmbeddedPostgres
from tests.e2e.gateway.conftest import gateway_on
from tests.support.desk import desk
from tests.support.postgres import temporary_database

START_SECONDS_MAX = 30


@contextmanager
def gateway_in_a_thread(server: EmbeddedPostgres, template: str) -> Iterator[str]:
    """The URL of a gateway over a whole engine, on a database of its own."""
    started: Future[str] = Future()
    over = threading.Event()

    async def serve(database_url: str) -> None:
        try:
            async with desk(database_url) as engine, gateway_on(engine) as door:
                await engine.observe("BTC-USD", "50000")
                started.set_result(door.url)
                await asyncio.to_thread(over.wait)
        except BaseException as error:
            if not started.done():
                started.set_exception(error)
            raise

    with temporary_database(server, template) as database_url:
        thread = threading.Thread(target=lambda: asyncio.run(serve(database_url)))
        thread.start()
        try:
            yield started.result(START_SECONDS_MAX)
        finally:
            over.set()
            thread.join()
