"""Outbox: what a host has decided and not yet made durable.

Guarantee (G1, G3): one append is in flight at a time and the rest coalesce behind it, so commit order is decision
order; an account becomes durable only by a verdict of `committed`, and any other verdict is handed to `unconfirmed`.
"""

import asyncio
import time
from collections.abc import Callable, Coroutine, Sequence

import structlog

from actors.figures import HostCounts
from actors.hosted import Hosted, payload_bytes
from actors.limits import HostLimits
from actors.ports import Appender
from engine.book import Entry
from engine.events import AccountLiquidated
from persistence.committer import AppendVerdict, Overloaded
from persistence.store import Append, AuditEntry, Store, StoredSnapshot, StoreUnavailable

log = structlog.get_logger(__name__)

OVERLOAD_PAUSE_S = 0.02


class Outbox:
    """Appends for one host; `unconfirmed(hosted, verdict)` is told of every account whose append did not commit, and
    `counts` counts what did."""

    def __init__(
        self,
        host: str,
        store: Store,
        appender: Appender,
        limits: HostLimits,
        unconfirmed: Callable[[Hosted, AppendVerdict], None],
        *,
        counts: HostCounts,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._host = host
        self._store = store
        self._appender = appender
        self._limits = limits
        self._unconfirmed = unconfirmed
        self._counts = counts
        self._monotonic = monotonic
        self._waiting: dict[Hosted, float] = {}  # accounts with undurable events and since when, the oldest first
        self._flushing: list[float] = []  # since when those of the append in flight have waited
        self._filled = asyncio.Event()
        self._flusher: asyncio.Task[None] | None = None
        self._background: set[asyncio.Task[None]] = set()

    def start(self) -> None:
        """Flush from now on, in a task of the running loop; nothing when it does already."""
        self._flusher = self._flusher or asyncio.create_task(self._flush_forever())

    async def close(self) -> None:
        """Stop; what is to be durable must be waited for first."""
        if self._flusher is not None:
            self._flusher.cancel()
            await asyncio.gather(self._flusher, *self._background, return_exceptions=True)

    def put(self, hosted: Hosted, entry: Entry, audit: AuditEntry | None = None) -> None:
        """Take a decision along in the next append that has room."""
        hosted.enqueue(entry, audit)
        self._waiting.setdefault(hosted, self._monotonic())
        self._filled.set()

    @property
    def undurable_accounts(self) -> int:
        """Accounts with decisions that are not durable."""
        return len(self._waiting) + len(self._flushing)

    @property
    def undurable_seconds(self) -> float:
        """How long the oldest decision has waited that is not durable."""
        since = min((*self._flushing, *self._waiting.values()), default=None)
        return 0.0 if since is None else self._monotonic() - since

    def forget(self, hosted: Hosted) -> None:
        """Append nothing more of an account."""
        self._waiting.pop(hosted, None)

    async def save(self, snapshots: Sequence[StoredSnapshot]) -> None:
        """Keep snapshots where possible: they are a cache, and losing one costs a longer replay."""
        if not snapshots:
            return
        try:
            await self._store.save_snapshots(snapshots)
        except StoreUnavailable as away:
            log.warning("snapshots_not_saved", host=self._host, accounts=len(snapshots), why=str(away))

    async def _flush_forever(self) -> None:
        while True:
            await self._filled.wait()
            detached = self._detach()
            if detached:
                await self._flush(detached)
            else:
                self._filled.clear()

    def _detach(self) -> list[tuple[Hosted, Append]]:
        """What the next append takes along, an account at most once: more than its limits would never fit the queue."""
        detached: list[tuple[Hosted, Append]] = []
        events_left, bytes_left = self._limits.append_events_max, self._limits.append_bytes_max
        while self._waiting and events_left > 0 and bytes_left > 0:
            hosted, since = next(iter(self._waiting.items()))
            del self._waiting[hosted]
            try:
                append = hosted.detach(events_max=events_left, bytes_max=bytes_left)
            except Exception:  # a defect that one account has met; the others are waiting for this very append (G8)
                log.exception("append_not_made", host=self._host, account_id=hosted.account_id)
                self._unconfirmed(hosted, "refused")
                continue
            events_left -= len(append.events)
            bytes_left -= payload_bytes(append.events)
            detached.append((hosted, append))
            self._flushing.append(since)
            if hosted.has_pending:
                self._waiting[hosted] = since  # behind the others; the limits are reached, so not in this append
        return detached

    async def _flush(self, detached: Sequence[tuple[Hosted, Append]]) -> None:
        """Make everything detached durable, then say so."""
        whole = [hosted for hosted, _ in detached if not hosted.has_pending]
        every_events = self._limits.snapshot_every_events
        snapshots = [hosted.snapshot() for hosted in whole if hosted.is_snapshot_due(every_events)]
        verdicts: Sequence[AppendVerdict]
        asked_at = self._monotonic()
        try:
            verdicts = await self._append([append for _, append in detached])
        except Exception as lost:  # whatever it was, nothing is known of these, and the flusher has to live on
            log.warning("append_lost", host=self._host, accounts=len(detached), why=repr(lost))
            verdicts = ["unknown"] * len(detached)
        self._flushing.clear()
        committed = set()
        for (hosted, append), verdict in zip(detached, verdicts, strict=True):
            if verdict == "committed":
                self._counts.committed(append.events)
                self._tell_of_liquidation(append, asked_at)
                hosted.became_durable(append.last_seq, confirmed_at=asked_at)
                committed.add(hosted.account_id)
            else:
                self._unconfirmed(hosted, verdict)
        if snapshots:
            self._in_background(self.save([each for each in snapshots if each.account_id in committed]))

    def _tell_of_liquidation(self, append: Append, asked_at: float) -> None:
        for event in append.events if append.account.status == "liquidated" else ():
            if event.type == AccountLiquidated.TYPE:
                log.info(
                    "account_liquidated",
                    request_id=event.request_id,
                    account_id=event.account_id,
                    seq=event.seq,
                    epoch=event.epoch,
                    duration_ms=round((self._monotonic() - asked_at) * 1000, 2),
                )

    async def _append(self, appends: Sequence[Append]) -> Sequence[AppendVerdict]:
        while True:
            try:
                return await self._appender.append(appends)
            except Overloaded:
                await asyncio.sleep(OVERLOAD_PAUSE_S)  # nothing was enqueued; admission is closed meanwhile

    def _in_background(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)
