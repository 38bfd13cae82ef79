"""Group commit: many appends, one transaction, no lingering.

All that arrives while one commit runs goes into the next. Guarantees: an append is answered `committed` only after its
COMMIT was confirmed, by Postgres or by a locked read of its head (G1); appends of one account are committed in the
order they came, never two in one transaction; a bad append is refused alone, and one whose account somebody keeps
locked is alone given up (G8); past a named limit `append` raises at once and nothing of the call is queued (G11);
nobody waits longer than `unresolved_seconds_max`.

Verdicts::

    committed   durable
    fenced      another activation of the account wrote since, or claimed it
    refused     storage will never take these rows
    unknown     no verdict in time: the rows may be written yet, unless the epoch is raised; or the account is locked,
                and to try again would keep all that came with it waiting
"""

import asyncio
import random
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Final, Literal

import msgspec
import structlog

from persistence.counts import CommitterFigures, Counters
from persistence.store import Append, CommitAmbiguous, CommitVerdict, DataRefused, Head, Store, StoreUnavailable

AppendVerdict = Literal["committed", "fenced", "refused", "unknown"]

EVENT_OVERHEAD_BYTES: Final = 400
"""What an event brings to the queue beside its payload: its struct and the rows that follow from it."""
RETRY_SECONDS_MIN: Final = 0.05
RETRY_SECONDS_MAX: Final = 2.0

_log = structlog.get_logger(__name__)


class Overloaded(Exception):
    """The queue is full, or closing; nothing was queued, so nothing will be written."""


class _Call:
    """What a caller waits for: that every append of his has its verdict. One future for all, since there are many."""

    __slots__ = ("answered", "unanswered")

    def __init__(self, appends: int) -> None:
        self.unanswered = appends
        self.answered: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def one_answered(self) -> None:
        self.unanswered -= 1
        if not self.unanswered and not self.answered.done():
            self.answered.set_result(None)


class _Waiting(msgspec.Struct, eq=False):
    """One append in the queue, with its verdict once there is one, which is for good."""

    append: Append
    call: _Call
    bytes: int
    since: float
    verdict: AppendVerdict | None = None

    @property
    def account_id(self) -> str:
        return self.append.account_id

    @property
    def events(self) -> int:
        return len(self.append.events)


_Batch = list[_Waiting]


