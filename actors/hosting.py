"""AccountHost: the place where accounts live and are applied to, one after another (G3).

Owns live books and the road from a decision to its durable acknowledgement. Receipt lookup, decide, evolve and
enqueue are one synchronous step with no await in it; then only durability is awaited. One append is in flight
at a time and the rest coalesce, so commit order is decision order. What goes wrong with an account poisons that
account alone (G8): its state is thrown away and rebuilt from the ledger under a new epoch, never undone in place.
Plain asyncio: `account_actor` wraps it for Ray, `local_client` uses it as it is.
"""

import asyncio
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from datetime import UTC, datetime
from typing import Final

import structlog

from actors import correcting
from actors.hosted import Hosted, payload_bytes
from actors.limits import HostLimits
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
from actors.ports import Activation, Appender, Pulse, Tally
from engine.account import MARKED, TERMINAL
from engine.book import Entry
from engine.commands import MarkToMarket
from engine.decide import Context
from engine.quotes import Quote
from engine.rejections import Refusal
from engine.views import ActionKey, Receipt, balance_view
from persistence.committer import AppendVerdict, Overloaded
from persistence.recovery import recover
from persistence.store import Append, AuditEntry, Store, StoredSnapshot, StoreUnavailable

log = structlog.get_logger(__name__)

