"""Virtual time: an event loop whose clock jumps to the next thing that is due, and processes that can die on it.

Nothing waits for real, so an hour of faults takes a second; nothing depends on the machine, so a seed replays its run.
What runs in which order is asyncio's own, first come first served: chance comes in by how long everything takes.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from actors.ports import Lost

Answer = TypeVar("Answer")


class Stuck(Exception):
    """Every task waits for another one, and nothing is due any more."""


class VirtualLoop(asyncio.BaseEventLoop):
    """A loop without sockets, signals or threads. `run_in_executor` runs the work at once."""

    def __init__(self) -> None:
        super().__init__()
        self._elapsed_s = 0.0
        self._tasks: set[asyncio.Task[Any]] = set()  # asyncio holds them weakly, and the dead wait for ever
        self._selector = self
        self._clock_resolution = 1e-9

    def time(self) -> float:
        return self._elapsed_s

    def create_task(self, coro: Any, **options: Any) -> asyncio.Task[Any]:
        task: asyncio.Task[Any] = super().create_task(coro, **options)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def select(self, timeout_s: float | None) -> list[Any]:
        """What the loop takes for its selector: there is no input, only time."""
        if timeout_s is None:
            raise Stuck
        self._elapsed_s += timeout_s
        return []

    def run_in_executor(self, executor: Any, work: Callable[..., Any], *args: Any) -> asyncio.Future[Any]:  # type: ignore[override] # a future of this loop is what callers await
        done = self.create_future()
        try:
            done.set_result(work(*args))
        except Exception as failed:
            done.set_exception(failed)
        return done

    def _process_events(self, events: list[Any]) -> None:
        """There are none."""

    def _write_to_self(self) -> None:
        """Nobody wakes this loop from another thread."""


class Process:
    """What a process is to the others: its effects and answers come only while it runs, and never after its death.

    Code inside may go on after a kill, since asyncio cannot stop it between two awaits; but every way out of the
    process leads through `breath`, which a dead one never leaves. So nothing of it is seen any more.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.died: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._goes_on = asyncio.Event()
        self._goes_on.set()

    @property
    def is_dead(self) -> bool:
        return self.died.done()

    def kill(self) -> None:
        """kill -9."""
        if not self.is_dead:
            self.died.set_result(None)

    def stop(self) -> None:
        """SIGSTOP."""
        self._goes_on.clear()

    def go_on(self) -> None:
        """SIGCONT."""
        self._goes_on.set()

    async def breath(self) -> None:
        """Every way out of the process leads through here."""
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

    async def asked(self, work: Callable[[], Awaitable[Answer]]) -> Answer:
        """A call from outside. Raises `Lost` where the process dies first; a caller that gives up stops nothing."""

        async def inside() -> Answer:
            return await self.out(work)

        if self.is_dead:
            raise Lost(f"{self.name} is dead")
        answering = asyncio.create_task(inside())
        answering.add_done_callback(_seen)
        if not await self.outlived_by(answering):
            raise Lost(f"{self.name} died")
        return answering.result()

    async def outlived_by(self, work: asyncio.Future[Any]) -> bool:
        """Wait for the work or for the death of the process; whether the work came first."""
        either: set[asyncio.Future[Any]] = {work, self.died}
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        return work.done()


def _seen(task: "asyncio.Task[Any]") -> None:
    """Whoever asked may be gone; what became of the work is then nobody's business."""
    if not task.cancelled():
        task.exception()
