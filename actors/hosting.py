"""AccountHost: the place where accounts live (`residence`) and are applied to, one after another (G3).

Owns the road from a decision to its acknowledgement. Receipt lookup, decide, evolve and the way into the `Outbox` are
one synchronous step with no await in it; then only durability is awaited. What goes wrong with an account poisons that
account alone (G8).
Plain asyncio: `account_actor` wraps it for Ray, `local_client` uses it as it is.
"""

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime

import msgspec
import structlog

from actors import correcting
from actors.corrections import Corrections
from actors.hosted import REBUILDING, UNCONFIRMED, Hosted
from actors.limits import HostLimits
from actors.marking import Marking
from actors.messages import (
    Conflicted,
    Correct,
    Read,
    Reading,
    Recompute,
    Refused,
    Reply,
    Request,
    Submit,
    Submitted,
    Take,
    Taken,
    Unserved,
)
from actors.ports import Appender, Tally
from actors.residence import Residence
from engine.book import Entry
from engine.decide import Context
from engine.quotes import Quote
from engine.receipts import ActionKey, Receipt
from engine.rejections import Refusal
from engine.views import balance_view
from persistence.committer import Committer
from persistence.store import AuditEntry, Store, StoreUnavailable

log = structlog.get_logger(__name__)


def utc_now() -> datetime:
    return datetime.now(UTC)


