"""Virtual time: an event loop whose clock jumps to the next thing that is due, and processes that can die on it.

Nothing waits for real, so an hour of faults takes a second; nothing depends on the machine, so a seed replays its run.
What runs in which order is asyncio's own, first come first served: chance comes in by how long everything takes.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from contextvars import Context, copy_context
from functools import partial
from heapq import heappop, heappush
from typing import Any, Final, TypeVar, TypeVarTuple

from actors.ports import Lost, Silent

Answer = TypeVar("Answer")
Given = TypeVarTuple("Given")

TASKS_LOOKED_AT: Final = 100
"""So many new tasks, and those that have ended are let go."""


class Stuck(Exception):
    """Every task waits for another one, and nothing is due any more."""


class Turn(asyncio.TimerHandle):
    """A callback that waits for its turn; asyncio's own also keeps what debugging may ask of it."""

    __slots__ = ()

    def __init__(self, callback: Callable[..., Any], args: tuple[Any, ...], context: Context | None) -> None:
        self._callback = callback
        self._args = args
        self._context = context or copy_context()
        self._cancelled = False

    def cancel(self) -> None:
        self._cancelled = True


class VirtualLoop(asyncio.BaseEventLoop):
    """A loop without sockets, signals or threads. `run_in_executor` runs the work at once.

    Turns are most of what a run costs, so they take as few steps as they can: all that is ready, then what has become
    due, by its time and then by who came first. A callback that raises ends the run.
    """

    def __init__(self) -> None:
        super().__init__()
        self._elapsed_s = 0.0
        self._ready: deque[Turn] = deque()
        self._scheduled: list[tuple[float, int, Turn]] = []
        self._ever_scheduled = 0
        self._tasks: list[asyncio.Task[Any]] = []  # asyncio holds them weakly, and the dead wait for ever
        self._tasks_max = TASKS_LOOKED_AT

    def time(self) -> float:
        return self._elapsed_s

    def create_task(self, coro: Any, **options: Any) -> asyncio.Task[Any]:
        task: asyncio.Task[Any] = asyncio.Task(coro, loop=self, **options)
        self._tasks.append(task)
        if len(self._tasks) > self._tasks_max:
            self._tasks = [each for each in self._tasks if not each.done()]
            self._tasks_max = len(self._tasks) + TASKS_LOOKED_AT
        return task

    def call_soon(self, callback: Callable[[*Given], object], *args: *Given, context: Context | None = None) -> Turn:
        turn = Turn(callback, args, context)
        self._ready.append(turn)
        return turn

    def call_later(
        self, delay: float, callback: Callable[[*Given], object], *args: *Given, context: Context | None = None
    ) -> Turn:
        return self.call_at(self._elapsed_s + delay, callback, *args, context=context)

    def call_at(
        self, when: float, callback: Callable[[*Given], object], *args: *Given, context: Context | None = None
    ) -> Turn:
        turn = Turn(callback, args, context)
        self._ever_scheduled += 1
        heappush(self._scheduled, (when, self._ever_scheduled, turn))
        return turn

    def run_in_executor(self, executor: Any, work: Callable[..., Any], *args: Any) -> asyncio.Future[Any]:  # type: ignore[override] # a future of this loop is what callers await
        done = self.create_future()
        try:
            done.set_result(work(*args))
        except Exception as failed:
            done.set_exception(failed)
        return done

    def stop(self) -> None:
        self._stopping = True

    def _run_once(self) -> None:
        """What `run_forever` calls until the loop is stopped; here, all the turns until then."""
        ready, scheduled = self._ready, self._scheduled
        while not self._stopping:
            if not ready:
                self._elapsed_s = max(self._elapsed_s, self._next_due_s())
            while scheduled and scheduled[0][0] <= self._elapsed_s:
                ready.append(heappop(scheduled)[2])
            for _ in range(len(ready)):
                turn = ready.popleft()
                if not turn._cancelled:
                    turn._context.run(turn._callback, *turn._args)

    def _next_due_s(self) -> float:
        while self._scheduled:
            when, _, turn = self._scheduled[0]
            if not turn._cancelled:
                return when
            heappop(self._scheduled)
        raise Stuck


class Process:
    """What a process is to the others: its effects and answers come only while it runs, and never after its death.

    Code inside may go on after a kill, since asyncio cannot stop it between two awaits; but every way out of the
    process leads through `breath`, which a dead one never leaves. So nothing of it is seen any more.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.is_dead = False
        self._goes_on = asyncio.Event()
        self._goes_on.set()
        self._is_breathless = False
        self._callers: dict[asyncio.Future[Any], None] = {}

    def kill(self) -> None:
        """kill -9."""
        self.is_dead = self._is_breathless = True
        for heard in self._callers:
            if not heard.done():
                heard.set_exception(Lost(f"{self.name} died"))

    def stop(self) -> None:
        """SIGSTOP."""
        self._is_breathless = True
        self._goes_on.clear()

    def go_on(self) -> None:
        """SIGCONT."""
        self._is_breathless = self.is_dead
        self._goes_on.set()

    async def breath(self) -> None:
        """Every way out of the process leads through here."""
        if self._is_breathless:
            await self._goes_on.wait()
            if self.is_dead:
                await asyncio.get_running_loop().create_future()

    async def out(self, work: Callable[[], Awaitable[Answer]]) -> Answer:
        """Ask something of the outside; a process that died meanwhile hears neither answer nor error."""
        await self.breath()
        try:
            answer = await work()
        except Exception:
            await self.breath()
            raise
        await self.breath()
        return answer

    async def asked(self, work: Callable[[], Awaitable[Answer]], *, within_s: float | None = None) -> Answer:
        """A call from outside. Raises `Lost` where the process dies first, `Silent` where it does not answer in time; a
        caller that gives up stops nothing."""
        if self.is_dead:
            raise Lost(f"{self.name} is dead")
        loop = asyncio.get_running_loop()
        heard: asyncio.Future[Answer] = loop.create_future()
        answering = asyncio.create_task(self.out(work))
        answering.add_done_callback(partial(_passed_on, heard))
        late = None if within_s is None else loop.call_later(within_s, self._given_up, heard)
        self._callers[heard] = None
        try:
            return await heard
        finally:
            del self._callers[heard]
            if late is not None:
                late.cancel()

    def _given_up(self, heard: asyncio.Future[Any]) -> None:
        if not heard.done():
            heard.set_exception(Silent(f"{self.name} does not answer"))


def _passed_on(heard: asyncio.Future[Answer], answering: asyncio.Task[Answer]) -> None:
    """Whoever asked may be gone; what became of the work is then nobody's business."""
    failed = None if answering.cancelled() else answering.exception()
    if heard.done():
        return
    if answering.cancelled():
        heard.cancel()
    elif failed is not None:
        heard.set_exception(failed)
    else:
        heard.set_result(answering.result())
