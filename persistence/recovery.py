"""Recovery: accounts rebuilt from storage, many in one sweep; the newest snapshot and the ledger after it.

Guarantee: a book that is handed out is the one its ledger makes, up to the head that storage names: contiguous, each
hash following from the one before, the last seq and hash equal to the head row's. An account whose ledger does not
hold that fails closed and alone (G8), named with the seq that is wrong. A snapshot is only a cache: one that does
not lead to the head, or stands for an event that is not there, is set aside and the account is replayed from its first
event. What lies before a snapshot that holds is not read; `persistence.reconcile` does.
"""

from collections.abc import AsyncIterator, Iterable, Iterator, Mapping

import msgspec

from engine.book import AccountBook, replayed
from engine.events import Event, RecordedEvent
from engine.invariants import invariant
from engine.receipts import RECENT_MAX
from persistence import codec
from persistence.store import Head, Store, StoredSnapshot, StoreUnavailable


class BrokenLedger(msgspec.Struct, frozen=True):
    """Why an account cannot be rebuilt: the seq of its first ledger row that is missing, altered or surplus.

    Of rows that Postgres gives but Python cannot hold (a time without end), the first seq that could not be reached.
    """

    account_id: str
    seq: int
    reason: str

    def __str__(self) -> str:
        return f"the ledger of account {self.account_id} is broken at seq {self.seq}: {self.reason}"


class LedgerBroken(Exception):
    """A single account was asked for, and its ledger does not hold. `broken` says where."""

    def __init__(self, broken: BrokenLedger) -> None:
        super().__init__(str(broken))
        self.broken = broken


class Recovered(msgspec.Struct, frozen=True):
    """Every account asked for is in one of the two, unless another activation claimed it meanwhile."""

    books: dict[str, AccountBook]
    failures: dict[str, BrokenLedger]


async def recover(store: Store, heads: Mapping[str, Head], *, receipts_in_memory_max: int = RECENT_MAX) -> Recovered:
    """Rebuild the accounts of `heads`, claimed so that no older activation writes; raises `StoreUnavailable`.

    One ledger stream serves them all, and a second one those whose snapshot misled. Books carry the heads' epochs.
    """
    kept = await store.snapshots(list(heads))
    # One from beyond the head is from a future that this ledger does not have: a restored backup.
    snapshots = {each.account_id: each for each in kept.values() if each.seq <= heads[each.account_id].last_seq}
    recovered = Recovered({}, {})
    async for rebuilt in _swept(store, heads, snapshots, receipts_in_memory_max):
        _place(rebuilt, recovered)
    misled = {account_id: heads[account_id] for account_id in recovered.failures if account_id in snapshots}
    for account_id in misled:
        del recovered.failures[account_id]
    async for rebuilt in _swept(store, misled, {}, receipts_in_memory_max):
        _place(rebuilt, recovered)
    for account_id in await _overtaken(store, heads, recovered.failures):
        del recovered.failures[account_id]
    return recovered


async def _overtaken(store: Store, heads: Mapping[str, Head], failures: Mapping[str, BrokenLedger]) -> list[str]:
    """Of what looks broken, the accounts that another activation has claimed since: it may have written on beyond the
    head that was claimed here, which says nothing against the ledger."""
    epochs = await store.epochs(list(failures)) if failures else {}
    return [account_id for account_id in failures if epochs.get(account_id) != heads[account_id].epoch]


async def load(store: Store, account_id: str, *, receipts_in_memory_max: int = RECENT_MAX) -> AccountBook | None:
    """An account nobody hosts, as its ledger stands, without claiming it; None where there is no such account.

    For reading only: by the time it is returned another writer may have gone on. That the ledger reaches its head is
    not checked, since that would take the row lock of `Store.settle`; that nothing is shown which it does not hold, is.
    Raises `LedgerBroken` or `StoreUnavailable`.
    """
    epoch = (await store.epochs([account_id])).get(account_id)
    if epoch is None:
        return None
    start = (await store.snapshots([account_id])).get(account_id)

    async def rebuilt(snapshot: StoredSnapshot | None) -> AccountBook | BrokenLedger:
        after = snapshot.seq - 1 if snapshot else 0
        tail, fault = await _read_alone(store, account_id, after)
        if fault is not None:
            return BrokenLedger(account_id, after + len(tail) + 1, fault)
        return _rebuilt(account_id, snapshot, after, tail, epoch=epoch, receipts_in_memory_max=receipts_in_memory_max)

    book = await rebuilt(start)
    if isinstance(book, BrokenLedger) and start is not None:
        book = await rebuilt(None)
    if isinstance(book, BrokenLedger):
        raise LedgerBroken(book)
    return book


def _place(rebuilt: AccountBook | BrokenLedger, recovered: Recovered) -> None:
    if isinstance(rebuilt, AccountBook):
        recovered.books[rebuilt.account.id] = rebuilt
    else:
        recovered.failures[rebuilt.account_id] = rebuilt


