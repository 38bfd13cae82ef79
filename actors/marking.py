"""Marking: one pass over the accounts of a host, on one price vector.

Guarantee (G8): an account that fails is counted and stops no other; requests are served between the marks.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Mapping
from datetime import datetime

from actors.corrections import Poison
from actors.figures import HostCounts
from actors.hosted import Hosted
from actors.limits import HostLimits
from actors.outbox import Outbox
from actors.ports import Tally
from engine.account import MARKED
from engine.book import Entry
from engine.commands import MarkToMarket
from engine.decide import Context, MarkOutcome
from engine.quotes import Quote
from engine.rejections import Refusal


class Marking:
    """Marks what is in `hosted` at the moment of a pass."""

    def __init__(
        self,
        hosted: Mapping[str, Hosted],
        outbox: Outbox,
        limits: HostLimits,
        *,
        poison: Poison,
        counts: HostCounts,
        now: Callable[[], datetime],
    ) -> None:
        self._hosted = hosted
        self._outbox = outbox
        self._limits = limits
        self._poison = poison
        self._counts = counts
        self._now = now
        self._stopped = False

    def stop(self) -> None:
        """Decide no more: the host is closing."""
        self._stopped = True

    async def mark(self, pass_id: str, quotes: dict[str, Quote]) -> Tally:
        """Mark every account that trades on one price vector, each on its own (G8). What is decided waits for its
        commit in a window of `marks_undurable_max`, so that a pass needs no more memory for more accounts."""
        counts = {"marked": 0, "flat": 0, "failed": 0, "liquidated": 0}
        dropped: list[str] = []
        undurable: deque[tuple[Hosted, int, MarkOutcome]] = deque()

        async def oldest_settled() -> None:
            hosted, seq, outcome = undurable.popleft()
            if await hosted.durable(seq):
                counts[outcome] += 1
                self._counts.marks[outcome] += 1
            else:
                dropped.append(hosted.account_id)

        accounts = sorted(self._hosted.values(), key=lambda hosted: not hosted.takes_in)  # what is corrected comes last
        for place, hosted in enumerate(accounts, 1):
            if place % self._limits.marks_per_turn == 0:
                await asyncio.sleep(0)  # let requests in between: a pass must not stop trading
            if len(undurable) >= self._limits.marks_undurable_max:
                await oldest_settled()
            await hosted.intake()
            if self._stopped or hosted.poisoned or hosted.book.account.status not in MARKED:
                continue
            entry = self._mark_one(hosted, pass_id, quotes)
            if entry is None or entry.decision is None or entry.decision.mark is None:
                dropped.append(hosted.account_id)
            else:
                undurable.append((hosted, entry.account.seq, entry.decision.mark))
        while undurable:
            await oldest_settled()
        return Tally(
            hosted=len(accounts),
            marked=counts["marked"],
            flat=counts["flat"],
            failed=counts["failed"],
            liquidated=counts["liquidated"],
            dropped=tuple(dropped),
        )

    def _mark_one(self, hosted: Hosted, pass_id: str, quotes: dict[str, Quote]) -> Entry | None:
        try:
            command = MarkToMarket(pass_id, unless_unchanged=self._limits.mark_ledger == "on_change")
            entry = hosted.book.submit(command, Context(self._now(), quotes), request_id=pass_id)
        except Exception as broken:
            self._poison(hosted, f"{type(broken).__name__}: {broken}", cause="broken")
            return None
        if isinstance(entry, Refusal):
            return None
        if entry.recorded:
            self._outbox.put(hosted, entry)
        return entry
