"""Blocking starts and stops, from async code that may be cancelled.

Guarantee: a start that has begun is seen to its end, also when it is cancelled meanwhile, and its stop comes after it.
A thread cannot be cancelled: given up, it would go on starting what nobody stops.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TypeVar

Made = TypeVar("Made")


async def to_its_end(work: Callable[[], Made]) -> Made:
    """What `work` returns, run in a thread; a cancellation is raised only once it has ended."""
    working = asyncio.ensure_future(asyncio.to_thread(work))
    try:
        return await asyncio.shield(working)
    except asyncio.CancelledError:
        await asyncio.gather(working, return_exceptions=True)
        raise


async def started(stack: AsyncExitStack, start: Callable[[], Made], *, stop: Callable[[], object]) -> Made:
    """What `start` returns. `stop` is due at the end of the stack whatever became of the start."""
    stack.push_async_callback(asyncio.to_thread, stop)
    return await to_its_end(start)


@asynccontextmanager
async def alongside(work: Coroutine[None, None, Made]) -> "AsyncIterator[asyncio.Task[Made]]":
    """`work` in a task, from the first await of the block on. Where the block fails, it is cancelled and has ended."""
    task = asyncio.create_task(work)
    try:
        yield task
    except BaseException:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        raise
