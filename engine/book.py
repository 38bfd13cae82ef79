"""AccountBook: one account's live state with its hash chain and its receipts, applied to serially (G3).

Owns the order of things: receipt first, then decide, then evolve, then the chain. Every method is synchronous;
durability is somebody else's, so nothing here may be told to the outside before it is committed.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Self

import msgspec

from engine import canonical, corrections
from engine.account import Account
from engine.changes import Changes, PlacedEvent, answered, changes
from engine.commands import Action, Command, Correction, CreateAccount, TakeAction, differing
from engine.decide import Context, Decision, decide
from engine.events import AccountCreated, AccountRecomputed, Event, RecordedEvent
from engine.evolve import begin, evolve
from engine.invariants import InvariantBroken, check, invariant
from engine.receipts import ActionKey, Receipt, Receipts
from engine.rejections import Refusal
from engine.views import ActionResult


class ActionBatch(msgspec.Struct, frozen=True, gc=False):
    """The actions of one request, applied in order, each judged alone."""

    decision_run_id: str
    actions: tuple[Action, ...]

    @property
    def keys(self) -> list[ActionKey]:
        return [(self.decision_run_id, action.decision_action_id) for action in self.actions]


class Conflict(msgspec.Struct, frozen=True, gc=False, rename="camel"):
    """A key of the batch was answered before with other content in `fields`."""

    decision_action_id: str
    fields: tuple[str, ...]


class Entry(msgspec.Struct, frozen=True, gc=False):
    """What one command or batch added to the book: nothing where `recorded` is empty."""

    account: Account
    recorded: tuple[RecordedEvent, ...]
    changes: Changes
    decision: Decision | None = None
    results: tuple[ActionResult, ...] = ()


class BookState(msgspec.Struct, frozen=True, gc=False):
    """A book at one seq, for a snapshot. A cache: the ledger rebuilds it."""

    account: Account
    head: bytes
    seen: frozenset[int]


class AccountBook:
    """One account. `epoch` is stamped on what it records; `head` is the hash of its last event."""

    __slots__ = ("account", "epoch", "head", "receipts")

    def __init__(self, account: Account, *, epoch: int, head: bytes, receipts: Receipts) -> None:
        self.account = account
        self.epoch = epoch
        self.head = head
        self.receipts = receipts

    @classmethod
    def open(
        cls, opening: CreateAccount, *, account_id: str, now: datetime, request_id: str
    ) -> tuple[Self, RecordedEvent]:
        """A new account in epoch 0 and its first event."""
        event = AccountCreated(opening=opening)
        book = cls(begin(event, account_id=account_id, at=now), epoch=0, head=canonical.GENESIS, receipts=Receipts())
        return book, book._record(1, now, event, request_id)

    @classmethod
    def restored(cls, state: BookState, *, epoch: int, receipts_in_memory_max: int) -> Self:
        """The book of a snapshot; raises `InvariantBroken`, since nobody here has seen it made."""
        check(state.account)
        receipts = Receipts(state.seen, recent_max=receipts_in_memory_max)
        return cls(state.account, epoch=epoch, head=state.head, receipts=receipts)

    @property
    def state(self) -> BookState:
        return BookState(self.account, self.head, self.receipts.seen)

    def take(
        self,
        batch: ActionBatch,
        context: Context,
        *,
        request_id: str,
        recalled: Mapping[ActionKey, Receipt] | None = None,
    ) -> Entry | tuple[Conflict, ...]:
        """Judge a batch: a known key repeats its receipt, a new one is decided; any conflict and nothing runs.

        `recalled` holds the older receipts that were fetched for `receipts.elsewhere(batch.keys)`.
        """
        known: dict[ActionKey, Receipt] = {}
        for key in batch.keys:
            receipt = self.receipts.get(key) or (recalled or {}).get(key)
            if receipt is not None:
                known[key] = receipt
        conflicts = self._conflicts(batch, known)
        if conflicts:
            return conflicts
        before = self.account.seq
        recorded: list[RecordedEvent] = []
        rows: list[Changes] = []
        results: list[ActionResult] = []
        for key, action in zip(batch.keys, batch.actions, strict=True):
            if key in known:
                results.append(msgspec.structs.replace(known[key].result, replayed=True))
                continue
            decision = decide(self.account, TakeAction(batch.decision_run_id, action), context)
            made, events = self._apply(decision, request_id)
            rows.append(changes(self.account, events))
            receipt = rows[-1].receipts[0]
            self.receipts.add(receipt)
            known[key] = receipt
            recorded += made
            results.append(receipt.result)
        invariant(self.account.seq == before + len(recorded), f"seq of {self.account.id} left its events behind")
        return Entry(self.account, tuple(recorded), Changes.together(rows), None, tuple(results))

    def submit(self, command: Command, context: Context, *, request_id: str) -> Entry | Refusal:
        """Decide one command that has no key: a change of state or a mark."""
        decision = decide(self.account, command, context)
        if decision.refusal is not None:
            return decision.refusal
        return self._entered(decision, request_id)

    def correct(
        self,
        command: Correction,
        ledger: Iterable[tuple[RecordedEvent, Event]],
        now: datetime,
        *,
        request_id: str,
    ) -> Entry | Refusal:
        """Take a fill out. `ledger` is the whole one; raises `InvariantBroken` where it does not lead to this book."""
        head, placed = canonical.GENESIS, list[PlacedEvent]()
        for recorded, event in ledger:
            head = verified(head, recorded)
            placed.append(PlacedEvent(recorded.seq, recorded.occurred_at, event))
        invariant(head == self.head, f"ledger of {self.account.id} does not lead to the account at {self.account.seq}")
        decision = corrections.void(self.account, command, placed, now)
        if decision.refusal is not None:
            return decision.refusal
        return self._entered(decision, request_id)

    def recomputed(self, reason: str, drift: tuple[str, ...], now: datetime, *, request_id: str) -> Entry:
        """Note that the ledger was replayed and compared, and what had drifted from it."""
        event = AccountRecomputed(reason=reason, drift=drift)
        account = evolve(self.account, event, max(now, self.account.last_at))
        return self._entered(Decision((event,), account), request_id)

    def fork(self) -> "AccountBook":
        """A copy whose changes stay its own: a dry run is the real thing on a fork, thrown away."""
        return AccountBook(self.account, epoch=self.epoch, head=self.head, receipts=self.receipts.fork())

    def replay(self, events: Iterable[tuple[RecordedEvent, Event]]) -> list[PlacedEvent]:
        """Apply recorded events that follow this book; raises `InvariantBroken` on a gap or a wrong hash. They are
        durable, so of what they answered only the keys are kept."""
        placed = []
        for recorded, event in events:
            account_id, seq = self.account.id, self.account.seq + 1
            if recorded.account_id != account_id:
                raise InvariantBroken(f"an event of {recorded.account_id} in {account_id}")
            if recorded.seq != seq:
                raise InvariantBroken(f"ledger of {account_id}: seq {seq} is missing, {recorded.seq} found")
            self.account = evolve(self.account, event, recorded.occurred_at)
            self.head = verified(self.head, recorded)
            placed.append(PlacedEvent(seq, recorded.occurred_at, event))
        for key in answered(placed):
            self.receipts.keep(key)
        return placed

    def _conflicts(self, batch: ActionBatch, known: Mapping[ActionKey, Receipt]) -> tuple[Conflict, ...]:
        return tuple(
            Conflict(action.decision_action_id, differing(known[key].action, action))
            for key, action in zip(batch.keys, batch.actions, strict=True)
            if key in known and known[key].action != action
        )

    def _entered(self, decision: Decision, request_id: str) -> Entry:
        recorded, placed = self._apply(decision, request_id)
        return Entry(self.account, tuple(recorded), changes(self.account, placed), decision)

    def _apply(self, decision: Decision, request_id: str) -> tuple[list[RecordedEvent], list[PlacedEvent]]:
        seq, at = self.account.seq, decision.account.last_at
        placed = [PlacedEvent(seq + place, at, event) for place, event in enumerate(decision.events, 1)]
        recorded = [self._record(each.seq, at, each.event, request_id) for each in placed]
        self.account = decision.account
        return recorded, placed

    def _record(self, seq: int, at: datetime, event: Event, request_id: str) -> RecordedEvent:
        payload = canonical.canonical(event)
        self.head = canonical.chained(
            self.head,
            account_id=self.account.id,
            seq=seq,
            type_=event.TYPE,
            version=event.VERSION,
            occurred_at=at,
            payload=payload,
        )
        return RecordedEvent(
            self.account.id, seq, event.TYPE, event.VERSION, at, self.epoch, request_id, payload, self.head
        )


def verified(previous: bytes, recorded: RecordedEvent) -> bytes:
    """The event's hash, if it is the one its content and the hash before it make; raises `InvariantBroken`."""
    expected = canonical.chained(
        previous,
        account_id=recorded.account_id,
        seq=recorded.seq,
        type_=recorded.type,
        version=recorded.version,
        occurred_at=recorded.occurred_at,
        payload=recorded.payload,
    )
    if expected != recorded.hash:
        raise InvariantBroken(f"ledger of {recorded.account_id}: the hash of seq {recorded.seq} is wrong")
    return expected


def replayed(
    events: Iterable[tuple[RecordedEvent, Event]], *, epoch: int = 0, receipts_in_memory_max: int
) -> tuple[AccountBook, list[PlacedEvent]]:
    """A book from its whole ledger, and every event in its place; raises `InvariantBroken`."""
    following = iter(events)
    recorded, first = next(following)
    invariant(recorded.seq == 1, f"ledger of {recorded.account_id}: seq 1 is missing, {recorded.seq} found")
    if not isinstance(first, AccountCreated):
        raise InvariantBroken(f"ledger of {recorded.account_id} does not begin with its creation")
    account = begin(first, account_id=recorded.account_id, at=recorded.occurred_at)
    receipts = Receipts(recent_max=receipts_in_memory_max)
    book = AccountBook(account, epoch=epoch, head=verified(canonical.GENESIS, recorded), receipts=receipts)
    placed = [PlacedEvent(1, recorded.occurred_at, first), *book.replay(following)]
    return book, placed
