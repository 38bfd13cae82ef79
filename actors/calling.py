"""Calling Ray: a call has a deadline, and what Ray does only by waiting for its head is done off the event loop.

What an actor raises of ours (`StoreUnavailable`, `Overloaded`, `Lost` of a call it made) arrives as itself; whatever
Ray raises, and silence past the deadline (a stopped process raises nothing), is `Lost`: the call may have run.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Final, TypeVar

import ray
import structlog
from ray.exceptions import ActorUnavailableError, RayError, RayTaskError

from actors.ports import Lost, Silent
from persistence.committer import Overloaded
from persistence.lease import DatabaseTaken
from persistence.store import StoreUnavailable

log = structlog.get_logger(__name__)

Answer = TypeVar("Answer")

OURS: Final = (StoreUnavailable, Overloaded, Lost, DatabaseTaken)
CONTROL_DEADLINE_S: Final = 10.0
CLOSE_DEADLINE_S: Final = 25.0
SPAWN_DEADLINE_S: Final = 60.0
WELLNESS_DEADLINE_S: Final = 2.0
FIGURES_DEADLINE_S: Final = 0.8
"""Less than a gateway takes for an answer to `/metrics`."""

THREADS_MAX: Final = 16
"""Of a process, waiting for Ray's head. With the head away each waits for a minute; further work waits for a thread,
and is given up at its deadline."""
_THREADS: Final = ThreadPoolExecutor(THREADS_MAX, thread_name_prefix="ray")  # not those that name look-ups need


async def answer(reference: Any, deadline_s: float) -> Any:
    """The result of a call already made."""
    try:
        return await asyncio.wait_for(asyncio.wrap_future(reference.future()), deadline_s)
    except TimeoutError as silent:
        raise Silent(f"no answer within {deadline_s:g} s") from silent
    except ActorUnavailableError as unreached:  # one call was lost, which says nothing of the next
        raise Silent(_first_line(unreached)) from unreached
    except RayTaskError as raised:
        cause = raised.cause
        if isinstance(cause, OURS):
            raise cause from raised
        raise
    except RayError as lost:
        raise Lost(_first_line(lost)) from lost


async def off_loop(
    work: Callable[[], Answer], deadline_s: float, *, late: Callable[[Answer], object] | None = None
) -> Answer:
    """What `work` returns, done in a thread while the loop goes on. Raises `Silent` past the deadline, when it may be
    done all the same: `late` then takes what it returns, in that thread."""
    doing = _THREADS.submit(work)
    done = asyncio.wrap_future(doing)
    try:
        await asyncio.wait((done,), timeout=deadline_s)
    finally:
        if done.cancel() and not doing.cancel() and late is not None:  # nobody waits for it any more
            doing.add_done_callback(lambda _: _taken(doing, late))
    if done.cancelled():
        raise Silent(f"Ray's head has not answered within {deadline_s:g} s")
    try:
        return done.result()
    except RayError as lost:
        raise Lost(_first_line(lost)) from lost


def _taken(doing: "Future[Answer]", late: Callable[[Answer], object]) -> None:
    if not doing.cancelled() and doing.exception() is None:
        late(doing.result())


def find(name: str, namespace: str) -> Any:
    """The handle of a named actor; raises `Lost` where there is none. Blocks for as long as Ray's head is away."""
    try:
        return ray.get_actor(name, namespace)
    except (ValueError, RayError) as absent:
        raise Lost(f"no actor {name}") from absent


async def found(name: str, namespace: str, deadline_s: float) -> Any:
    """`find`, off the loop."""
    return await off_loop(lambda: find(name, namespace), deadline_s)


def end(actor: Any) -> None:
    """Kill an actor. Blocks as `find` does."""
    ray.kill(actor, no_restart=True)


def end_some_time(actor: Any) -> None:
    """`end`, without waiting for it."""
    _THREADS.submit(end, actor).add_done_callback(_told)


def _told(ending: "Future[None]") -> None:
    if (failed := ending.exception()) is not None:
        log.warning("actor_not_ended", why=repr(failed))


def _first_line(error: RayError) -> str:
    return f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"
