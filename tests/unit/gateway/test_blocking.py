"""A start in a thread that is cancelled half way: nothing is left running."""

import asyncio
import threading
from contextlib import AsyncExitStack

import pytest

from gateway.blocking import alongside, started


class Server:
    def __init__(self) -> None:
        self.go_on = threading.Event()
        self.said: list[str] = []

    def start(self) -> str:
        self.said.append("starting")
        self.go_on.wait(5)
        self.said.append("started")
        return "it runs"

    def stop(self) -> None:
        self.said.append("stopped")


async def test_a_start_that_is_cancelled_is_seen_to_its_end_and_then_stopped() -> None:
    server = Server()

    async def work() -> None:
        async with AsyncExitStack() as stack:
            await started(stack, server.start, stop=server.stop)

    working = asyncio.create_task(work())
    while "starting" not in server.said:
        await asyncio.sleep(0.001)
    working.cancel()
    await asyncio.sleep(0.01)
    assert not working.done()
    server.go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await working
    assert server.said == ["starting", "started", "stopped"]


async def test_what_did_not_start_is_stopped_too() -> None:
    server = Server()

    def fail() -> None:
        raise OSError("half of it is there")

    with pytest.raises(OSError, match="half of it"):
        async with AsyncExitStack() as stack:
            await started(stack, fail, stop=server.stop)
    assert server.said == ["stopped"]


async def test_what_runs_alongside_has_ended_when_the_block_has_failed():
    ended: list[str] = []

    async def work() -> str:
        try:
            await asyncio.Event().wait()
            return "never"
        finally:
            ended.append("work")

    async def block() -> None:
        async with alongside(work()):
            await asyncio.sleep(0)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await block()
    assert ended == ["work"]


async def test_what_runs_alongside_gives_its_result():
    async def work() -> str:
        return "made"

    async with alongside(work()) as working:
        assert await working == "made"
