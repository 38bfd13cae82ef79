"""Residence: who lives in a host, how they come and leave, and how one is thrown out with whom something is wrong.

Guarantee: an account comes under a new epoch (G4), and leaves only with all that was decided durable, or else with its
state thrown away, to be rebuilt from the ledger, never undone in place. What goes wrong with one account is its own
affair (G8).
"""

import asyncio
import contextlib
import time
from collections.abc import Callable, Sequence
from typing import Final

import msgspec
import structlog

from actors.figures import AT_FAULT, Cause, HostCounts, HostFigures
from actors.hosted import Hosted
from actors.limits import HostLimits
from actors.outbox import Outbox
from actors.ports import Activation, Appender, Break, Lost, Pulse
from actors.quarantine import QUARANTINE_AFTER
from persistence.committer import AppendVerdict, Committer
from persistence.reclaim import reclaim
from persistence.store import Store, StoreUnavailable

log = structlog.get_logger(__name__)

WHY_CHARACTERS_MAX: Final = 300
"""Of the reason of a break, which every pulse tells until the account has gone on."""


class Residence:
    """The accounts of one host. `store` recovers and confirms, `appender` makes durable; both may be shared. `own` is
    the appender where it is this host's alone."""

    def __init__(
        self,
        name: str,
        store: Store,
        appender: Appender,
        limits: HostLimits,
        *,
        node: str = "",
        own: Committer | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.name = name
        self._began_at = monotonic()
        self._own = own
        self._counts = HostCounts() if own is None else HostCounts(committer=own.counters)
        self._node = node
        self._store = store
        self._limits = limits
        self._monotonic = monotonic
        self._hosted: dict[str, Hosted] = {}
        self._breaks: dict[str, tuple[Break, ...]] = {}
        self._restored_in: dict[str, int] = {}  # epochs
        self._outbox = Outbox(
            name, store, appender, limits, self._unconfirmed, counts=self._counts, monotonic=monotonic
        )
        self._activating = asyncio.Lock()
        self._closing = False
        self._closed = False

    async def activate(self, account_ids: Sequence[str]) -> Activation:
        """Host accounts under a new epoch each, which fences whoever hosted them before (G4). Raises `Lost` where the
        host is about to end, which is no place to live."""
        async with self._activating:
            self._refuse_when(self._closing)
            self._outbox.start()
            wanted = [each for each in account_ids if each not in self._hosted]
            claimed_at = self._monotonic()
            reclaimed = await reclaim(self._store, wanted, receipts_in_memory_max=self._limits.receipts_in_memory_max)
            absent = [each for each in wanted if each not in reclaimed.heads]
            locked = await self._store.epochs(absent) if absent else {}
            self._refuse_when(self._closing)
            for account_id, book in reclaimed.books.items():
                self._hosted[account_id] = Hosted(book, confirmed_at=claimed_at)
            if wanted:
                self._counts.rebuilt.add(self._monotonic() - claimed_at)
                self._counts.accounts_rebuilt += len(reclaimed.books)
        return Activation(
            hosted=tuple(each for each in account_ids if each in self._hosted),
            unknown=tuple(each for each in absent if each not in locked),
            broken={
                each: Break(reclaimed.heads[each].epoch, failure.seq, failure.reason[:WHY_CHARACTERS_MAX])
                for each, failure in reclaimed.failures.items()
            },
        )

    async def passivate(self, account_ids: Sequence[str]) -> tuple[str, ...]:
        """Snapshot and forget accounts that need no memory; those that have left. Who asked says what was idle a moment
        ago: an account that somebody has asked for since, or started, stays."""
        leaving = [self._hosted[each] for each in account_ids if each in self._hosted and self._hosted[each].is_idle]
        for hosted in leaving:
            del self._hosted[hosted.account_id]
        await self._outbox.save([hosted.snapshot() for hosted in leaving if hosted.has_news])
        return tuple(hosted.account_id for hosted in leaving)

    async def hand_over(self, account_ids: Sequence[str]) -> tuple[str, ...]:
        """Let accounts go to another host, also while they trade: take nothing new of them, finish what is in hand,
        snapshot, forget. Returns those that have left; what cannot finish in `hand_over_ms` stays."""
        leaving = [hosted for each in account_ids if (hosted := self._hosted.get(each)) is not None]
        for hosted in leaving:
            hosted.leaving = True
        try:
            async with asyncio.timeout(self._limits.hand_over_ms / 1000):
                await asyncio.gather(*(hosted.finished() for hosted in leaving))
        except TimeoutError:
            log.warning("accounts_stay", host=self.name, asked=len(leaving))
        here = [
            hosted for hosted in leaving if self._hosted.get(hosted.account_id) is hosted
        ]  # the others left meanwhile
        gone = [hosted for hosted in here if hosted.is_quiet]
        for hosted in leaving:
            hosted.leaving = False
        for hosted in gone:
            del self._hosted[hosted.account_id]
            hosted.poison()  # whoever still holds it has to look elsewhere
        await self._outbox.save([hosted.snapshot() for hosted in gone if hosted.has_news])
        return tuple(hosted.account_id for hosted in gone)

    async def pulse(self) -> Pulse:
        """How much is hosted, and what of it could leave memory: accounts that neither trade nor are marked. Raises
        `Lost` once closed, so that a supervisor that did not close it replaces it."""
        self._refuse_when(self._closed)
        settled_before = self._monotonic() - self._limits.idle_ms / 1000
        idle = tuple(
            account_id
            for account_id, hosted in self._hosted.items()
            if hosted.is_idle and hosted.touched_at < settled_before
        )
        figures = msgspec.msgpack.encode(self._figures())
        return Pulse(len(self._hosted), idle, self._node, self._still_broken(), self._restored_in, figures)

    def _figures(self) -> HostFigures:
        return HostFigures(
            host=self.name,
            age_seconds=self._monotonic() - self._began_at,
            counts=self._counts,
            accounts=len(self._hosted),
            undurable_accounts=self._outbox.undurable_accounts,
            undurable_seconds=self._outbox.undurable_seconds,
            committer=None if self._own is None else self._own.figures,
        )

    async def roster(self) -> tuple[str, ...]:
        """Ids of every account hosted. Raises `Lost` once closed."""
        self._refuse_when(self._closed)
        return tuple(self._hosted)

    async def close(self) -> None:
        """Take no more, finish what was taken, wait until all that was decided is durable, snapshot, stop."""
        self._closing = True
        await asyncio.gather(*(hosted.finished() for hosted in self._hosted.values()))
        await self._outbox.save([hosted.snapshot() for hosted in self._hosted.values() if hosted.has_news])
        self._hosted.clear()
        self._closed = True
        await self._outbox.close()

    def hang_up(self) -> None:
        """Nothing was opened: whoever calls is in this process."""

    def _refuse_when(self, ending: bool) -> None:
        if ending:
            raise Lost(f"{self.name} is closing")

    # -- what goes wrong ------------------------------------------------------------------------------------

    def _still_broken(self) -> dict[str, tuple[Break, ...]]:
        """The last breaks of every account that has not gone on here since."""
        for account_id, breaks in list(self._breaks.items()):
            hosted = self._hosted.get(account_id)
            if hosted is not None and hosted.durable_seq > breaks[-1].seq:
                del self._breaks[account_id]
        return self._breaks.copy()

    async def _restored(self, account_id: str, epoch: int) -> None:
        self._breaks.pop(account_id, None)
        self._restored_in[account_id] = epoch
        with contextlib.suppress(Lost, StoreUnavailable):  # then it lives where it is asked for next
            await self.activate([account_id])

    def _unconfirmed(self, hosted: Hosted, verdict: AppendVerdict) -> None:
        self._poison(hosted, f"append {verdict}", cause="unknown" if verdict == "committed" else verdict)

    def _poison(self, hosted: Hosted, why: str, *, cause: Cause) -> None:
        """Throw an account's state away. Where the account itself is at fault, the supervisor is to know."""
        if hosted.poisoned:
            return
        log.error("account_poisoned", host=self.name, account_id=hosted.account_id, epoch=hosted.book.epoch, why=why)
        self._counts.poisoned[cause] += 1
        if cause in AT_FAULT:
            broke = Break(hosted.book.epoch, hosted.durable_seq, why[:WHY_CHARACTERS_MAX])
            self._breaks[hosted.account_id] = (*self._breaks.get(hosted.account_id, ()), broke)[-QUARANTINE_AFTER:]
        if self._hosted.get(hosted.account_id) is hosted:
            del self._hosted[hosted.account_id]
        self._outbox.forget(hosted)
        hosted.poison()
