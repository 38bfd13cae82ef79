"""Hosted: one live account in a host, and how far it is durable.

Guarantee (G1): `durable(seq)` answers True only after a commit that covers `seq`, and False once the activation
is poisoned. Events wait here, in order, until the host takes them along in its next append.
"""

import asyncio
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Final
from zlib import crc32

from actors.messages import Unserved
from engine.account import TERMINAL
from engine.book import AccountBook, Entry
from engine.changes import Changes
from engine.events import RecordedEvent
from persistence.store import Append, AuditEntry, StoredSnapshot, append_of

REBUILDING: Final = Unserved("not_hosted", "the account is being rebuilt")
UNCONFIRMED: Final = Unserved("outcome_unknown", "the commit could not be confirmed; send the same ids again")


class Hosted:
    """A book with its undurable tail. Times are the host's monotonic seconds.

    There may be a hundred thousand of these in a process, most of them at rest: what only some need is made when it is
    needed, and let go.
    """

    __slots__ = (
        "_intake",
        "_pending",
        "_rest",
        "_snapshot_due_seq",
        "_snapshot_seq",
        "_waiters",
        "account_id",
        "book",
        "confirmed_at",
        "durable_seq",
        "in_hand",
        "leaving",
        "poisoned",
        "touched_at",
    )

    def __init__(self, book: AccountBook, *, confirmed_at: float) -> None:
        self.book = book
        self.account_id = book.account.id
        self.durable_seq = book.account.seq
        self.confirmed_at = confirmed_at
        self.touched_at = confirmed_at
        self.poisoned = False
        self.leaving = False
        self.in_hand = 0
        self._snapshot_seq = 0
        self._snapshot_due_seq = 0
        self._pending: list[tuple[Entry, AuditEntry | None]] = []
        self._rest: asyncio.Event | None = None
        """Somebody waits until no request is in hand."""
        self._intake: asyncio.Event | None = None
        """No decision may be made until this is set."""
        self._waiters: list[tuple[int, asyncio.Future[bool]]] = []

    @property
    def has_pending(self) -> bool:
        return bool(self._pending)

    @property
    def is_quiet(self) -> bool:
        """Nothing asked, nothing undurable."""
        return self.in_hand == 0 and self.durable_seq == self.book.account.seq

    @property
    def is_idle(self) -> bool:
        """Quiet, and neither trading nor marked."""
        return self.is_quiet and self.book.account.status in TERMINAL | {"pending"}

    @property
    def has_news(self) -> bool:
        """Durable events that no snapshot of this activation covers."""
        return self._snapshot_seq < self.durable_seq == self.book.account.seq

    def is_snapshot_due(self, every_events: int) -> bool:
        """Whether the undurable events reach the next point where one is due. Points lie `every_events` apart, and at
        other seqs for other accounts: those that are marked together, or came back together, are not saved together."""
        if not self._snapshot_due_seq:
            offset = crc32(self.account_id.encode()) + self.durable_seq
            self._snapshot_due_seq = self.durable_seq + every_events - offset % every_events
        return self.book.account.seq >= self._snapshot_due_seq

    @contextmanager
    def holding(self) -> Iterator[None]:
        """A request is being served."""
        self.in_hand += 1
        try:
            yield
        finally:
            self.in_hand -= 1
            if not self.in_hand and self._rest is not None:
                self._rest.set()
                self._rest = None

    async def finished(self) -> None:
        """Wait until every request has its answer and every decision its verdict. Ends only where no more come."""
        while self.in_hand:
            self._rest = self._rest or asyncio.Event()
            await self._rest.wait()
        await self.durable(self.book.account.seq)

    @property
    def takes_in(self) -> bool:
        """Whether a decision may be made now."""
        return self._intake is None

    async def intake(self) -> None:
        """Wait until a decision may be made: from here to the decision nothing may be awaited."""
        while self._intake is not None:  # the next correction may have closed it again meanwhile
            await self._intake.wait()

    @asynccontextmanager
    async def closed(self) -> AsyncIterator[None]:
        """Nothing else is decided meanwhile: what waits goes on afterwards, corrections one after the other."""
        await self.intake()
        opened = self._intake = asyncio.Event()
        try:
            yield
        finally:
            self._intake = None
            opened.set()

    def enqueue(self, entry: Entry, audit: AuditEntry | None = None) -> None:
        """Put a decision, and what the audit log is to say of it, behind those that wait."""
        self._pending.append((entry, audit))

    def detach(self, *, events_max: int, bytes_max: int) -> Append:
        """The oldest decisions that wait, as one append. A decision is never cut: the last one may pass the limits."""
        taken: list[Entry] = []
        audited: list[AuditEntry] = []
        events: list[RecordedEvent] = []
        size = 0
        for entry, audit in self._pending:
            if len(events) >= events_max or size >= bytes_max:
                break
            taken.append(entry)
            audited += [] if audit is None else [audit]
            events += entry.recorded
            size += payload_bytes(entry.recorded)
        del self._pending[: len(taken)]
        return append_of(
            taken[-1].account,
            epoch=self.book.epoch,
            expected_seq=events[0].seq - 1,
            events=events,
            changes=Changes.together([entry.changes for entry in taken]),
            audit=audited,
        )

    def snapshot(self) -> StoredSnapshot:
        """The book as it is, to be kept once it is durable."""
        self._snapshot_seq = self.book.account.seq
        self._snapshot_due_seq = 0
        return StoredSnapshot(self.account_id, self.book.account.seq, self.book.epoch, self.book.state)

    async def durable(self, seq: int) -> bool:
        """Wait until `seq` is committed; False when this activation cannot say so any more."""
        if self.durable_seq >= seq:
            return True
        if self.poisoned:
            return False
        waiter: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._waiters.append((seq, waiter))
        return await waiter

    def became_durable(self, seq: int, *, confirmed_at: float) -> None:
        self.durable_seq = seq
        self.confirmed_at = confirmed_at
        self.book.receipts.trim(seq)
        if not self._waiters:
            return
        served = [waiter for waited_seq, waiter in self._waiters if waited_seq <= seq]
        self._waiters = [each for each in self._waiters if each[0] > seq]
        self._release(served, True)

    def poison(self) -> None:
        """No more is durable here than already was."""
        self.poisoned = True
        stranded = [waiter for _, waiter in self._waiters]
        self._waiters = []
        self._release(stranded, False)

    def _release(self, waiters: list[asyncio.Future[bool]], is_durable: bool) -> None:
        for waiter in waiters:
            if not waiter.done():  # its request may have been given up
                waiter.set_result(is_durable)


def payload_bytes(events: Iterable[RecordedEvent]) -> int:
    """What events weigh, as far as a caller can make them heavy."""
    return sum([len(event.payload) for event in events])
