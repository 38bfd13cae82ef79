"""Readiness: may traffic come here? All of it must be well: storage, runtime, quotes, recovery, and this gateway.

The probe is open to everyone, so its answer is kept for `KEPT_SECONDS` and asked for once however many ask.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from actors.messages import Wellness
from actors.port import AccountClient
from gateway.admission import Admission

KEPT_SECONDS: Final = 0.5
CHECK_SECONDS_MAX: Final = 2.0

Check = Callable[[], Awaitable[Wellness]]


class ReadinessProbe:
    """Asks every component how it is."""

    def __init__(self, client: AccountClient, checks: Sequence[Check], admission: Admission) -> None:
        self._client = client
        self._checks = checks
        self._admission = admission
        self._kept: tuple[float, tuple[Wellness, ...]] | None = None
        self._asking = asyncio.Lock()

    async def components(self) -> tuple[Wellness, ...]:
        """This gateway first, then what lies behind it."""
        async with self._asking:
            if self._kept is None or time.monotonic() - self._kept[0] > KEPT_SECONDS:
                self._kept = (time.monotonic(), await self._ask())
        leaving = self._admission.leaving
        return (Wellness("gateway", not leaving, "stopping" if leaving else "serving"), *self._kept[1])

    async def _ask(self) -> tuple[Wellness, ...]:
        own = asyncio.gather(*(self._one(check) for check in self._checks))
        return (*await self._behind(), *await own)

    async def _behind(self) -> tuple[Wellness, ...]:
        try:
            async with asyncio.timeout(CHECK_SECONDS_MAX):
                return tuple(await self._client.wellness())
        except Exception as error:  # a probe that fails is an answer: not well
            return (Wellness("runtime", False, _said(error)),)

    async def _one(self, check: Check) -> Wellness:
        try:
            async with asyncio.timeout(CHECK_SECONDS_MAX):
                return await check()
        except Exception as error:  # as above
            return Wellness(getattr(check, "__name__", "check"), False, _said(error))


def _said(error: Exception) -> str:
    return "does not answer" if isinstance(error, TimeoutError) else type(error).__name__
