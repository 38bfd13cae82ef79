"""Reconcile: replay every ledger from its first event and hold everything else that is known of the account to it.

The heart of `prop verify` (G5, G10). Reads consistent pictures (REPEATABLE READ, read-only transactions) and changes
nothing. A picture holds whole accounts, about `PICTURE_EVENTS` events of them, and no more: as long as one is looked
at, Postgres keeps every version of every row that commits replace, and the engine beside it becomes slower with every
commit. Memory is bounded by a few accounts, however many there are. What is compared: hash chain, contiguity and epochs
of the ledger; every column of every derived table, row by row; every kept snapshot with the state at its seq; and,
where asked, the live account. A fault in one account never hides another (G8).
"""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from itertools import islice, pairwise
from typing import Any, Final

import msgspec
import psycopg
from psycopg import AsyncConnection, IsolationLevel

from engine.book import AccountBook, BookState, replayed
from engine.changes import Changes, PlacedEvent, changes
from engine.events import RecordedEvent
from engine.receipts import digest
from engine.views import View
from persistence import snapshots
from persistence.account_stream import accounts, events_between, spans
from persistence.drift import (
    ROW,
    Drift,
    Row,
    Rows,
    Stored,
    by_key,
    compared,
    compared_live,
    derived,
    key_of,
    whole_row,
)
from persistence.pools import UNREACHABLE, unavailable
from persistence.recovery import Decoding
from persistence.snapshots import PackedSnapshot

DRIFT_MAX: Final = 10_000
"""Drifts kept in a report; further ones are only counted."""
CONNECT_SECONDS_MAX: Final = 5
PICTURE_EVENTS: Final = 10_000
"""Events after which a picture ends with the account at hand: a second or two of looking."""
ASKED_TOGETHER_MAX: Final = 4
ASKED_EVENTS_MAX: Final = 4_000
"""Accounts whose live views are asked for at once, and the events at which they are enough. A gateway under load keeps
each waiting: one after the other that is most of the time. More would crowd out those who trade."""

LEDGER: Final = "prop_ledger_events"
SNAPSHOTS: Final = "prop_account_snapshots"
BALANCES: Final = "prop_account_balances"

LiveView = tuple[int, Mapping[str, Any]]
"""An account's seq and its snapshot as the wire shows it."""
Live = Callable[[str], Awaitable[LiveView | None]]
"""The live view of an account; None where the account is not hosted."""


class Progress(msgspec.Struct, frozen=True):
    """How far a verification has come; told after each account."""

    account_id: str
    accounts: int
    events: int
    drifts: int


class Report(View, frozen=True, kw_only=True):
    """What a verification found. `drift` holds the first `DRIFT_MAX` of all `drifts`."""

    accounts: int
    events: int
    drifts: int
    drift: tuple[Drift, ...]
    live_checked: int

    @property
    def is_clean(self) -> bool:
        return self.drifts == 0


async def verify(
    database_url: str,
    *,
    account_ids: Sequence[str] | None = None,
    live: Live | None = None,
    on_progress: Callable[[Progress], None] | None = None,
) -> Report:
    """Verify every account, or those of `account_ids` (UUIDs); raises `StoreUnavailable`."""
    drift: list[Drift] = []
    count = events = drifted = live_checked = 0
    try:
        async with (
            await _connected(database_url) as connection,
            await _connected(database_url) as later,
            contextlib.aclosing(_pictured(connection, later, account_ids, live)) as pictured,
        ):
            async for stored, seen in pictured:
                found = list(drifts(stored, seen))
                drift += found[: DRIFT_MAX - len(drift)]
                count, events, drifted = count + 1, events + len(stored.ledger), drifted + len(found)
                live_checked += seen is not None
                if on_progress is not None:
                    on_progress(Progress(stored.account_id, count, events, drifted))
    except UNREACHABLE as error:
        raise unavailable(error) from error
    return Report(accounts=count, events=events, drifts=drifted, drift=tuple(drift), live_checked=live_checked)


async def _pictured(
    connection: AsyncConnection[Any], later: AsyncConnection[Any], account_ids: Sequence[str] | None, live: Live | None
) -> AsyncGenerator[tuple[Stored, "_Seen | None"], None]:
    """Every account with its live view, picture after picture."""
    parts = await spans(connection, events=PICTURE_EVENTS)
    await connection.set_isolation_level(IsolationLevel.REPEATABLE_READ)
    for part in parts:
        async with connection.transaction(), contextlib.aclosing(accounts(connection, account_ids, part)) as stream:
            async for some in _together(stream):
                views = [None] * len(some) if live is None else await _asked(live, some)
                for stored, view in zip(some, views, strict=True):
                    yield stored, None if view is None else await _seen(view, stored, later)


