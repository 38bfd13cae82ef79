"""Measuring: asking what lies behind a gateway for its figures when Prometheus asks the gateway.

Everybody may ask for `/metrics`, so what was found is kept for `KEPT_SECONDS` and asked for once however many ask; what
costs Postgres a count of all accounts, for `VITALS_KEPT_SECONDS`. Guarantee: an answer takes `ANSWERED_SECONDS_MAX` at
most, and what has not come by then is not in it.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

import msgspec
import structlog
from prometheus_client import Metric

from actors.figures import Figures
from gateway.told import Found, families
from persistence.store import StoreUnavailable
from persistence.vitals import Vitals

KEPT_SECONDS: Final = 1.0
VITALS_KEPT_SECONDS: Final = 10.0
ANSWERED_SECONDS_MAX: Final = 1.0

Answer = TypeVar("Answer")

log = structlog.get_logger(__name__)


class Sources(msgspec.Struct, frozen=True, kw_only=True):
    """Whom to ask. `beat_seconds` is the age of the supervisor's heartbeat as Postgres has it, None where there is
    none; it and `vitals` raise `StoreUnavailable`."""

    figures: Callable[[], Awaitable[Figures]]
    beat_seconds: Callable[[], Awaitable[float | None]]
    vitals: Callable[[], Awaitable[Vitals]]


class Measuring:
    """The engine's families, on the clock of `monotonic`."""

    def __init__(self, sources: Sources, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._sources = sources
        self._monotonic = monotonic
        self._kept: tuple[float, list[Metric]] | None = None
        self._vitals: tuple[float, Vitals] | None = None
        self._asking = asyncio.Lock()

    async def families(self) -> list[Metric]:
        """As of now, or of `KEPT_SECONDS` ago. Raises nothing."""
        async with self._asking:
            if self._kept is None or self._monotonic() - self._kept[0] > KEPT_SECONDS:
                self._kept = (self._monotonic(), families(await self._found()))
            return self._kept[1]

    async def _found(self) -> Found:
        figures, (postgres, beat_seconds), vitals = await asyncio.gather(
            _in_time(self._sources.figures(), None),
            _in_time(self._beat(), (False, None)),
            _in_time(self._kept_vitals(), None),
        )
        return Found(figures=figures, postgres=postgres, beat_seconds=beat_seconds, vitals=vitals)

    async def _beat(self) -> tuple[bool, float | None]:
        return True, await self._sources.beat_seconds()

    async def _kept_vitals(self) -> Vitals:
        if self._vitals is None or self._monotonic() - self._vitals[0] > VITALS_KEPT_SECONDS:
            self._vitals = (self._monotonic(), await self._sources.vitals())
        return self._vitals[1]


async def _in_time(asked: Awaitable[Answer], instead: Answer) -> Answer:
    """What it answers, or `instead` where that is late or nothing: the answer says by `prop_up` who is missing."""
    try:
        async with asyncio.timeout(ANSWERED_SECONDS_MAX):
            return await asked
    except (TimeoutError, StoreUnavailable) as late:
        log.warning("figures_late", why=repr(late))
    except Exception:  # a defect in one source keeps no other from being told
        log.exception("figures_failed")
    return instead
