"""PriceBoard: the price vector, as it is read from storage, pushed to the hosts and shown to clients.

Guarantee: a quote is shown only after every host that answers has it, so nobody sees a price that an account could
not be filled at. Vectors are numbered: a host drops one that arrives behind a later one.
"""

import asyncio
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from typing import Final, Protocol

import structlog

from actors.hosting import utc_now
from actors.limits import SupervisorLimits
from actors.messages import Wellness
from actors.ports import Host, Lost
from engine.quotes import Quote, age_ms

log = structlog.get_logger(__name__)

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND: Final = timedelta(microseconds=1)
ROUNDS_MISSED_MAX: Final = 10
"""Rounds of reading that may fail before quotes count as unwell."""


class QuoteSource(Protocol):
    """Reads the latest quote of every symbol. Raises `StoreUnavailable`."""

    async def read(self) -> dict[str, Quote]: ...


class PriceBoard:
    """Owned by the supervisor, which says when to look and at which hosts."""

    def __init__(self, source: QuoteSource, limits: SupervisorLimits, *, now: Callable[[], datetime] = utc_now) -> None:
        self._source = source
        self._limits = limits
        self._now = now
        self._latest: dict[str, Quote] = {}
        self._version = 0
        self._versions: dict[str, int] = {}  # by host
        self._read_at: float | None = None
        self.shown: dict[str, Quote] = {}

    async def read(self) -> dict[str, Quote]:
        """The vector as storage has it now. Raises `StoreUnavailable`."""
        return await self._source.read()

    async def look(self, hosts: Iterable[Host]) -> None:
        """One round: read, give it to every host, show it. Raises `StoreUnavailable`."""
        quotes = await self._source.read()
        self._read_at = asyncio.get_running_loop().time()
        if quotes != self._latest:
            self._latest = quotes
            self._version = max(self._version + 1, (self._now() - EPOCH) // MICROSECOND)
        await asyncio.gather(*(self.show(host) for host in list(hosts)))
        self.shown = quotes

    async def show(self, host: Host) -> None:
        """Bring a host up to the latest vector; one that does not take it in time is tried again in the next round."""
        version, quotes = self._version, self._latest
        if self._versions.get(host.name) == version:
            return
        try:
            async with asyncio.timeout(self._limits.quotes_push_ms / 1000):
                has = await host.see(version, quotes)
        except (Lost, TimeoutError) as lost:
            log.warning("quotes_not_taken", host=host.name, why=repr(lost))
            return
        if has > self._version:  # from a supervisor whose clock was ahead: the next round goes past it
            self._version = has + 1
        else:
            self._versions[host.name] = version

    def ages_seconds(self, symbols_max: int) -> dict[str, float]:
        """How old what is shown is, by symbol, of the first of them by name."""
        now = self._now()
        return {symbol: age_ms(self.shown[symbol], now) / 1000 for symbol in sorted(self.shown)[:symbols_max]}

    def read_seconds_ago(self) -> float | None:
        """Since storage was last asked with success; None where it never was."""
        return None if self._read_at is None else asyncio.get_running_loop().time() - self._read_at

    def wellness(self) -> Wellness:
        """Well while quotes can be read, be they few or old: an old one is the gates' business."""
        if self._read_at is None:
            return Wellness("quotes", False, "never read")
        since_ms = int((asyncio.get_running_loop().time() - self._read_at) * 1000)
        now = self._now()
        ages = [age_ms(quote, now) for quote in self.shown.values()]
        newest = f", newest {min(ages)} ms old" if ages else ""
        since_ms_max = ROUNDS_MISSED_MAX * self._limits.quotes_poll_ms + self._limits.quotes_push_ms
        return Wellness("quotes", since_ms <= since_ms_max, f"{len(ages)} symbols{newest}, read {since_ms} ms ago")
