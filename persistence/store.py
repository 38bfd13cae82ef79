"""The store port: what the runtime asks of durable storage, in engine terms.

Two implementations pass one contract test: `memory_store` and `postgres_store`. Guarantees either gives:
an append is written whole or not at all; it is written only while its epoch is the account's and its first seq
follows the head (G4); nothing is acknowledged before it is durable (G1).
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Literal, Protocol

import msgspec

from engine.account import Account
from engine.book import BookState
from engine.changes import Amendment, Changes, PositionRow
from engine.commands import CreateAccount
from engine.events import MarkedToMarket, RecordedEvent
from engine.receipts import ActionKey, Receipt
from engine.results import ResultView, result_of
from engine.views import AccountView, BalanceView, FillView, OrderView, SnapshotView, account_view, balance_view
from persistence.drift import RowKey, Stored


class StoreUnavailable(Exception):
    """Storage cannot be reached or refused before COMMIT was sent: nothing was written, try again."""


class CommitAmbiguous(Exception):
    """The answer to a COMMIT was lost: it may or may not have happened. Only a locked read of the heads tells."""


class DataRefused(Exception):
    """Storage refused a row for what it holds (SQLSTATE class 22 or 23): retrying cannot help."""


class Head(msgspec.Struct, frozen=True, gc=False):
    """Where an account's ledger ends, and which epoch may write next."""

    account_id: str
    epoch: int
    last_seq: int
    head_hash: bytes


class AuditEntry(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """One row of the audit log: who did what to which account, why, and what it looked like before and after (None
    where its ledger does not replay)."""

    token_name: str
    action: str
    account_id: str
    reason: str
    request_id: str
    before: SnapshotView | None
    after: SnapshotView | None


class Append(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """Events of one account with the rows that follow from them. `expected_seq` is the head they must find."""

    account_id: str
    epoch: int
    expected_seq: int
    events: tuple[RecordedEvent, ...]
    account: AccountView
    balance: BalanceView
    orders: tuple[OrderView, ...] = ()
    fills: tuple[FillView, ...] = ()
    positions: tuple[PositionRow, ...] = ()
    receipts: tuple[Receipt, ...] = ()
    amendment: Amendment = Amendment()
    audit: tuple[AuditEntry, ...] = ()
    result: ResultView | None = None
    """Where these events end the account."""

    @property
    def last_seq(self) -> int:
        return self.events[-1].seq

    @property
    def only_marks(self) -> bool:
        """Whether its positions stood before, and were only valued anew."""
        return all(event.type == MarkedToMarket.TYPE for event in self.events)

    @property
    def head_hash(self) -> bytes:
        return self.events[-1].hash


class Mend(msgspec.Struct, frozen=True, kw_only=True):
    """An append that also puts tables right: rows of `drifted` (keys by table) go, the append's rows take their place,
    and the account's own row and its balance are written whole, whatever stands there."""

    append: Append
    opening: CreateAccount
    drifted: Mapping[str, tuple[RowKey, ...]]


Verdict = Literal["committed", "fenced"]
"""Of one append in a committed batch: written, or left out because its epoch or its seq is no longer the account's."""
CommitVerdict = Verdict | Literal["locked"]
"""Or left out because somebody keeps the account's head row locked, so that the others need not wait for him."""


class Created(msgspec.Struct, frozen=True, gc=False):
    """An account as first created. `replayed`: it existed under this idempotency key; `opening` is the original's."""

    account: AccountView
    opening: CreateAccount
    replayed: bool


class StoredSnapshot(msgspec.Struct, frozen=True, gc=False):
    """A book state at `state.account.seq`, written in `epoch`."""

    account_id: str
    seq: int
    epoch: int
    state: BookState


class Store(Protocol):
    """Durable storage of accounts. Every method may raise `StoreUnavailable`. An id that is no UUID is unknown."""

    async def create(self, opening: CreateAccount, first: Append) -> Created:
        """Write a new account, or return the one that has the opening's idempotency key, or `first`'s account id.

        So it may be repeated with the same arguments, and must be after `StoreUnavailable`, which here may also mean
        that the answer was lost. Raises `DataRefused`.
        """

    async def commit(self, appends: Sequence[Append]) -> Mapping[str, CommitVerdict]:
        """One transaction over appends of distinct accounts; verdict by account id.

        Raises `CommitAmbiguous`, or `DataRefused` (nothing of the batch is written).
        """

    async def settle(self, account_ids: Sequence[str]) -> Mapping[str, Head]:
        """Heads read under a row lock, on a connection of its own: after this no older commit of theirs is in doubt.
        Left out is who is unknown, or whose row somebody keeps locked for longer than a commit can."""

    async def claim(self, account_ids: Sequence[str]) -> Mapping[str, Head]:
        """Raise the epoch of each account and return the heads with the new epoch. Unknown ids are left out, and so are
        accounts whose head row somebody keeps locked, unless it is all of them: that is `StoreUnavailable`."""

    async def epochs(self, account_ids: Sequence[str]) -> Mapping[str, int]:
        """The epochs now in force: the cheap read behind a read lease."""

    async def save_snapshots(self, snapshots: Sequence[StoredSnapshot]) -> int:
        """Keep snapshots of accounts whose epoch still is the snapshot's; returns how many were kept."""

    async def snapshots(self, account_ids: Sequence[str]) -> Mapping[str, StoredSnapshot]:
        """The newest readable snapshot of each account; a corrupt or foreign one is passed over for an older one."""

    def ledger(self, after: Mapping[str, int]) -> AsyncIterator[RecordedEvent]:
        """Events with seq strictly above the given one, by account and seq, payload in canonical bytes."""

    async def receipts(self, account_id: str, keys: Sequence[ActionKey]) -> Mapping[ActionKey, Receipt]:
        """Stored receipts of these keys."""

    async def stored(self, account_id: str) -> Stored:
        """All that is stored of one account, in one consistent picture. Raises `StoreUnavailable`."""

    async def mend(self, mend: Mend) -> Verdict:
        """Put an account's tables right in one transaction, guarded by the epoch alone: the head row may be what is
        wrong. Raises `DataRefused`; after `StoreUnavailable` it may have happened."""

    async def note(self, entry: AuditEntry) -> None:
        """Put an administrator's deed that wrote no event into the audit log. Raises `DataRefused`; after
        `StoreUnavailable` it may be there all the same."""

    async def hostable(self) -> Sequence[str]:
        """Ids of accounts that must live in memory (active, paused, locked), those with open positions first."""


def append_of(
    account: Account,
    *,
    epoch: int,
    expected_seq: int,
    events: Sequence[RecordedEvent],
    changes: Changes,
    audit: Sequence[AuditEntry] = (),
) -> Append:
    """The append that takes storage from `expected_seq` to `account`, which is the state after the last event."""
    return Append(
        account_id=account.id,
        epoch=epoch,
        expected_seq=expected_seq,
        events=tuple(events),
        account=account_view(account),
        balance=balance_view(account),
        orders=changes.orders,
        fills=changes.fills,
        positions=changes.positions,
        receipts=changes.receipts,
        amendment=changes.amendment,
        audit=tuple(audit),
        result=result_of(account, events),
    )
