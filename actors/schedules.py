"""Schedules: work that is done on a cadence, and work that must be done before the next.

Guarantee: no failure ends a schedule, not one that nobody foresaw either; it is told, and the work is tried again.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

import structlog

from actors.ports import Lost
from persistence.store import StoreUnavailable

log = structlog.get_logger(__name__)

RETRY_MS: Final = 500
"""Pause before work that failed is tried again."""

Work = Callable[[], Awaitable[object]]


async def every(period_ms: int, work: Work) -> None:
    """Run `work` on a cadence, never twice at once: a late round is skipped, not queued. A round that fails ends no
    schedule, however it fails: the price table may be away for being altered."""
    clock = asyncio.get_running_loop()
    due = clock.time()
    while True:
        due = max(due + period_ms / 1000, clock.time())
        await asyncio.sleep(max(0.0, due - clock.time()))
        try:
            await work()
        except (StoreUnavailable, Lost) as away:
            log.warning("schedule_delayed", work=_name(work), why=str(away))
            await asyncio.sleep(RETRY_MS / 1000)
        except Exception:
            log.exception("schedule_failed", work=_name(work))
            await asyncio.sleep(RETRY_MS / 1000)


async def until_done(work: Work) -> None:
    """Work that must be done before the next: tried again until it is. A defect is told, and tried again too: the
    account actors live on, and need a supervisor."""
    while True:
        try:
            await work()
            return
        except (StoreUnavailable, Lost) as away:
            log.warning("start_delayed", work=_name(work), why=str(away))
        except Exception:
            log.exception("start_failed", work=_name(work))
        await asyncio.sleep(RETRY_MS / 1000)


def _name(work: Work) -> str:
    return getattr(work, "__name__", repr(work))