async def _together(stream: AsyncIterator[Stored]) -> AsyncIterator[list[Stored]]:
    some: list[Stored] = []
    async for stored in stream:
        some.append(stored)
        if len(some) >= ASKED_TOGETHER_MAX or sum(len(each.ledger) for each in some) >= ASKED_EVENTS_MAX:
            yield some
            some = []
    if some:
        yield some


async def _connected(database_url: str) -> AsyncConnection[Any]:
    """Cannot write, and may take as long as it takes."""
    options = "-c default_transaction_read_only=on -c timezone=UTC -c application_name=prop-verify"
    unhurried = "-c statement_timeout=0 -c idle_in_transaction_session_timeout=0"
    return await psycopg.AsyncConnection.connect(
        database_url, autocommit=True, options=f"{options} {unhurried}", connect_timeout=CONNECT_SECONDS_MAX
    )


# ------------------------------------------------------------ one account


class _Seen(msgspec.Struct, frozen=True):
    """A live view, with the events that it may reflect beyond the picture."""

    seq: int
    snapshot: Mapping[str, Any]
    later: list[RecordedEvent]


async def _asked(live: Live, some: Sequence[Stored]) -> list[LiveView | None]:
    """The live views of several accounts at once; the first that fails is raised, when all have ended."""
    asking = [asyncio.ensure_future(live(stored.account_id)) for stored in some]
    try:
        return [await each for each in asking]
    finally:
        for each in asking:
            each.cancel()
        await asyncio.gather(*asking, return_exceptions=True)


async def _seen(view: LiveView, stored: Stored, connection: AsyncConnection[Any]) -> _Seen:
    seq, snapshot = view
    last = stored.ledger[-1].seq if stored.ledger else 0
    return _Seen(seq, snapshot, await events_between(connection, stored.account_id, after=last, to=seq))


def drifts(stored: Stored, seen: _Seen | None = None) -> Iterator[Drift]:
    """Everything in which an account's rows, and its live view where there is one, are not what its ledger makes."""
    account_id, ledger = stored.account_id, stored.ledger
    if not ledger:
        for table, found in stored.rows.items():
            yield from (whole_row(account_id, table, key_of(table, row), in_ledger=False) for row in found)
        return
    made = made_by(stored, seen)
    yield from differences(stored, made, seen)


class Made(msgspec.Struct, frozen=True):
    """What a whole ledger makes of its account: the book after the last event that was replayed, the states at which
    something is compared, and, at the ledger's end, the changes and every row by table."""

    book: AccountBook
    states: dict[int, BookState]
    changes: Changes
    rows: dict[str, Rows]


def made_by(
    stored: Stored, seen: _Seen | None = None, *, epoch: int = 0, receipts_in_memory_max: int = 0
) -> Made | Drift:
    """Replay a ledger that is not empty; the book that comes out writes in `epoch`. Takes seconds for a long one."""
    ledger = stored.ledger
    stops = {len(ledger), *(_seq(row) for row in stored.rows[SNAPSHOTS]), *((seen.seq,) if seen else ())}
    events = [*ledger, *(seen.later if seen else ())]
    replay = _replayed(stored.account_id, events, stops, epoch=epoch, receipts_in_memory_max=receipts_in_memory_max)
    if isinstance(replay, Drift):
        return replay
    end = replay.states[len(ledger)]
    made = changes(end.account, replay.placed[: len(ledger)])
    return Made(replay.book, replay.states, made, derived(end.account, ledger, made))


def differences(stored: Stored, made: Made | Drift, seen: _Seen | None = None) -> Iterator[Drift]:
    """What is stored, and seen, beside what its ledger, which is not empty, makes."""
    account_id, ledger = stored.account_id, stored.ledger
    yield from _falling_epochs(stored)
    if isinstance(made, Drift):
        yield made
        return
    yield from _cut_off(stored, made)
    for table, rows in made.rows.items():
        yield from compared(account_id, table, rows, by_key(table, stored.rows[table]))
    answered = [(receipt.seq, digest(receipt.key)) for receipt in made.changes.receipts]
    for row in stored.rows[SNAPSHOTS]:
        if _seq(row) > len(ledger):
            yield whole_row(account_id, SNAPSHOTS, key_of(SNAPSHOTS, row), in_ledger=False)
        else:
            seen_keys = frozenset(key for seq, key in answered if seq <= _seq(row))
            yield from _snapshot(row, msgspec.structs.replace(made.states[_seq(row)], seen=seen_keys))
    if seen is not None:
        yield from _live(account_id, seen, made.states.get(seen.seq))