class AccountHost(Residence):
    """A residence that answers requests, corrections and marking passes among them."""

    def __init__(
        self,
        name: str,
        store: Store,
        appender: Appender,
        limits: HostLimits,
        *,
        node: str = "",
        own: Committer | None = None,
        now: Callable[[], datetime] = utc_now,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(name, store, appender, limits, node=node, own=own, monotonic=monotonic)
        self._now = now
        self._quotes: dict[str, Quote] = {}
        self._quotes_version = 0
        self._corrections = Corrections(
            name,
            store,
            self._outbox,
            settled=self._settled,
            recorded=self._recorded,
            poison=self._poison,
            restored=self._restored,
            counts=self._counts,
            receipts_in_memory_max=limits.receipts_in_memory_max,
            now=now,
            monotonic=monotonic,
        )
        self._marking = Marking(self._hosted, self._outbox, limits, poison=self._poison, counts=self._counts, now=now)

    async def close(self) -> None:
        """As of any residence; a pass under way decides no more."""
        self._marking.stop()
        await super().close()

    async def see(self, version: int, quotes: dict[str, Quote]) -> int:
        """Decide at this price vector from now on; calls may overtake each other, an older version is dropped."""
        if version > self._quotes_version:
            self._quotes_version, self._quotes = version, quotes
        return self._quotes_version

    # -- requests -------------------------------------------------------------------------------------------

    async def handle(self, requests: tuple[Request, ...]) -> tuple[Reply, ...]:
        """Apply in order; each reply comes when its events are durable."""
        if len(requests) == 1:
            replies = [await self._answer(requests[0])]  # most often: a task less
        else:
            replies = await asyncio.gather(*(self._answer(request) for request in requests))
        for reply in replies:
            if isinstance(reply, Unserved):
                self._counts.unserved[reply.reason] += 1
        return tuple(replies)

    async def _answer(self, request: Request) -> Reply:
        hosted = self._hosted.get(request.account_id)
        if isinstance(request, Recompute) and request.sheltered and hosted is None and not self._closing:
            return await self._corrections.restore(request)
        if hosted is None or hosted.leaving or self._closing:
            return Unserved("not_hosted", "the account does not live here")
        if hosted.in_hand >= self._limits.queued_batches_per_account_max:
            return Unserved("overloaded", "too many requests of this account are waiting")
        hosted.touched_at = self._monotonic()
        with hosted.holding():
            try:
                match request:
                    case Take():
                        return await self._take(hosted, request)
                    case Submit():
                        return await self._submit(hosted, request)
                    case Correct():
                        return await self._corrections.void(hosted, request)
                    case Recompute():
                        return await self._corrections.recompute(hosted, request)
                    case Read():
                        return await self._read(hosted)
            except StoreUnavailable as away:
                return Unserved("overloaded", f"storage is away: {away}")
            except Exception as broken:
                self._poison(hosted, f"{type(broken).__name__}: {broken}", cause="broken")
                return Unserved("outcome_unknown", "the account is being rebuilt from its ledger")

    async def _take(self, hosted: Hosted, request: Take) -> Reply:
        began_at = self._monotonic()
        recalled = await self._recall(hosted, request.batch.keys)
        while not hosted.takes_in:
            await hosted.intake()
            recalled = await self._recall(hosted, request.batch.keys)
        if hosted.poisoned:
            return REBUILDING
        book = hosted.book.fork() if request.dry_run else hosted.book
        before = book.account.seq
        outcome = book.take(request.batch, self._context(), request_id=request.request_id, recalled=recalled)
        if not isinstance(outcome, Entry):
            return await self._settled(hosted, before, Conflicted(outcome))
        seq = before if request.dry_run else outcome.account.seq
        taken = Taken.of(seq, outcome.results, balance_view(outcome.account), epoch=book.epoch)
        if request.dry_run:
            return await self._settled(hosted, before, taken)
        reply = await self._recorded(hosted, outcome, taken)
        if reply is taken:
            seconds = self._monotonic() - began_at
            self._counts.took(outcome.results, seconds)
            for result in outcome.results:
                log.debug(
                    "action",
                    request_id=request.request_id,
                    account_id=hosted.account_id,
                    decision_action_id=result.decision_action_id,
                    seq=seq,
                    epoch=book.epoch,
                    code=result.code,
                    replayed=result.replayed,
                    duration_ms=round(seconds * 1000, 2),
                )
        return reply

    async def _submit(self, hosted: Hosted, request: Submit) -> Reply:
        await hosted.intake()
        if hosted.poisoned:
            return REBUILDING
        book = hosted.book.fork() if request.dry_run else hosted.book
        before = book.account
        outcome = book.submit(request.command, self._context(), request_id=request.request_id)
        if isinstance(outcome, Refusal):
            return await self._settled(hosted, before.seq, Refused(outcome))
        decision = outcome.decision
        reply = Submitted(
            correcting.shown(outcome.account, before, dry_run=request.dry_run),
            balance_view(outcome.account),
            decision.mark if decision else None,
            decision.failures if decision else (),
            book.epoch,
        )
        if request.dry_run:
            return await self._settled(hosted, before.seq, reply)
        return await self._recorded(hosted, outcome, reply, correcting.audited(request, before, outcome.account))

    def _context(self) -> Context:
        return Context(self._now(), self._quotes)

    async def _read(self, hosted: Hosted) -> Reply:
        account = hosted.book.account
        return await self._settled(hosted, account.seq, Reading(account))

    async def _recall(self, hosted: Hosted, keys: Sequence[ActionKey]) -> Mapping[ActionKey, Receipt]:
        """Older receipts of these keys. What is not durable yet is still in memory, so storage has the rest."""
        recalled: dict[ActionKey, Receipt] = {}
        asked: set[ActionKey] = set()
        while missing := [key for key in hosted.book.receipts.elsewhere(keys) if key not in asked]:
            recalled |= await self._store.receipts(hosted.account_id, missing)
            asked |= set(missing)
        return recalled

    async def _recorded(self, hosted: Hosted, entry: Entry, reply: Reply, audit: AuditEntry | None = None) -> Reply:
        """The reply to a decision, once its events are durable; without events it only reads, and what an administrator
        asked for is noted alone."""
        if not entry.recorded:
            settled = await self._settled(hosted, entry.account.seq, reply)
            if audit is not None and not isinstance(settled, Unserved):
                await self._store.note(audit)
            return settled
        self._outbox.put(hosted, entry, audit)
        return reply if await hosted.durable(entry.account.seq) else UNCONFIRMED

    async def _settled(self, hosted: Hosted, seq: int, reply: Reply) -> Reply:
        """A reply that only read: given when what it saw is durable and this host still may speak for the account."""
        if not await hosted.durable(seq):
            return Unserved("outcome_unknown", "what was read could not be made durable")
        if self._monotonic() - hosted.confirmed_at < self._limits.read_lease_ms / 1000:
            return reply
        asked_at = self._monotonic()
        epochs = await self._store.epochs([hosted.account_id])
        if epochs.get(hosted.account_id) != hosted.book.epoch:
            self._poison(hosted, "another activation has the account", cause="fenced")
            return Unserved("not_hosted", "the account lives elsewhere now")
        hosted.confirmed_at = asked_at
        return reply

    async def mark(self, pass_id: str, quotes: dict[str, Quote]) -> Tally:
        """Mark every account that trades on one price vector, each on its own (G8)."""
        tally = await self._marking.mark(pass_id, quotes)
        return msgspec.structs.replace(tally, breaks=self._still_broken())
