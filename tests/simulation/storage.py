"""Storage that fails as Postgres does: away, slow, refusing, cut off in the middle, and silent about a COMMIT."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from random import Random
from typing import TypeVar

from engine.commands import CreateAccount
from engine.events import RecordedEvent
from engine.receipts import ActionKey, Receipt
from persistence.drift import Stored
from persistence.memory_store import MemoryStore
from persistence.store import (
    Append,
    AuditEntry,
    CommitAmbiguous,
    CommitVerdict,
    Created,
    DataRefused,
    Head,
    Mend,
    Store,
    StoredSnapshot,
    StoreUnavailable,
    Verdict,
)
from tests.simulation.virtual import Process

Answer = TypeVar("Answer")

USUAL_S = 0.002
SLOW_S = 0.4
IN_DOUBT_S = 2.5
"""How long a cut-off backend may hold its locks before somebody ends it."""
LOCK_TIMEOUT_S = 1.0
SETTLE_S = 12.0


class FaultyStore(Store):
    """A `MemoryStore` behind a bad line. The attributes are the weather; fault injectors change them.

    A commit whose backend is cut off keeps its row locks and ends later, either way; a stranger may keep one, too.
    `commit`, `claim` and `settle`, which take those locks, wait for a while and go on without; plain reads do not wait,
    and see what was there before.
    """

    def __init__(self, inner: MemoryStore, chance: Random) -> None:
        self.inner = inner
        self.is_away = False
        self.is_slow = False
        self.lost_answers = 0.0
        self.refuse_next: set[str] = set()
        self.refuse_all: set[str] = set()
        self.in_doubt = 0
        self.refused_at: set[tuple[str, int]] = set()
        self._chance = chance
        self._locks: dict[str, asyncio.Future[None]] = {}
        self._backends: set[asyncio.Task[None]] = set()

    async def create(self, opening: CreateAccount, first: Append) -> Created:
        return await self._written(lambda: self.inner.create(opening, first))

    async def commit(self, appends: Sequence[Append]) -> Mapping[str, CommitVerdict]:
        await self._reached()
        locked = await self._still_locked([append.account_id for append in appends])
        appends = [append for append in appends if append.account_id not in locked]
        if any(self._refuses(append) for append in appends):
            if len(appends) == 1:
                self.refused_at.add((appends[0].account_id, appends[0].expected_seq))
            raise DataRefused("a row was refused")
        if appends and self._loses():
            self._cut_off(appends)
            raise CommitAmbiguous("COMMIT was sent, then the line went dead")
        verdicts = await self.inner.commit(appends)
        await self._pause()
        if self.is_away:
            raise CommitAmbiguous("COMMIT was sent, then Postgres went away")
        return {**verdicts, **dict.fromkeys(locked, "locked")}

    async def settle(self, account_ids: Sequence[str]) -> Mapping[str, Head]:
        await self._reached()
        return await self._answered(self.inner.settle(await self._free(account_ids, SETTLE_S)))

    async def claim(self, account_ids: Sequence[str]) -> Mapping[str, Head]:
        await self._reached()
        free = await self._free(account_ids, LOCK_TIMEOUT_S)
        if account_ids and not free:
            raise StoreUnavailable("lock timeout")
        return await self._answered(self.inner.claim(free))

    async def epochs(self, account_ids: Sequence[str]) -> Mapping[str, int]:
        return await self._read(lambda: self.inner.epochs(account_ids))

    async def save_snapshots(self, kept: Sequence[StoredSnapshot]) -> int:
        return await self._written(lambda: self.inner.save_snapshots(kept))

    async def snapshots(self, account_ids: Sequence[str]) -> Mapping[str, StoredSnapshot]:
        return await self._read(lambda: self.inner.snapshots(account_ids))

    async def ledger(self, after: Mapping[str, int]) -> AsyncIterator[RecordedEvent]:
        await self._reached()
        for event in [event async for event in self.inner.ledger(after)]:
            yield event

    async def receipts(self, account_id: str, keys: Sequence[ActionKey]) -> Mapping[ActionKey, Receipt]:
        return await self._read(lambda: self.inner.receipts(account_id, keys))

    async def stored(self, account_id: str) -> Stored:
        return await self._read(lambda: self.inner.stored(account_id))

    async def mend(self, mend: Mend) -> Verdict:
        await self._reached()
        if await self._still_locked([mend.append.account_id]):
            raise StoreUnavailable("lock timeout")
        return await self._answered(self.inner.mend(mend))

    async def note(self, entry: AuditEntry) -> None:
        await self._written(lambda: self.inner.note(entry))

    async def hostable(self) -> Sequence[str]:
        return await self._read(self.inner.hostable)

    # ------------------------------------------------------------ the line

    async def _pause(self) -> None:
        await asyncio.sleep(self._chance.expovariate(1 / (SLOW_S if self.is_slow else USUAL_S)))

    async def _reached(self) -> None:
        await self._pause()
        if self.is_away:
            raise StoreUnavailable("Postgres is away")

    async def _read(self, read: Callable[[], Awaitable[Answer]]) -> Answer:
        await self._reached()
        return await self._answered(read())

    async def _written(self, write: Callable[[], Awaitable[Answer]]) -> Answer:
        await self._reached()
        return await self._answered(write())

    async def _answered(self, work: Awaitable[Answer]) -> Answer:
        """The work is done; its answer may get lost."""
        answer = await work
        await self._pause()
        if self.is_away or self._loses():
            raise StoreUnavailable("the line went dead before the answer")
        return answer

    def _loses(self) -> bool:
        return self._chance.random() < self.lost_answers

    # ------------------------------------------------------------ locks, and backends in doubt

    @asynccontextmanager
    async def locked_by_a_stranger(self, account_id: str) -> AsyncIterator[None]:
        """Once whoever has the lock has let go of it."""
        while (held := self._locks.get(account_id)) is not None:
            await asyncio.wait([held])
        released = self._locks[account_id] = asyncio.get_running_loop().create_future()
        try:
            yield
        finally:
            del self._locks[account_id]
            released.set_result(None)

    async def _free(self, account_ids: Sequence[str], seconds_max: float) -> list[str]:
        locked = await self._still_locked(account_ids, seconds_max)
        return [each for each in account_ids if each not in locked]

    async def _still_locked(self, account_ids: Sequence[str], seconds_max: float = LOCK_TIMEOUT_S) -> set[str]:
        clock = asyncio.get_running_loop()
        give_up = clock.time() + seconds_max
        while waiting := [self._locks[each] for each in account_ids if each in self._locks]:
            if clock.time() >= give_up:
                break
            await asyncio.wait(waiting, timeout=give_up - clock.time())
        return {each for each in account_ids if each in self._locks}

    def _refuses(self, append: Append) -> bool:
        """Next: once a seq, which an account survives. All: until it is given up, twice at one seq being enough."""
        if append.account_id in self.refuse_all:
            return True
        if (append.account_id, append.expected_seq) in self.refused_at:
            self.refuse_next.discard(append.account_id)
        return append.account_id in self.refuse_next

    def _cut_off(self, appends: Sequence[Append]) -> None:
        released = asyncio.get_running_loop().create_future()
        self._locks |= {append.account_id: released for append in appends}
        self.in_doubt += 1
        backend = asyncio.create_task(self._end(list(appends), released))
        self._backends.add(backend)
        backend.add_done_callback(self._backends.discard)

    async def _end(self, appends: Sequence[Append], released: asyncio.Future[None]) -> None:
        await asyncio.sleep(self._chance.uniform(0, IN_DOUBT_S))
        if self._chance.random() < 0.5:
            await self.inner.commit(appends)
        for append in appends:
            del self._locks[append.account_id]
        self.in_doubt -= 1
        released.set_result(None)


class StoreSeenBy(Store):
    """The store as one process sees it: a dead process asks nothing, and hears no answer."""

    def __init__(self, process: Process, store: Store) -> None:
        self._process = process
        self._store = store

    async def create(self, opening: CreateAccount, first: Append) -> Created:
        return await self._process.out(lambda: self._store.create(opening, first))

    async def commit(self, appends: Sequence[Append]) -> Mapping[str, CommitVerdict]:
        return await self._process.out(lambda: self._store.commit(appends))

    async def settle(self, account_ids: Sequence[str]) -> Mapping[str, Head]:
        return await self._process.out(lambda: self._store.settle(account_ids))

    async def claim(self, account_ids: Sequence[str]) -> Mapping[str, Head]:
        return await self._process.out(lambda: self._store.claim(account_ids))

    async def epochs(self, account_ids: Sequence[str]) -> Mapping[str, int]:
        return await self._process.out(lambda: self._store.epochs(account_ids))

    async def save_snapshots(self, kept: Sequence[StoredSnapshot]) -> int:
        return await self._process.out(lambda: self._store.save_snapshots(kept))

    async def snapshots(self, account_ids: Sequence[str]) -> Mapping[str, StoredSnapshot]:
        return await self._process.out(lambda: self._store.snapshots(account_ids))

    async def ledger(self, after: Mapping[str, int]) -> AsyncIterator[RecordedEvent]:
        await self._process.breath()
        async for event in self._store.ledger(after):
            yield event
        await self._process.breath()

    async def receipts(self, account_id: str, keys: Sequence[ActionKey]) -> Mapping[ActionKey, Receipt]:
        return await self._process.out(lambda: self._store.receipts(account_id, keys))

    async def stored(self, account_id: str) -> Stored:
        return await self._process.out(lambda: self._store.stored(account_id))

    async def mend(self, mend: Mend) -> Verdict:
        return await self._process.out(lambda: self._store.mend(mend))

    async def note(self, entry: AuditEntry) -> None:
        await self._process.out(lambda: self._store.note(entry))

    async def hostable(self) -> Sequence[str]:
        return await self._process.out(self._store.hostable)
