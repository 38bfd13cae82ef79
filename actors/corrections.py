"""Corrections: what a host does when an administrator asks: a fill taken out, an account held to its ledger.

Guarantee: nothing else is decided of the account meanwhile, and what is answered is durable or said to be unconfirmed.
An account that cannot be activated is recomputed from storage alone.
"""

import time
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Protocol

import structlog

from actors import correcting
from actors.figures import Cause, HostCounts
from actors.hosted import REBUILDING, UNCONFIRMED, Hosted
from actors.messages import Correct, Recompute, Refused, Reply, Unserved
from actors.outbox import Outbox
from engine.book import Entry
from engine.rejections import Refusal
from persistence.store import AuditEntry, Store, StoreUnavailable

log = structlog.get_logger(__name__)


class Recorded(Protocol):
    """The reply to a decision, once its events are durable."""

    async def __call__(self, hosted: Hosted, entry: Entry, reply: Reply, audit: AuditEntry | None = None) -> Reply: ...


class Poison(Protocol):
    """Throws an account's state away."""

    def __call__(self, hosted: Hosted, why: str, *, cause: Cause) -> None: ...


class Corrections:
    """Corrects the accounts of one host, whose ways to answer it is given: `settled` and `recorded` reply once all is
    durable, `poison` throws a state away, `restored` takes in an account that was put right in an epoch. What drifted
    is counted in `counts`."""

    def __init__(
        self,
        host: str,
        store: Store,
        outbox: Outbox,
        *,
        settled: Callable[[Hosted, int, Reply], Awaitable[Reply]],
        recorded: Recorded,
        poison: Poison,
        restored: Callable[[str, int], Awaitable[None]],
        counts: HostCounts,
        receipts_in_memory_max: int,
        now: Callable[[], datetime],
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._host = host
        self._store = store
        self._outbox = outbox
        self._settled = settled
        self._recorded = recorded
        self._poison = poison
        self._restored = restored
        self._counts = counts
        self._receipts_in_memory_max = receipts_in_memory_max
        self._now = now
        self._monotonic = monotonic

    async def void(self, hosted: Hosted, request: Correct) -> Reply:
        """Take a fill out: decided over the whole ledger, while nothing else of this account is."""
        async with hosted.closed():
            if not await hosted.durable(hosted.book.account.seq):
                return REBUILDING
            before, fork = hosted.book.account, hosted.book.fork()
            outcome = await correcting.decided(self._store, fork, request, self._now())
            if hosted.poisoned:
                return REBUILDING
            if isinstance(outcome, Entry) and outcome.recorded and not request.dry_run:
                hosted.book = fork  # nothing else was decided meanwhile
                self._outbox.put(hosted, outcome, correcting.audited(request, before, outcome.account))
        if isinstance(outcome, Refusal):
            return await self._settled(hosted, before.seq, Refused(outcome))
        reply = correcting.corrected(outcome, before, dry_run=request.dry_run)
        if request.dry_run:
            return await self._settled(hosted, before.seq, reply)
        if outcome.recorded:
            return reply if await hosted.durable(outcome.account.seq) else UNCONFIRMED
        return await self._recorded(hosted, outcome, reply, correcting.audited(request, before, before))

    async def recompute(self, hosted: Hosted, request: Recompute) -> Reply:
        """Hold the live account and its tables to the ledger, while nothing of this account is decided."""
        async with hosted.closed():
            if not await hosted.durable(hosted.book.account.seq):
                return REBUILDING
            stored = await self._store.stored(hosted.account_id)
            before = hosted.book.account
            found = await correcting.examined(
                stored, hosted.book, epoch=hosted.book.epoch, receipts_in_memory_max=self._receipts_in_memory_max
            )
            self._counts.drifts += len(found.drift)
            if hosted.poisoned:
                return REBUILDING
            if request.dry_run:
                return await self._settled(hosted, before.seq, correcting.recomputed(found, before.seq, repaired=False))
            if found.book is None:
                reply = correcting.recomputed(found, before.seq, repaired=False)
                await self._store.note(correcting.audited(request, before, before))
                return await self._settled(hosted, before.seq, reply)
            asked_at = self._monotonic()
            mend = correcting.mended(found, found.book, request, before, self._now())
            try:
                verdict = await self._store.mend(mend)
            except StoreUnavailable as away:
                self._poison(hosted, f"a recompute was not confirmed: {away}", cause="unknown")
                return UNCONFIRMED
            if verdict != "committed":
                self._poison(hosted, f"recompute {verdict}", cause="fenced")
                return REBUILDING
            hosted.book = found.book
            hosted.became_durable(found.book.account.seq, confirmed_at=asked_at)
        return correcting.recomputed(found, found.book.account.seq, repaired=bool(found.drift))

    async def restore(self, request: Recompute) -> Reply:
        """Recompute an account that cannot be activated, from its ledger alone, whatever its tables and its head row
        say. Where the ledger holds, the account lives here afterwards."""
        account_id, epoch = request.account_id, 0
        try:
            if not request.dry_run:  # first, so that no older activation writes behind what is read
                heads = await self._store.claim([account_id])
                if account_id not in heads:
                    return Unserved("unknown_account", "no such account")
                epoch = heads[account_id].epoch
            stored = await self._store.stored(account_id)
            found = await correcting.examined(
                stored, None, epoch=epoch, receipts_in_memory_max=self._receipts_in_memory_max
            )
            self._counts.drifts += len(found.drift)
            if found.book is None or request.dry_run:
                if not request.dry_run:
                    await self._store.note(correcting.audited(request, None, None))
                return correcting.recomputed(found, len(stored.ledger), repaired=False)
            mend = correcting.mended(found, found.book, request, found.book.account, self._now())
            if await self._store.mend(mend) != "committed":
                return Unserved("overloaded", "another activation took the account meanwhile")
        except StoreUnavailable as away:
            return Unserved("outcome_unknown", f"the recompute was not confirmed, and may be asked for again: {away}")
        except Exception as broken:  # it stays in quarantine, and the others of this call have their answers (G8)
            log.error("account_not_restored", host=self._host, account_id=account_id, why=repr(broken))
            return Unserved("quarantined", f"the recompute broke: {type(broken).__name__}: {broken}")
        log.warning("account_restored", host=self._host, account_id=account_id, drifts=len(found.drift))
        await self._restored(account_id, epoch)
        return correcting.recomputed(found, found.book.account.seq, repaired=bool(found.drift))
