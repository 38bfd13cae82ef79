"""AccountHost: the place where accounts live and are applied to, one after another (G3).

Owns live books and the road from a decision to its acknowledgement. Receipt lookup, decide, evolve and the way
into the `Outbox` are one synchronous step with no await in it; then only durability is awaited. What goes wrong
with an account poisons that account alone (G8): its state is thrown away and rebuilt from the ledger under a new
epoch, never undone in place.
Plain asyncio: `account_actor` wraps it for Ray, `local_client` uses it as it is.
"""

import asyncio
import contextlib
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
from actors.outbox import Outbox
from actors.ports import Activation, Appender, Break, Lost, Pulse, Tally
from engine.book import Entry
from engine.decide import Context
from engine.quotes import Quote
from engine.receipts import ActionKey, Receipt
from engine.rejections import Refusal
from engine.views import balance_view
from persistence.committer import AppendVerdict
from persistence.recovery import recover
from persistence.store import AuditEntry, Store, StoreUnavailable

log = structlog.get_logger(__name__)


def utc_now() -> datetime:
    return datetime.now(UTC)


class AccountHost:
    """Hosts accounts. `store` recovers and confirms, `appender` makes durable; both may be shared."""

    def __init__(
        self,
        name: str,
        store: Store,
        appender: Appender,
        limits: HostLimits,
        *,
        node: str = "",
        now: Callable[[], datetime] = utc_now,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.name = name
        self._node = node
        self._store = store
        self._limits = limits
        self._now = now
        self._monotonic = monotonic
        self._hosted: dict[str, Hosted] = {}
        self._quotes: dict[str, Quote] = {}
        self._quotes_version = 0
        self._breaks: dict[str, Break] = {}
        self._restored_in: dict[str, int] = {}  # epochs
        self._outbox = Outbox(name, store, appender, limits, self._unconfirmed, monotonic=monotonic)
        self._corrections = Corrections(
            name,
            store,
            self._outbox,
            settled=self._settled,
            recorded=self._recorded,
            poison=self._poison,
            restored=self._restored,
            receipts_in_memory_max=limits.receipts_in_memory_max,
            now=now,
            monotonic=monotonic,
        )
        self._marking = Marking(self._hosted, self._outbox, limits, poison=self._poison, now=now)
        self._activating = asyncio.Lock()
        self._closing = False
        self._closed = False

    # -- life of a host -------------------------------------------------------------------------------------

    async def activate(self, account_ids: Sequence[str]) -> Activation:
        """Host accounts under a new epoch each, which fences whoever hosted them before (G4). Raises `Lost` where the
        host is about to end, which is no place to live."""
        async with self._activating:
            self._refuse_when(self._closing)
            self._outbox.start()
            wanted = [each for each in account_ids if each not in self._hosted]
            claimed_at = self._monotonic()
            heads = await self._store.claim(wanted)
            absent = [each for each in wanted if each not in heads]
            locked = await self._store.epochs(absent) if absent else {}
            recovered = await recover(self._store, heads, receipts_in_memory_max=self._limits.receipts_in_memory_max)
            self._refuse_when(self._closing)
            for account_id, book in recovered.books.items():
                self._hosted[account_id] = Hosted(book, confirmed_at=claimed_at)
        return Activation(
            hosted=tuple(each for each in account_ids if each in self._hosted),
            unknown=tuple(each for each in absent if each not in locked),
            broken={
                each: Break(heads[each].epoch, failure.seq, failure.reason)
                for each, failure in recovered.failures.items()
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
        gone = [hosted for hosted in leaving if hosted.is_quiet and not hosted.poisoned]
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
        return Pulse(len(self._hosted), idle, self._node, self._still_broken(), self._restored_in)

    async def roster(self) -> tuple[str, ...]:
        """Ids of every account hosted. Raises `Lost` once closed."""
        self._refuse_when(self._closed)
        return tuple(self._hosted)

    async def close(self) -> None:
        """Take no more, finish what was taken, wait until all that was decided is durable, snapshot, stop."""
        self._closing = True
        self._marking.stop()
        await asyncio.gather(*(hosted.finished() for hosted in self._hosted.values()))
        await self._outbox.save([hosted.snapshot() for hosted in self._hosted.values() if hosted.has_news])
        self._hosted.clear()
        self._closed = True
        await self._outbox.close()

    def _refuse_when(self, ending: bool) -> None:
        if ending:
            raise Lost(f"{self.name} is closing")

    async def see(self, version: int, quotes: dict[str, Quote]) -> int:
        """Decide at this price vector from now on; calls may overtake each other, an older version is dropped."""
        if version > self._quotes_version:
            self._quotes_version, self._quotes = version, quotes
        return self._quotes_version

    # -- requests -------------------------------------------------------------------------------------------

    async def handle(self, requests: tuple[Request, ...]) -> tuple[Reply, ...]:
        """Apply in order; each reply comes when its events are durable."""
        if len(requests) == 1:
            return (await self._answer(requests[0]),)  # most often: a task less
        return tuple(await asyncio.gather(*(self._answer(request) for request in requests)))

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
                self._poison(hosted, f"{type(broken).__name__}: {broken}", counts=True)
                return Unserved("outcome_unknown", "the account is being rebuilt from its ledger")

    async def _take(self, hosted: Hosted, request: Take) -> Reply:
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
        taken = Taken(outcome.account.seq, outcome.results, balance_view(outcome.account))
        if request.dry_run:
            return await self._settled(hosted, before, Taken(before, taken.results, taken.balance))
        return await self._recorded(hosted, outcome, taken)

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
            self._poison(hosted, "another activation has the account", counts=False)
            return Unserved("not_hosted", "the account lives elsewhere now")
        hosted.confirmed_at = asked_at
        return reply

    async def mark(self, pass_id: str, quotes: dict[str, Quote]) -> Tally:
        """Mark every account that trades on one price vector, each on its own (G8)."""
        tally = await self._marking.mark(pass_id, quotes)
        return msgspec.structs.replace(tally, breaks=self._still_broken())

    # -- what goes wrong ------------------------------------------------------------------------------------

    def _still_broken(self) -> dict[str, Break]:
        """Breaks, but for those of accounts that have gone on here since."""
        for account_id, broke in list(self._breaks.items()):
            hosted = self._hosted.get(account_id)
            if hosted is not None and hosted.durable_seq > broke.seq:
                del self._breaks[account_id]
        return self._breaks.copy()

    async def _restored(self, account_id: str, epoch: int) -> None:
        self._breaks.pop(account_id, None)
        self._restored_in[account_id] = epoch
        with contextlib.suppress(Lost, StoreUnavailable):  # then it lives where it is asked for next
            await self.activate([account_id])

    def _unconfirmed(self, hosted: Hosted, verdict: AppendVerdict) -> None:
        self._poison(hosted, f"append {verdict}", counts=verdict == "refused")

    def _poison(self, hosted: Hosted, why: str, *, counts: bool) -> None:
        """Throw an account's state away. `counts`: the account itself is at fault, which the supervisor is to know."""
        if hosted.poisoned:
            return
        log.error("account_poisoned", host=self.name, account_id=hosted.account_id, epoch=hosted.book.epoch, why=why)
        if counts:
            self._breaks[hosted.account_id] = Break(hosted.book.epoch, hosted.durable_seq, why)
        if self._hosted.get(hosted.account_id) is hosted:
            del self._hosted[hosted.account_id]
        self._outbox.forget(hosted)
        hosted.poison()