class Committer:
    """A group commit over a store. Made inside a running event loop; `close` it at the end."""

    def __init__(
        self,
        store: Store,
        *,
        queue_events_max: int = 10_000,
        queue_bytes_max: int = 16 * 1024 * 1024,
        commit_events_max: int = 2_000,
        unresolved_seconds_max: float = 30.0,
        chance: random.Random | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.counters = Counters()
        self.queued_events = 0
        self.queued_bytes = 0
        self._store = store
        self._queue_events_max = queue_events_max
        self._queue_bytes_max = queue_bytes_max
        self._commit_events_max = commit_events_max
        self._unresolved_seconds_max = unresolved_seconds_max
        self._chance = chance or random.Random()  # noqa: S311 - spreads retries, guards nothing
        self._monotonic = monotonic
        self._queue: deque[_Waiting] = deque()
        self._committing: _Batch = []
        self._arrived = asyncio.Event()
        self._closing = False
        self._worker = asyncio.create_task(self._work(), name="committer")

    async def append(self, appends: Sequence[Append]) -> tuple[AppendVerdict, ...]:
        """Commit the appends, each on its own merit; verdicts in their order. Raises `Overloaded` at once."""
        call = _Call(len(appends))
        waiting = self._enqueue(appends, call)
        if waiting:
            await asyncio.wait([call.answered], timeout=self._unresolved_seconds_max)
        return tuple(each.verdict or self._answer(each, "unknown") for each in waiting)

    @property
    def figures(self) -> CommitterFigures:
        """How it is now. `oldest_seconds` is of what has no verdict yet, be it in the queue or being committed."""
        unanswered = (each for batch in (self._committing, self._queue) for each in batch if each.verdict is None)
        oldest = next(unanswered, None)
        age = 0.0 if oldest is None else self._monotonic() - oldest.since
        return CommitterFigures(self.counters, self.queued_events, self.queued_bytes, age)

    async def close(self) -> None:
        """Refuse what comes now, commit what is queued, stop. Bounded by `unresolved_seconds_max`."""
        self._closing = True
        self._arrived.set()
        await self._worker

    # ------------------------------------------------------------ the queue

    def _enqueue(self, appends: Sequence[Append], call: _Call) -> _Batch:
        now = self._monotonic()
        waiting = [_Waiting(append, call, _bytes(append), now) for append in appends]
        events, size = sum(each.events for each in waiting), sum(each.bytes for each in waiting)
        too_many = self.queued_events + events > self._queue_events_max
        too_large = self.queued_bytes + size > self._queue_bytes_max
        is_full = self.queued_events > 0 and (too_many or too_large)  # what is larger than the queue has to go sometime
        if is_full or self._closing:
            self.counters.overloaded += 1
            raise Overloaded(
                "closing" if self._closing else f"{self.queued_events} events, {self.queued_bytes} bytes wait"
            )
        self.queued_events += events
        self.queued_bytes += size
        self._queue.extend(waiting)
        self._arrived.set()
        return waiting

    def _answer(self, waiting: _Waiting, verdict: AppendVerdict) -> AppendVerdict:
        """Once for each append: room in the queue is given back, and its caller goes on. Returns what counts."""
        if waiting.verdict is not None:
            return waiting.verdict
        self.queued_events -= waiting.events
        self.queued_bytes -= waiting.bytes
        if verdict == "committed":
            self.counters.appends += 1
            self.counters.events += waiting.events
        else:
            setattr(self.counters, verdict, getattr(self.counters, verdict) + 1)
        waiting.verdict = verdict
        waiting.call.one_answered()
        return verdict

    def _next_batch(self) -> _Batch:
        """The oldest appends up to the event limit, one an account; what has to wait keeps its order."""
        batch: _Batch = []
        accounts: set[str] = set()
        kept: deque[_Waiting] = deque()
        events = 0
        while self._queue and (not batch or events < self._commit_events_max):
            waiting = self._queue.popleft()
            if waiting.verdict is not None:
                continue
            too_many = bool(batch) and events + waiting.events > self._commit_events_max
            if too_many or waiting.account_id in accounts:
                kept.append(waiting)
            else:
                batch.append(waiting)
                events += waiting.events
            accounts.add(waiting.account_id)  # also where it was kept: the account's next must not overtake it
        self._queue.extendleft(reversed(kept))
        return batch

    # ------------------------------------------------------------ the worker

    async def _work(self) -> None:
        while self._queue or not self._closing:
            batch = self._next_batch()
            if not batch:
                self._arrived.clear()
                if not self._closing:
                    await self._arrived.wait()
                continue
            self._committing = batch
            try:
                await self._commit(batch)
            except Exception:  # a defect: nothing is known of these, and they are told so
                _log.exception("commit_failed", appends=len(batch))
                for waiting in batch:
                    self._answer(waiting, "unknown")
            finally:
                self._committing = []

    async def _commit(self, batch: _Batch) -> None:
        """Commit until every append of the batch is answered."""
        pauses = self._pauses()
        while batch := [waiting for waiting in batch if waiting.verdict is None]:
            began = self._monotonic()
            try:
                verdicts = await self._store.commit([waiting.append for waiting in batch])
            except DataRefused as error:
                await self._commit_apart(batch, error)
            except StoreUnavailable as error:
                self.counters.unavailable += 1
                _log.warning("commit_unavailable", error=str(error), queued_events=self.queued_events)
                await asyncio.sleep(next(pauses))
            except CommitAmbiguous as error:
                _log.warning("commit_ambiguous", error=str(error), appends=len(batch))
                await self._settle(batch)
                await asyncio.sleep(next(pauses) if _unanswered(batch) else 0)
            else:
                self._count(batch, self._monotonic() - began)
                for waiting in batch:
                    self._told(waiting, verdicts[waiting.account_id])

    def _told(self, waiting: _Waiting, verdict: CommitVerdict) -> None:
        if verdict == "locked":
            self.counters.locked += 1
            _log.error("head_locked", account_id=waiting.account_id)
            self._answer(waiting, "unknown")
        else:
            self._answer(waiting, verdict)

    async def _commit_apart(self, batch: _Batch, error: DataRefused) -> None:
        """Find the bad append by halving; the good ones are committed on the way."""
        if len(batch) == 1:
            _log.error("append_refused", account_id=batch[0].account_id, error=str(error))
            self._answer(batch[0], "refused")
            return
        half = len(batch) // 2
        await self._commit(batch[:half])
        await self._commit(batch[half:])

    async def _settle(self, batch: _Batch) -> None:
        """After a lost answer: what the locked heads prove is answered, what was not written stays in the batch."""
        pauses = self._pauses()
        while _unanswered(batch):
            try:
                heads = await self._store.settle([waiting.account_id for waiting in batch])
            except StoreUnavailable as error:
                self.counters.unavailable += 1
                _log.warning("settle_unavailable", error=str(error))
                await asyncio.sleep(next(pauses))
                continue
            for waiting in batch:
                proof = _proof(waiting.append, heads.get(waiting.account_id))
                self.counters.ambiguous[proof] += 1
                if proof != "not_written":
                    self._answer(waiting, proof)
            return

    def _pauses(self) -> Iterator[float]:
        """Seconds between attempts: doubling, with jitter so that persisters do not come back in step."""
        pause = RETRY_SECONDS_MIN
        while True:
            yield pause * self._chance.uniform(0.5, 1.0)
            pause = min(2 * pause, RETRY_SECONDS_MAX)

    def _count(self, batch: _Batch, seconds: float) -> None:
        events = sum(waiting.events for waiting in batch)
        self.counters.commits += 1
        self.counters.batched_events += events
        self.counters.commit_time.add(seconds)
        self.counters.batch_sizes[1 << (events - 1).bit_length()] += 1


def _proof(append: Append, head: Head | None) -> Literal["committed", "fenced", "not_written", "unknown"]:
    """What a locked head says of an append whose answer was lost; None: it could not be had."""
    if head is None:
        return "unknown"
    if head.last_seq == append.last_seq and head.head_hash == append.head_hash:
        return "committed"
    if head.last_seq == append.expected_seq and head.epoch <= append.epoch:
        return "not_written"
    return "fenced"


def _unanswered(batch: _Batch) -> bool:
    return any(waiting.verdict is None for waiting in batch)


def _bytes(append: Append) -> int:
    return sum(len(event.payload) + EVENT_OVERHEAD_BYTES for event in append.events)
