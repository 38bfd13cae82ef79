"""Ledgers: accounts with their events and snapshots in a real database, many of them and quickly, for recovery.

A few accounts are lived through in the engine; the others are copies under ids of their own, each with a hash
chain of its own, so that every check passes. Rows go in by COPY.
"""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import islice
from typing import Final, NamedTuple

import psycopg
from msgspec.structs import replace

from benchmarks.fleet import ACCOUNTS, HEADS, SNAPSHOTS, account_row, copy_in, snapshot_row
from engine import canonical
from engine.account import Account
from engine.book import AccountBook, ActionBatch, BookState, Entry
from engine.changes import PlacedEvent, changes
from engine.commands import Action, CreateAccount, MarkToMarket, StartAccount
from engine.decide import Context
from engine.events import RecordedEvent
from engine.ids import uuid7
from engine.money import round8
from engine.quotes import Quote, observed
from engine.receipts import Receipt
from engine.views import account_view, balance_view
from persistence import codec, rows
from persistence.store import Append, StoredSnapshot

BEGIN: Final = datetime(2026, 1, 5, 12, 0, 0, 123_456, tzinfo=UTC)
SYMBOLS: Final = ("BTC-USD", "ETH-USD", "SOL-USD", "XRP-USD")
MID: Final = Decimal(100)
TAIL_EVENTS: Final = 5
KINDS: Final = 4
COPIED_AT_ONCE: Final = 2_000


class Life:
    """One account lived through in memory: all it recorded, and its state where a snapshot was taken."""

    def __init__(self, positions: int) -> None:
        opening = CreateAccount(owner_id="owner", clone_id="clone", race_id="race-1")
        self.now = BEGIN
        self.book, first = AccountBook.open(opening, account_id=_id(0), now=BEGIN, request_id="request-0")
        self.ledger = [first]
        self._keep(self.book.submit(StartAccount(), self._context(), request_id="request-1"))
        for symbol in SYMBOLS[:positions]:
            self.opens(symbol)

    def opens(self, symbol: str) -> None:
        """Three events: the order, its fill and the position, which may be there already."""
        run = f"run-{len(self.ledger)}"
        action = Action(
            decision_action_id="action-1",
            action="open",
            symbol=symbol,
            side="long",
            quantity=round8(Decimal("0.25")),
            rationale="momentum holds above the weekly average",
            confidence="0.7",
        )
        self._keep(self.book.take(ActionBatch(run, (action,)), self._context(), request_id=f"request-{run}"))

    def marks(self) -> None:
        """One event."""
        pass_id = f"pass-{len(self.ledger)}"
        self._keep(self.book.submit(MarkToMarket(pass_id), self._context(), request_id=pass_id))

    def _keep(self, entry: object) -> None:
        if not isinstance(entry, Entry) or not entry.recorded:
            raise TypeError(f"nothing was recorded: {entry}")
        self.ledger += entry.recorded

    def _context(self) -> Context:
        """A second later, at prices that moved."""
        self.now += timedelta(seconds=1)
        return Context(self.now, {symbol: self._quote(symbol) for symbol in SYMBOLS})

    def _quote(self, symbol: str) -> Quote:
        bid = MID + Decimal(len(self.ledger) % 7) / 8
        return observed(symbol, bid, bid + 1, None, "bench", self.now - timedelta(milliseconds=20))


class Stored(NamedTuple):
    """One account as it is stored: where its ledger leads, the rows of that, and its snapshot, None where it has none.

    Of a ledger before a snapshot no row is written: nothing may read them.
    """

    book: BookState
    ledger: Sequence[RecordedEvent]
    snapshot: StoredSnapshot | None


def with_snapshots(accounts: int) -> Iterator[Stored]:
    """Accounts with 0 to 3 positions, evenly, at their snapshot, and an action and two marks after it."""
    lives = []
    for positions in range(KINDS):
        life = Life(positions)
        kept = life.book.state
        life.opens(SYMBOLS[0])
        life.marks()
        life.marks()
        lives.append((life, kept))
    for number in range(accounts):
        yield _copy(*lives[number % KINDS], number)


def receipts(actions: int) -> list[Receipt]:
    """Those of an account with a position and so many actions more."""
    life = Life(1)
    before = len(life.ledger)
    for _ in range(actions):
        life.opens(SYMBOLS[0])
    placed = [
        PlacedEvent(each.seq, each.occurred_at, codec.decode(each.type, each.version, each.payload))
        for each in life.ledger[before:]
    ]
    return list(changes(life.book.account, placed).receipts)


def without_snapshots(accounts: int, events: int) -> Iterator[Stored]:
    """Accounts with a whole ledger of so many events: a position, marked again and again."""
    life = Life(1)
    while len(life.ledger) < events:
        life.marks()
    for number in range(accounts):
        id_ = _id(number)
        ledger, head = _chained(id_, canonical.GENESIS, life.ledger)
        yield Stored(BookState(replace(life.book.account, id=id_), head, life.book.state.seen), ledger, None)


def _copy(life: Life, kept: BookState, number: int) -> Stored:
    """The life under another id, as it was stored: a snapshot of `kept`, and all that came after."""
    id_ = _id(number)
    state = BookState(_owned(kept, number), kept.head, kept.seen)
    ledger, head = _chained(id_, kept.head, life.ledger[kept.account.seq :])
    book = BookState(_owned(life.book.state, number), head, life.book.state.seen)
    return Stored(book, ledger, StoredSnapshot(id_, state.account.seq, 1, state))


def _owned(state: BookState, number: int) -> Account:
    """The account under another id, with owners and clones as many as there may be."""
    opening = replace(state.account.opening, owner_id=f"owner-{number % 1000}", clone_id=f"clone-{number}")
    return replace(state.account, id=_id(number), opening=opening)


def _id(number: int) -> str:
    return uuid7(BEGIN + timedelta(milliseconds=number), number.to_bytes(10, "big"))


def put(url: str, accounts: Iterator[Stored]) -> None:
    """Write them into an empty, migrated database."""
    with psycopg.connect(url, autocommit=True) as connection:
        while part := list(islice(accounts, COPIED_AT_ONCE)):
            appends = [_append(each) for each in part]
            kept = [each.snapshot for each in part if each.snapshot is not None]
            copy_in(connection, ACCOUNTS, [account_row(each.book.account) for each in part])
            copy_in(connection, HEADS, [row[:2] + row[3:] for row in rows.heads(appends)])
            copy_in(connection, rows.EVENTS, rows.events(appends))
            if kept:
                copy_in(connection, SNAPSHOTS, [snapshot_row(each) for each in kept])
        connection.execute("VACUUM ANALYZE")


def _append(stored: Stored) -> Append:
    account = stored.book.account
    return Append(
        account_id=account.id,
        epoch=1,
        expected_seq=stored.ledger[0].seq - 1,
        events=tuple(stored.ledger),
        account=account_view(account),
        balance=balance_view(account),
    )


def _chained(account_id: str, head: bytes, ledger: Sequence[RecordedEvent]) -> tuple[list[RecordedEvent], bytes]:
    """The same events as another account's, chained to `head`."""
    made = []
    for event in ledger:
        head = canonical.chained(
            head,
            account_id=account_id,
            seq=event.seq,
            type_=event.type,
            version=event.version,
            occurred_at=event.occurred_at,
            payload=event.payload,
        )
        made.append(replace(event, account_id=account_id, epoch=1, hash=head))
    return made, head
