"""Roads: how calls of one method reach an actor: over a line, or as calls of Ray's where its port cannot be reached."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Final

import msgspec
import structlog

from actors.calling import CONTROL_DEADLINE_S, answer
from actors.lines import Line, LineAt
from actors.ports import Silent

log = structlog.get_logger(__name__)

RETRY_S: Final = 60.0
"""Calls go through Ray for so long once a port could not be reached."""


class Road:
    """To `method` of the actor that `reached` returns: bytes there, bytes back. `direct` False: always through Ray.

    The actor's line is asked for with the first call, and again once it broke: a dead actor is `Lost` then."""

    def __init__(self, reached: Callable[[], Awaitable[Any]], method: str, *, direct: bool) -> None:
        self._reached = reached
        self._method = method
        self._direct = direct
        self._line: Line | None = None
        self._opening = asyncio.Lock()
        self._by_ray_until_s = 0.0

    async def call(self, data: bytes, deadline_s: float) -> bytes:
        """The answer. Raises `Lost` (`Silent` past the deadline, whatever it was that took so long), or what the actor
        raised."""
        line = self._line
        if line is None or line.is_broken:
            return await self._call_anew(data, asyncio.get_running_loop().time() + deadline_s)
        return await line.call(data, deadline_s)

    async def _call_anew(self, data: bytes, until_s: float) -> bytes:
        try:
            async with asyncio.timeout_at(until_s):
                line = await self._opened()
                actor = await self._reached() if line is None else None
        except TimeoutError as silent:
            raise Silent("the actor was not reached within the deadline") from silent
        left_s = until_s - asyncio.get_running_loop().time()
        if line is not None:
            return await line.call(data, left_s)
        answered: bytes = await answer(getattr(actor, self._method).remote(data), left_s)
        return answered

    async def _opened(self) -> Line | None:
        if not self._direct:
            return None
        async with self._opening:
            now_s = asyncio.get_running_loop().time()
            if now_s >= self._by_ray_until_s and (self._line is None or self._line.is_broken):
                self._line = await self._reopened(now_s)
            return self._line

    async def _reopened(self, now_s: float) -> Line | None:
        self._line = None
        actor = await self._reached()
        told: bytes = await answer(actor.line.remote(), CONTROL_DEADLINE_S)
        if not told:  # the actor was made under other settings
            self._by_ray_until_s = now_s + RETRY_S
            return None
        at = msgspec.msgpack.decode(told, type=LineAt)
        try:
            return await Line.opened(at)
        except OSError as unreached:
            self._by_ray_until_s = now_s + RETRY_S
            log.warning("line_unreachable", host=at.host, port=at.port, why=str(unreached))
            return None

    def close(self) -> None:
        """Let the line go; a later call opens another."""
        if self._line is not None:
            self._line.close()
            self._line = None
