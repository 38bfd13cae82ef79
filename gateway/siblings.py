"""Siblings: the further gateways of a program, each a process of its own on the same port.

A gateway keeps nothing that another one would miss, so several may serve, and the kernel spreads new connections over
those that listen. What a sibling needs to know it reads from its standard input, whose other end this process alone
holds: when that end is closed, on purpose or because this process was killed, the sibling drains and ends.

Guarantee: from `start` to `dismiss` there are as many as asked for; one that dies, or is silent for `SILENCE_SECONDS`
twice, is started again, after a pause that grows while it dies at once. After `ended` there is none.
"""

import asyncio
import contextlib
import os
import sys
import time
from asyncio.subprocess import PIPE, Process
from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec
import structlog

from actors.runtime import RuntimeConfig
from gateway.exposition import Beside

READY: Final = b"ready\n"
"""What a sibling says when it serves, and every `BEAT_SECONDS` from then on."""
BEAT_SECONDS: Final = 1.0
SILENCE_SECONDS: Final = 5.0
SILENCES_MAX: Final = 2
"""In a row. Of the first nobody knows whether it was this process that was paused: then what was said meanwhile is
heard right after it."""
OPENING_SECONDS_MAX: Final = 60.0
OPENINGS_MAX: Final = 3
"""How often a sibling is started at the start of the program before the start is given up."""
PAUSE_SECONDS: Final = 0.25
PAUSE_SECONDS_MAX: Final = 10.0
SETTLED_SECONDS: Final = 30.0
"""One that lived for so long did not die of its start."""

log = structlog.get_logger(__name__)


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """What a sibling is told: the settings in force, and where everything is. It holds the database's password, so it
    travels in a pipe."""

    settings: Mapping[str, Any]
    config: RuntimeConfig
    ray_address: str
    port: int
    beside: Beside


_ORDER: Final = msgspec.json.Decoder(Order)


def order_of(line: bytes) -> Order:
    """The order in the first line of a sibling's standard input. Raises `msgspec.DecodeError`."""
    return _ORDER.decode(line)


class Siblings:
    """Keeps `number` of them. `ending_ms`: how long one may take to end before it is killed."""

    def __init__(self, number: int, *, ending_ms: int) -> None:
        self._number = number
        self._ending_seconds = ending_ms / 1000
        self._dismissed = asyncio.Event()
        self._keepers: list[asyncio.Task[None]] = []
        self._children: dict[int, Process] = {}

    async def start(self, order: Callable[[int], Order]) -> None:
        """Start them, each with the order for its place (from 1), and return when all serve. Raises `OSError` where one
        does not."""
        loop = asyncio.get_running_loop()
        opened: list[asyncio.Future[None]] = [loop.create_future() for _ in range(self._number)]
        self._keepers = [
            asyncio.create_task(self._keep(place, msgspec.json.encode(order(place)) + b"\n", serves))
            for place, serves in enumerate(opened, start=1)
        ]
        await asyncio.gather(*opened)

    def dismiss(self) -> None:
        """Tell them to end: they finish what is in flight."""
        self._dismissed.set()
        for child in self._children.values():
            _tell(child)

    async def ended(self) -> None:
        """Return when all have ended; who takes too long is killed."""
        if not self._keepers:
            return
        _, late = await asyncio.wait(self._keepers, timeout=self._ending_seconds)
        for child in self._children.values() if late else ():
            if child.returncode is None:
                log.warning("gateway_killed", pid=child.pid, after_seconds=self._ending_seconds)
                _kill(child)
        await asyncio.gather(*self._keepers)

    async def _keep(self, place: int, order: bytes, opened: "asyncio.Future[None]") -> None:
        pause, failures = PAUSE_SECONDS, 0
        while not self._dismissed.is_set():
            born = time.monotonic()
            why = await self._life(place, order, opened)
            if self._dismissed.is_set():
                return
            log.error("gateway_died", gateway=place, why=why)
            failures += not opened.done()
            if failures == OPENINGS_MAX:
                opened.set_exception(OSError(f"gateway {place} of this port cannot be started ({why}); see above"))
                return
            settled = time.monotonic() - born > SETTLED_SECONDS
            pause = PAUSE_SECONDS if settled else min(2 * pause, PAUSE_SECONDS_MAX)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._dismissed.wait()

    async def _life(self, place: int, order: bytes, opened: "asyncio.Future[None]") -> str:
        """Of one process, from start to end; returns what ended it."""
        try:
            child = await _born(order)
        except OSError as error:
            return repr(error)
        self._children[place] = child
        if self._dismissed.is_set():
            _tell(child)
        hung = not await _speaks(child, OPENING_SECONDS_MAX)
        if not hung and child.returncode is None:
            log.info("gateway_started", gateway=place, pid=child.pid)
            if not opened.done():
                opened.set_result(None)
            hung = await self._hangs(child)
        if hung:
            _kill(child)
        return f"{'it hung, ' if hung else ''}exit code {await child.wait()}"

    async def _hangs(self, child: Process) -> bool:
        """Listen to one that serves; whether it fell silent before it ended. Who was told to end may be silent."""
        silences = 0
        while silences < SILENCES_MAX and child.returncode is None and not self._dismissed.is_set():
            silences = 0 if await _speaks(child, SILENCE_SECONDS) else silences + 1
        return silences == SILENCES_MAX


async def _born(order: bytes) -> Process:
    """A process with this one's packages, in a session of its own: Ctrl-C in a terminal is for the first to hear."""
    child = await asyncio.create_subprocess_exec(
        *(sys.executable, "-P", "-m", "gateway.commands.sibling"),
        stdin=PIPE,
        stdout=PIPE,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        start_new_session=True,
    )
    if child.stdin is not None:
        child.stdin.write(order)
    return child


async def _speaks(child: Process, seconds_max: float) -> bool:
    """Wait until it says that it serves, or has ended; False where it does neither in time."""
    try:
        async with asyncio.timeout(seconds_max):
            while child.stdout is not None and (line := await child.stdout.readline()):
                if line == READY:
                    return True
            await child.wait()
    except TimeoutError:
        return False
    return True


def _kill(child: Process) -> None:
    with contextlib.suppress(ProcessLookupError):  # it has just ended
        child.kill()


def _tell(child: Process) -> None:
    if child.stdin is not None:
        child.stdin.close()