OVERLOAD_PAUSE_S = 0.02
QUARANTINE_AFTER = 2
"""An account that breaks this often at one seq is not rebuilt again."""
REBUILDING: Final = Unserved("not_hosted", "the account is being rebuilt")
UNCONFIRMED: Final = Unserved("outcome_unknown", "the commit could not be confirmed; send the same ids again")


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
        now: Callable[[], datetime] = utc_now,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.name = name
        self._store = store
        self._appender = appender
        self._limits = limits
        self._now = now
        self._monotonic = monotonic
        self._hosted: dict[str, Hosted] = {}
        self._quotes: dict[str, Quote] = {}
        self._quotes_version = 0
        self._breaks: dict[str, tuple[int, int]] = {}
        self._pending: dict[Hosted, None] = {}  # with undurable events, the longest waiting first
        self._dirty = asyncio.Event()
        self._flusher: asyncio.Task[None] | None = None
        self._background: set[asyncio.Task[None]] = set()
        self._activating = asyncio.Lock()
        self._closing = False

    # -- life of a host -------------------------------------------------------------------------------------

    async def activate(self, account_ids: Sequence[str]) -> Activation:
        """Host accounts under a new epoch each, which fences whoever hosted them before (G4)."""
        async with self._activating:
            self._flusher = self._flusher or asyncio.create_task(self._flush_forever())
            wanted = [each for each in account_ids if each not in self._hosted and not self._is_quarantined(each)]
            claimed_at = self._monotonic()
            heads = await self._store.claim(wanted)
            recovered = await recover(self._store, heads, receipts_in_memory_max=self._limits.receipts_in_memory_max)
            for account_id, book in recovered.books.items():
                self._hosted[account_id] = Hosted(book, confirmed_at=claimed_at)
            broken = {}
            for account_id, failure in recovered.failures.items():
                self._broke(account_id, failure.seq, str(failure))
                broken[account_id] = str(failure)
        broken |= {each: "quarantined" for each in account_ids if self._is_quarantined(each)}
        return Activation(
            hosted=tuple(each for each in account_ids if each in self._hosted),
            unknown=tuple(each for each in wanted if each not in heads),
            broken=broken,
        )

    async def passivate(self, account_ids: Sequence[str]) -> None:
        """Snapshot and forget accounts with nothing in flight; the others stay."""
        leaving = [hosted for each in account_ids if (hosted := self._hosted.get(each)) is not None and hosted.is_quiet]
        for hosted in leaving:
            del self._hosted[hosted.account_id]
        await self._save([hosted.snapshot() for hosted in leaving if hosted.has_news])

    async def pulse(self) -> Pulse:
        """How much is hosted, and what of it could leave memory: accounts that neither trade nor are marked."""
        settled_before = self._monotonic() - self._limits.idle_ms / 1000
        idle = tuple(
            account_id
            for account_id, hosted in self._hosted.items()
            if hosted.book.account.status in TERMINAL | {"pending"}
            and hosted.is_quiet
            and hosted.touched_at < settled_before
        )
        return Pulse(accounts=len(self._hosted), idle=idle)

    async def roster(self) -> tuple[str, ...]:
        """Ids of every account hosted."""
        return tuple(self._hosted)

    async def close(self) -> None:
        """Take no more, wait until all that was decided is durable, snapshot, stop."""
        self._closing = True
        await asyncio.gather(*(hosted.durable(hosted.book.account.seq) for hosted in self._hosted.values()))
        await self._save([hosted.snapshot() for hosted in self._hosted.values() if hosted.has_news])
        self._hosted.clear()
        if self._flusher is not None:
            self._flusher.cancel()
            await asyncio.gather(self._flusher, *self._background, return_exceptions=True)

    async def see(self, version: int, quotes: dict[str, Quote]) -> None:
        """Decide at this price vector from now on; calls may overtake each other, an older version is dropped."""
        if version > self._quotes_version:
            self._quotes_version, self._quotes = version, quotes

    # -- requests -------------------------------------------------------------------------------------------

    async def handle(self, requests: tuple[Request, ...]) -> tuple[Reply, ...]:
        """Apply in order; each reply comes when its events are durable."""
        return tuple(await asyncio.gather(*(self._answer(request) for request in requests)))

    async def _answer(self, request: Request) -> Reply:
        hosted = self._hosted.get(request.account_id)
        if self._is_quarantined(request.account_id):
            return Unserved("quarantined", "the account cannot be rebuilt from its ledger; see the operator's log")
        if hosted is None or self._closing:
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
                        return await self._correct(hosted, request)
                    case Recompute():
                        return await self._recompute(hosted, request)
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

    async def _correct(self, hosted: Hosted, request: Correct) -> Reply:
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
                self._enqueue(hosted, outcome, correcting.audited(request, before, outcome.account))
        if isinstance(outcome, Refusal):
            return await self._settled(hosted, before.seq, Refused(outcome))
        reply = correcting.corrected(outcome, before, dry_run=request.dry_run)
        if request.dry_run:
            return await self._settled(hosted, before.seq, reply)
        if outcome.recorded:
            return reply if await hosted.durable(outcome.account.seq) else UNCONFIRMED
        return await self._recorded(hosted, outcome, reply, correcting.audited(request, before, before))

    async def _recompute(self, hosted: Hosted, request: Recompute) -> Reply:
        """Hold the live account and its tables to the ledger, while nothing of this account is decided."""
        async with hosted.closed():
            if not await hosted.durable(hosted.book.account.seq):
                return REBUILDING
            stored = await self._store.stored(hosted.account_id)
            before = hosted.book.account
            found = await correcting.examined(stored, hosted.book, self._limits.receipts_in_memory_max)
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
                self._poison(hosted, f"a recompute was not confirmed: {away}", counts=False)
                return UNCONFIRMED
            if verdict != "committed":
                self._poison(hosted, f"recompute {verdict}", counts=False)
                return REBUILDING
            hosted.book = found.book
            hosted.became_durable(found.book.account.seq, confirmed_at=asked_at)
        return correcting.recomputed(found, found.book.account.seq, repaired=bool(found.drift))

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
        self._enqueue(hosted, entry, audit)
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

    # -- marking --------------------------------------------------------------------------------------------

    async def mark(self, pass_id: str, quotes: dict[str, Quote]) -> Tally:
        """Mark every account that trades on one price vector, each on its own (G8)."""
        counts = {"marked": 0, "flat": 0, "failed": 0, "liquidated": 0}
        pending, dropped = [], []
        accounts = sorted(self._hosted.values(), key=lambda hosted: not hosted.takes_in)  # what is corrected comes last
        for place, hosted in enumerate(accounts, 1):
            if place % self._limits.marks_per_turn == 0:
                await asyncio.sleep(0)  # let requests in between: a pass must not stop trading
            await hosted.intake()
            if hosted.poisoned or hosted.book.account.status not in MARKED:
                continue
            entry = self._mark_one(hosted, pass_id, quotes)
            if entry is None:
                dropped.append(hosted.account_id)
            else:
                pending.append((hosted, entry))
        durable = await asyncio.gather(*(hosted.durable(entry.account.seq) for hosted, entry in pending))
        for (hosted, entry), is_durable in zip(pending, durable, strict=True):
            if is_durable and entry.decision is not None and entry.decision.mark is not None:
                counts[entry.decision.mark] += 1
            else:
                dropped.append(hosted.account_id)
        return Tally(hosted=len(accounts), **counts, dropped=tuple(dropped))

    def _mark_one(self, hosted: Hosted, pass_id: str, quotes: dict[str, Quote]) -> Entry | None:
        try:
            entry = hosted.book.submit(MarkToMarket(pass_id), Context(self._now(), quotes), request_id=pass_id)
        except Exception as broken:
            self._poison(hosted, f"{type(broken).__name__}: {broken}", counts=True)
            return None
        if isinstance(entry, Refusal):
            return None
        if entry.recorded:
            self._enqueue(hosted, entry)
        return entry

    # -- durability -----------------------------------------------------------------------------------------

    def _context(self) -> Context:
        return Context(self._now(), self._quotes)

    def _enqueue(self, hosted: Hosted, entry: Entry, audit: AuditEntry | None = None) -> None:
        hosted.enqueue(entry, audit)
        self._pending[hosted] = None
        self._dirty.set()

    async def _flush_forever(self) -> None:
        while True:
            await self._dirty.wait()
            detached = self._detach()
            if detached:
                await self._flush(detached)
            else:
                self._dirty.clear()

    def _detach(self) -> list[tuple[Hosted, Append]]:
        """What the next append takes along, an account at most once: more than its limits would never fit the queue."""
        detached: list[tuple[Hosted, Append]] = []
        events_left, bytes_left = self._limits.append_events_max, self._limits.append_bytes_max
        while self._pending and events_left > 0 and bytes_left > 0:
            hosted = next(iter(self._pending))
            del self._pending[hosted]
            append = hosted.detach(events_max=events_left, bytes_max=bytes_left)
            events_left -= len(append.events)
            bytes_left -= payload_bytes(append.events)
            detached.append((hosted, append))
            if hosted.has_pending:
                self._pending[hosted] = None  # behind the others; the limits are reached, so not in this append
        return detached

    async def _flush(self, detached: Sequence[tuple[Hosted, Append]]) -> None:
        """Make everything detached durable, then say so; what is not confirmed poisons its account."""
        whole = [hosted for hosted, _ in detached if not hosted.has_pending]
        every_events = self._limits.snapshot_every_events
        snapshots = [hosted.snapshot() for hosted in whole if hosted.is_snapshot_due(every_events)]
        verdicts: Sequence[AppendVerdict]
        asked_at = self._monotonic()
        try:
            verdicts = await self._append([append for _, append in detached])
        except Exception as lost:  # whatever it was, nothing is known of these, and the flusher has to live on
            log.warning("append_lost", host=self.name, accounts=len(detached), why=repr(lost))
            verdicts = ["unknown"] * len(detached)
        for (hosted, append), verdict in zip(detached, verdicts, strict=True):
            if verdict == "committed":
                hosted.became_durable(append.last_seq, confirmed_at=asked_at)
            else:
                self._poison(hosted, f"append {verdict}", counts=verdict == "refused")
        if snapshots:
            self._in_background(self._save([each for each in snapshots if each.account_id in self._hosted]))

    async def _append(self, appends: Sequence[Append]) -> Sequence[AppendVerdict]:
        while True:
            try:
                return await self._appender.append(appends)
            except Overloaded:
                await asyncio.sleep(OVERLOAD_PAUSE_S)  # nothing was enqueued; admission is closed meanwhile

    async def _save(self, snapshots: Sequence[StoredSnapshot]) -> None:
        """Keep snapshots where possible: they are a cache, and losing one costs a longer replay."""
        if not snapshots:
            return
        try:
            await self._store.save_snapshots(snapshots)
        except StoreUnavailable as away:
            log.warning("snapshots_not_saved", host=self.name, accounts=len(snapshots), why=str(away))

    def _in_background(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)

    # -- what goes wrong ------------------------------------------------------------------------------------

    def _poison(self, hosted: Hosted, why: str, *, counts: bool) -> None:
        """Throw an account's state away. `counts`: the account itself is at fault, and twice at one seq is enough."""
        if hosted.poisoned:
            return
        log.error("account_poisoned", host=self.name, account_id=hosted.account_id, epoch=hosted.book.epoch, why=why)
        if counts:
            self._broke(hosted.account_id, hosted.durable_seq, why)
        if self._hosted.get(hosted.account_id) is hosted:
            del self._hosted[hosted.account_id]
        self._pending.pop(hosted, None)
        hosted.poison()

    def _broke(self, account_id: str, seq: int, why: str) -> None:
        last_seq, times = self._breaks.get(account_id, (seq, 0))
        times = times + 1 if last_seq == seq else 1
        self._breaks[account_id] = seq, times
        if times == QUARANTINE_AFTER:
            log.error("account_quarantined", host=self.name, account_id=account_id, seq=seq, why=why)

    def _is_quarantined(self, account_id: str) -> bool:
        return self._breaks.get(account_id, (0, 0))[1] >= QUARANTINE_AFTER