async def _swept(
    store: Store, heads: Mapping[str, Head], snapshots: Mapping[str, StoredSnapshot], receipts_in_memory_max: int
) -> AsyncIterator[AccountBook | BrokenLedger]:
    """Every account of `heads` rebuilt from its snapshot, or from event 1, on one ledger stream."""
    if not heads:
        return
    waiting = dict(heads)
    after = {account_id: _after(head, snapshots.get(account_id)) for account_id, head in heads.items()}

    def rebuilt(account_id: str, tail: list[RecordedEvent]) -> AccountBook | BrokenLedger:
        head = waiting.pop(account_id)
        book = _rebuilt(
            account_id,
            snapshots.get(account_id),
            after[account_id],
            tail,
            epoch=head.epoch,
            receipts_in_memory_max=receipts_in_memory_max,
        )
        return book if isinstance(book, BrokenLedger) else _at_head(book, head)

    try:
        async for account_id, tail in by_account(store.ledger(after)):
            yield rebuilt(account_id, tail)
    except StoreUnavailable:
        raise
    except Exception:  # a row that cannot even be read has ended the stream for all that came after it
        for account_id in list(waiting):
            tail, fault = await _read_alone(store, account_id, after[account_id])
            if fault is None:
                yield rebuilt(account_id, tail)
            else:
                del waiting[account_id]
                yield BrokenLedger(account_id, after[account_id] + len(tail) + 1, fault)
    for account_id in list(waiting):
        yield rebuilt(account_id, [])


def _after(head: Head, snapshot: StoredSnapshot | None) -> int:
    """The seq after which events are read: that of the snapshot, or the one before it where no later event would show
    that the snapshot is of this ledger."""
    if snapshot is None:
        return 0
    return snapshot.seq - 1 if snapshot.seq == head.last_seq else snapshot.seq


async def _read_alone(store: Store, account_id: str, after: int) -> tuple[list[RecordedEvent], str | None]:
    """What can be read of one account's ledger, and why no more."""
    tail: list[RecordedEvent] = []
    try:
        async for recorded in store.ledger({account_id: after}):
            tail.append(recorded)
    except StoreUnavailable:
        raise
    except Exception as error:  # named in the account's failure
        return tail, str(error) or type(error).__name__
    return tail, None


async def by_account(ledger: AsyncIterator[RecordedEvent]) -> AsyncIterator[tuple[str, list[RecordedEvent]]]:
    """A ledger stream in account order, cut into accounts; holds one account's events at a time."""
    account_id, tail = "", list[RecordedEvent]()
    async for recorded in ledger:
        if recorded.account_id != account_id and tail:
            yield account_id, tail
            tail = []
        account_id = recorded.account_id
        tail.append(recorded)
    if tail:
        yield account_id, tail


class Decoding:
    """Decodes the rows of one account, and remembers which seq it was at when the replay broke."""

    def __init__(self, after: int, tail: Iterable[RecordedEvent]) -> None:
        self.seq = after + 1
        self._after = after
        self._tail = tail

    def __iter__(self) -> Iterator[tuple[RecordedEvent, Event]]:
        for place, recorded in enumerate(self._tail, self._after + 1):
            self.seq = (
                place if place < recorded.seq else recorded.seq
            )  # the missing one, or the one that is there twice
            yield recorded, codec.decode(recorded.type, recorded.version, recorded.payload)


def _rebuilt(
    account_id: str,
    snapshot: StoredSnapshot | None,
    after: int,
    tail: list[RecordedEvent],
    *,
    epoch: int,
    receipts_in_memory_max: int,
) -> AccountBook | BrokenLedger:
    """The book that the tail makes of the snapshot, or of nothing; all of it is durable. A tail from before the
    snapshot, `after` being less than its seq, has to begin with the event that the snapshot was taken at."""
    if snapshot is None and not tail:
        return BrokenLedger(account_id, 1, "the ledger is empty")
    if snapshot is not None and after < snapshot.seq:
        if not tail or (tail[0].seq, tail[0].hash) != (snapshot.seq, snapshot.state.head):
            return BrokenLedger(account_id, snapshot.seq, "the snapshot was taken at an event that is not there")
        tail = tail[1:]
    decoding = Decoding(snapshot.seq if snapshot is not None else 0, tail)
    try:
        if snapshot is not None:
            kept = snapshot.state.account
            invariant(kept.id == account_id and kept.seq == snapshot.seq, "the snapshot is of something else")
            book = AccountBook.restored(snapshot.state, epoch=epoch, receipts_in_memory_max=receipts_in_memory_max)
            book.replay(decoding)
        else:
            book, _ = replayed(decoding, epoch=epoch, receipts_in_memory_max=receipts_in_memory_max)
    except Exception as error:  # whatever a row does to the replay, it says that the row is not what was recorded
        return BrokenLedger(account_id, decoding.seq, str(error) or type(error).__name__)
    return book


def _at_head(book: AccountBook, head: Head) -> AccountBook | BrokenLedger:
    seq = book.account.seq
    if seq < head.last_seq:
        return BrokenLedger(head.account_id, seq + 1, f"the ledger ends at seq {seq}, its head is {head.last_seq}")
    if seq > head.last_seq:
        reason = f"the ledger goes on to seq {seq}, its head is {head.last_seq}"
        return BrokenLedger(head.account_id, head.last_seq + 1, reason)
    if book.head != head.head_hash:
        return BrokenLedger(head.account_id, seq, "the head row names another hash than the last event has")
    return book
