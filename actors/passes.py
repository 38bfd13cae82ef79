"""Passes: everybody who trades is marked on one price vector (`passId`).

Guarantee (G8): no account and no host stops a pass. What cannot be marked is counted as failed, comes back, and is
marked in the next one.
"""

import asyncio
from collections.abc import Callable, Container
from datetime import datetime

import msgspec
import structlog

from actors.figures import PassFigures
from actors.homecoming import Homecoming
from actors.hosts import Hosts
from actors.limits import SupervisorLimits
from actors.messages import PassReport
from actors.placement import Placement
from actors.ports import Host, Lost, Tally
from actors.price_board import PriceBoard
from actors.quarantine import Quarantine
from engine.ids import uuid7
from engine.quotes import Quote
from persistence.counts import Durations

log = structlog.get_logger(__name__)


class Passes:
    """Marking passes, one at a time: who holds `one_at_a_time` keeps accounts where they are. `arriving` are accounts
    that are on their way to a host anyway; `entropy` makes pass ids."""

    def __init__(
        self,
        hosts: Hosts,
        placement: Placement,
        board: PriceBoard,
        homecoming: Homecoming,
        quarantine: Quarantine,
        limits: SupervisorLimits,
        *,
        arriving: Container[str],
        entropy: Callable[[int], bytes],
        now: Callable[[], datetime],
    ) -> None:
        self._hosts = hosts
        self._placement = placement
        self._board = board
        self._homecoming = homecoming
        self._quarantine = quarantine
        self._limits = limits
        self._arriving = arriving
        self._entropy = entropy
        self._now = now
        self._durations = Durations()
        self._last: dict[str, int] = {}
        self._priced_at = asyncio.get_running_loop().time()
        self.one_at_a_time = asyncio.Lock()

    async def mark_all(self, request_id: str) -> PassReport:
        """One pass over every account that trades. Raises `StoreUnavailable` where prices cannot be read."""
        async with self.one_at_a_time:
            clock = asyncio.get_running_loop()
            began = clock.time()
            pass_id = uuid7(self._now(), self._entropy(10))
            await self._bring_back()
            stranded = self._homecoming.waiting
            quotes = await self._board.read()
            priced_at = clock.time()
            hosts = [host for host in self._hosts.values() if self._placement.accounts_of(host.name)]
            tallies = await asyncio.gather(*(self._mark_on(host, pass_id, quotes) for host in hosts))
            absent = len(self._quarantine.absent) + stranded
            failed = absent + sum(each.failed + len(each.dropped) for each in tallies)
            marked, flat = sum(each.marked for each in tallies), sum(each.flat for each in tallies)
            liquidated = sum(each.liquidated for each in tallies)
            report = PassReport(
                pass_id=pass_id,
                accounts=marked + flat + failed + liquidated,
                marked=marked,
                flat=flat,
                failed=failed,
                liquidated=liquidated,
                duration_ms=int((clock.time() - began) * 1000),
            )
            self._durations.add(clock.time() - began)
            self._last = {"marked": marked, "flat": flat, "failed": failed, "liquidated": liquidated}
            self._priced_at = priced_at
        log.info(
            "marking_pass",
            request_id=request_id,
            pass_id=pass_id,
            accounts=report.accounts,
            marked=report.marked,
            failed=report.failed,
            liquidated=report.liquidated,
            duration_ms=report.duration_ms,
        )
        return report

    def figures(self) -> PassFigures:
        """Until the first pass the lag is counted from the start."""
        return PassFigures(
            durations=self._durations,
            last=self._last,
            lag_seconds=asyncio.get_running_loop().time() - self._priced_at,
            cadence_seconds=self._limits.marking_cadence_ms / 1000,
        )

    async def _bring_back(self) -> None:
        """Who has lost its place had better be back before it is marked; the others do not wait for that for long."""
        coming = self._homecoming.begin()
        await asyncio.wait((coming,), timeout=self._limits.patience_ms / 1000)

    async def _mark_on(self, host: Host, pass_id: str, quotes: dict[str, Quote]) -> Tally:
        placed = self._placement.accounts_of(host.name)
        try:
            tally = await self._hosts.answer(host, host.mark(pass_id, quotes))
            self._homecoming.broke(tally.breaks)
            if tally.hosted < len(placed):
                strayed = placed - set(await self._hosts.answer(host, host.roster()))
            else:
                strayed = frozenset()
        except Lost as lost:
            log.error("pass_lost_host", host=host.name, accounts=len(placed), why=str(lost))
            return Tally(failed=len(placed))
        here = {each for each in {*tally.dropped, *strayed} if self._placement.host_of(each) == host.name}
        returning = {each for each in strayed if each in self._homecoming.returning}  # on its way already
        dropped = tuple(each for each in here - returning if each not in self._arriving)
        self._homecoming.lost(dropped)
        return msgspec.structs.replace(tally, failed=tally.failed + len(returning), dropped=dropped)