class _Replay(msgspec.Struct, frozen=True):
    """A whole ledger replayed: the book at its end, its events in place, and the states that were asked for."""

    book: AccountBook
    placed: list[PlacedEvent]
    states: dict[int, BookState]


def _replayed(
    account_id: str, ledger: list[RecordedEvent], stops: set[int], *, epoch: int, receipts_in_memory_max: int
) -> _Replay | Drift:
    """Replay through the engine's own book, in stretches from stop to stop, at each of which its state is kept.

    The drift names the first row that does not hold: nothing can be derived from such a ledger.
    """
    decoding = Decoding(0, ledger)
    events = iter(decoding)
    edges = sorted({stop for stop in stops if 0 < stop < len(ledger)} | {len(ledger)})
    try:
        first = islice(events, edges[0])
        book, placed = replayed(first, epoch=epoch, receipts_in_memory_max=receipts_in_memory_max)
        states = {edges[0]: book.state}
        for before, after in pairwise(edges):
            placed += book.replay(islice(events, after - before))
            states[after] = book.state
    except Exception as error:  # whatever a row does to the replay, it says that the row is not what was recorded
        return _figure(account_id, LEDGER, decoding.seq, ROW, None, str(error) or type(error).__name__)
    return _Replay(book, placed, states)


def _falling_epochs(stored: Stored) -> Iterator[Drift]:
    """Along the ledger, and from its last event to the head row, an epoch only ever rises (G4)."""
    for before, after in pairwise(stored.ledger):
        if after.epoch < before.epoch:
            yield _figure(stored.account_id, LEDGER, after.seq, "epoch", f"at least {before.epoch}", str(after.epoch))
    for row in stored.rows[BALANCES]:
        last, epoch = stored.ledger[-1].epoch, row["epoch"]
        if not isinstance(epoch, int) or epoch < last:
            yield _figure(stored.account_id, BALANCES, stored.account_id, "epoch", f"at least {last}", str(epoch))


def _cut_off(stored: Stored, made: Made) -> Iterator[Drift]:
    """A head row beyond the last event, with a hash that no event has: what was acknowledged in between is gone."""
    for ledger, head in zip(made.rows[BALANCES].values(), stored.rows[BALANCES], strict=False):
        end, last_seq = len(stored.ledger), head["last_seq"]
        if isinstance(last_seq, int) and last_seq > end and head["head_hash"] != ledger["head_hash"]:
            why = f"missing: the ledger ends at seq {end}, its head is {last_seq}"
            yield _figure(stored.account_id, LEDGER, end + 1, ROW, None, why)


def _snapshot(row: Row, ledger: BookState) -> Iterator[Drift]:
    """A kept snapshot against the replayed state at its seq; one of another program's shape is passed over."""
    if row["schema_version"] != snapshots.SCHEMA_VERSION:
        return
    account_id, seq = ledger.account.id, ledger.account.seq
    kept = snapshots.unpacked(msgspec.convert(dict(row), PackedSnapshot))
    if kept is None:
        yield _figure(account_id, SNAPSHOTS, seq, "state", "readable", "corrupt")
        return
    ours, theirs = _figures(ledger), _figures(kept.state)
    for field, value in ours.items():
        if value != theirs[field]:
            yield _figure(account_id, SNAPSHOTS, seq, field, str(value), str(theirs[field]))


def _figures(state: BookState) -> dict[str, object]:
    return {"head": state.head.hex(), "seen": sorted(state.seen), **msgspec.structs.asdict(state.account)}


def _live(account_id: str, seen: _Seen, ledger: BookState | None) -> Iterator[Drift]:
    if ledger is None:
        yield _figure(account_id, "live", seen.seq, "accountSeq", None, str(seen.seq))
    else:
        yield from compared_live(ledger.account, seen.snapshot)


def _seq(row: Row) -> int:
    seq = row["seq"]
    if not isinstance(seq, int):
        raise AssertionError(f"seq {seq!r} is no integer")
    return seq


def _figure(
    account_id: str, table: str, key: object, field: str, ledger_value: str | None, stored_value: str | None
) -> Drift:
    return Drift(
        account_id=account_id,
        table=table,
        key=str(key),
        field=field,
        ledger_value=ledger_value,
        stored_value=stored_value,
    )
