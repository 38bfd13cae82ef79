"""Virtual time: an event loop whose clock jumps to the next thing that is due, and processes that can die on it.

Nothing waits for real, so an hour of faults takes a second; nothing depends on the machine, so a seed replays its run.
What runs in which order is asyncio's own, first come first served: chance comes in by how long everything takes.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from contextvars import Context
from functools import partial
from heapq import heappop, heappush
from random import Random
from typing import Any, Final, TypeVar, TypeVarTuple

from actors.ports import Lost, Silent

Answer = TypeVar("Answer")
Given = TypeVarTuple("Given")

CALL_DEADLINE_S: Final = 40.0
NETWORK_S: Final = 0.001
"""How long a message takes, on average."""
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
        self._context = context
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
        turn = Turn(callback, args, context)
        self._ever_scheduled += 1
        heappush(self._scheduled, (self._elapsed_s + delay, self._ever_scheduled, turn))
        return turn

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

    def abandon(self) -> None:
        """End whatever still waits for something; then the loop may be closed."""
        while waiting := [task for task in self._tasks if not task.done()]:
            for task in waiting:
                task.cancel()
            self.run_until_complete(asyncio.gather(*waiting, return_exceptions=True))

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
                if turn._cancelled:
                    continue
                if turn._context is None:
                    turn._callback(*turn._args)
                else:
                    turn._context.run(turn._callback, *turn._args)

    def _next_due_s(self) -> float:
        while self._scheduled:
            when, _, turn = self._scheduled[0]
            if not turn._cancelled:
                return when
            heappop(self._scheduled)
        raise Stuck


class Line:
    """What lies between processes, and loses `loss` of all messages."""

    def __init__(self, chance: Random) -> None:
        self.loss = 0.0
        self._chance = chance

    def delay_s(self) -> float:
        return self._chance.expovariate(1 / NETWORK_S)

    def loses(self) -> bool:
        return self._chance.random() < self.loss


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
            _fail(heard, Lost(f"{self.name} died"))

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
        if self._is_breathless:
            await self.breath()
        try:
            answer = await work()
        except Exception:
            await self.breath()
            raise
        if self._is_breathless:
            await self.breath()
        return answer

    async def asked(self, work: Callable[[], Awaitable[Answer]], line: Line | None = None) -> Answer:
        """A call from outside, over a line or from close by. Raises `Lost` where the process dies first, `Silent` where
        a line loses a message or time runs out; a caller that gives up stops nothing that has arrived."""
        if self.is_dead:
            raise Lost(f"{self.name} is dead")
        loop = asyncio.get_running_loop()
        heard: asyncio.Future[Answer] = loop.create_future()
        self._callers[heard] = None
        late = None
        if line is None:
            self._begin(work, heard, line)
        else:
            loop.call_later(line.delay_s(), self._arrive, work, heard, line)
            late = loop.call_later(CALL_DEADLINE_S, _fail, heard, Silent(f"{self.name} does not answer"))
        try:
            return await heard
        finally:
            self._callers.pop(heard, None)
            if late is not None:
                late.cancel()

    def _arrive(self, work: Callable[[], Awaitable[Answer]], heard: "asyncio.Future[Answer]", line: Line) -> None:
        if heard.done():
            return
        if line.loses():
            heard.set_exception(Silent("the request was lost"))
        else:
            self._begin(work, heard, line)

    def _begin(self, work: Callable[[], Awaitable[Answer]], heard: "asyncio.Future[Answer]", line: Line | None) -> None:
        answering = asyncio.create_task(self.out(work))
        answering.add_done_callback(partial(self._answer, heard, line))

    def _answer(self, heard: "asyncio.Future[Answer]", line: Line | None, answering: "asyncio.Task[Answer]") -> None:
        """What is on its way back arrives, or gets lost, whatever becomes of the process."""
        self._callers.pop(heard, None)
        if answering.cancelled():
            heard.cancel()
            return
        failed = answering.exception()
        if line is not None and line.loses():
            failed = Silent("the answer was lost")
        tell = partial(_tell, heard, answering) if failed is None else partial(_fail, heard, failed)
        if line is None:
            tell()
        else:
            asyncio.get_running_loop().call_later(line.delay_s(), tell)


def _tell(heard: "asyncio.Future[Answer]", answering: "asyncio.Task[Answer]") -> None:
    """Whoever asked may be gone; what became of the work is then nobody's business."""
    if not heard.done():
        heard.set_result(answering.result())


def _fail(heard: "asyncio.Future[Any]", why: BaseException) -> None:
    if not heard.done():
        heard.set_exception(why)
