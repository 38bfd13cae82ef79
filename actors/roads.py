"""Roads: how calls of one method reach an actor: over a line, or as calls of Ray's where its port cannot be reached."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Final

import msgspec
import structlog

from actors.calling import CONTROL_DEADLINE_S, answer
from actors.lines import Line, LineAt

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
        """The answer. Raises `Lost` (`Silent` past the deadline), or what the actor raised."""
        line = self._line if self._line is not None and not self._line.is_broken else await self._opened()
        if line is not None:
            return await line.call(data, deadline_s)
        actor = await self._reached()
        answered: bytes = await answer(getattr(actor, self._method).remote(data), deadline_s)
        return answered

    async def _opened(self) -> Line | None:
        now_s = asyncio.get_running_loop().time()
        if not self._direct or now_s < self._by_ray_until_s:
            return None
        async with self._opening:
            if self._line is None or self._line.is_broken:
                self._line = None
                actor = await self._reached()
                at = msgspec.msgpack.decode(await answer(actor.line.remote(), CONTROL_DEADLINE_S), type=LineAt)
                try:
                    self._line = await Line.opened(at)
                except (OSError, TimeoutError) as unreached:
                    self._by_ray_until_s = now_s + RETRY_S
                    log.warning("line_unreachable", host=at.host, port=at.port, why=str(unreached))
            return self._line

    def close(self) -> None:
        """Let the line go."""
        if self._line is not None:
            self._line.close()
