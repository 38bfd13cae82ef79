"""Watching: is a host alive, merely slow, or gone?

Guarantee: a host that is dead is ended at once, and one that is silent only when it stays silent for `silence_ms`: a
pause, or a call that Ray has lost, costs nobody a recovery. A silent host holds nobody up: its accounts are activated
elsewhere as they are asked for, and the hosts beside it are examined in their own time.
"""

import asyncio
from collections.abc import Callable, Container, Iterable
from typing import Final

import structlog

from actors.hosts import Hosts
from actors.limits import SupervisorLimits
from actors.placement import Placement
from actors.ports import Host, Lost, Pulse, Silent
from persistence.store import StoreUnavailable

log = structlog.get_logger(__name__)

AGAIN_MS: Final = 200
"""Pause before a host is asked again for a pulse that was lost on the way."""


class Watch:
    """Examines hosts. `arriving` are accounts that must not be let go now; `homeless` takes those of a host that is
    gone, `heard` is told of every pulse."""

    def __init__(
        self,
        hosts: Hosts,
        placement: Placement,
        limits: SupervisorLimits,
        *,
        arriving: Container[str],
        homeless: Callable[[Iterable[str]], None],
        heard: Callable[[Pulse], None],
    ) -> None:
        self._hosts = hosts
        self._placement = placement
        self._limits = limits
        self._arriving = arriving
        self._homeless = homeless
        self._heard = heard
        self._under_way: dict[str, asyncio.Task[None]] = {}
        self._silent_since: dict[str, float] = {}

    async def round(self) -> None:
        """Examine every host; one that does not answer is not waited for."""
        examinations = [self._examination(host) for host in self._hosts.values()]
        if examinations:
            await asyncio.wait(examinations, timeout=self._limits.pulse_ms / 1000)

    async def close(self) -> None:
        """Examine no more."""
        under_way = list(self._under_way.values())
        for examination in under_way:
            examination.cancel()
        await asyncio.gather(*under_way, return_exceptions=True)

    async def examine(self, host: Host) -> None:
        """How this one is now, or with the next answer that it owes anyway."""
        await asyncio.wait((self._examination(host),))

    def _examination(self, host: Host) -> "asyncio.Task[None]":
        examination = self._under_way.get(host.name)
        if examination is None:
            examination = self._under_way[host.name] = asyncio.create_task(self._examined(host))
            examination.add_done_callback(lambda _: self._under_way.pop(host.name))
        return examination

    async def _examined(self, host: Host) -> None:
        try:
            pulse = await self._pulse(host)
        except (Silent, TimeoutError) as silent:
            self._is_silent(host, silent)
            return
        except Exception as lost:  # one that cannot say how it is, is not well
            self._is_lost(host, lost)
            return
        was_silent = self._silent_since.pop(host.name, None) is not None
        self._hosts.showed_life(host, pulse.node)
        self._heard(pulse)
        try:
            if was_silent:
                await self._take_off(host)
            else:
                await self._let_go(host, pulse.idle)
        except (Lost, StoreUnavailable) as lost:
            log.warning("accounts_not_let_go", host=host.name, why=str(lost))

    async def _pulse(self, host: Host) -> Pulse:
        clock, deadline_s = asyncio.get_running_loop(), self._limits.pulse_deadline_ms / 1000
        while True:
            began = clock.time()
            try:
                return await self._pulse_within(host, deadline_s)
            except TimeoutError:
                if clock.time() - began < 2 * deadline_s:
                    raise
                log.warning("supervisor_was_away", host=host.name)  # and has not even looked for the answer

    async def _pulse_within(self, host: Host, deadline_s: float) -> Pulse:
        async with asyncio.timeout(deadline_s):
            while True:
                try:
                    return await host.pulse()
                except Silent:  # a call that was lost on the way says nothing of the next
                    await asyncio.sleep(AGAIN_MS / 1000)

    def _is_silent(self, host: Host, why: Exception) -> None:
        """Counted from the end of the first pulse without an answer."""
        now = asyncio.get_running_loop().time()
        if host.name not in self._silent_since:
            log.warning("host_silent", host=host.name, why=repr(why))
        since = self._silent_since.setdefault(host.name, now)
        self._hosts.fell_silent(host)
        if now - since >= self._limits.silence_ms / 1000:
            self._is_lost(host, why)

    def _is_lost(self, host: Host, why: Exception) -> None:
        self._silent_since.pop(host.name, None)
        if host.name in self._hosts:
            homeless = self._hosts.end(host)
            log.error("host_lost", host=host.name, accounts=len(homeless), why=repr(why))
            self._homeless(sorted(homeless))

    async def _take_off(self, host: Host) -> None:
        """What found another place while the host was silent: nobody asks for it there any more."""
        roster = await self._hosts.answer(host, host.roster())
        left = [each for each in roster if self._placement.host_of(each) != host.name and each not in self._arriving]
        log.warning("host_heard_again", host=host.name, accounts=len(roster), left_over=len(left))
        if left:
            await self._hosts.answer(host, host.hand_over(left))

    async def _let_go(self, host: Host, account_ids: Iterable[str]) -> None:
        """Have accounts leave memory. One that trades by now stays, and one that lives on another host keeps its place
        there."""
        leaving = [each for each in account_ids if each not in self._arriving]
        if leaving:
            gone = await self._hosts.answer(host, host.passivate(leaving))
            self._placement.release(each for each in gone if self._placement.host_of(each) == host.name)
