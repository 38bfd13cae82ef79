"""The store in memory: the same rows, the same fencing, no durability. For tests and fault injection.

Every method does its work in one synchronous step, so concurrent callers meet whole commits only.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Final

from msgspec.structs import asdict, replace

from engine.account import Status
from engine.changes import Amendment, Changes, PositionRow
from engine.commands import CreateAccount
from engine.events import RecordedEvent
from engine.receipts import ActionKey, Receipt
from engine.results import ResultView
from engine.views import AccountView, BalanceView, FillView, OrderView
from persistence import snapshots
from persistence.drift import KEYS, Row, RowKey, Stored, account_row, as_stored, balance_row, listed, result_row
from persistence.snapshots import PackedSnapshot
from persistence.store import (
    Append,
    AuditEntry,
    CommitVerdict,
    Created,
    DataRefused,
    Head,
    Mend,
    Store,
    StoredSnapshot,
    Verdict,
)

HOSTED: Final[frozenset[Status]] = frozenset({"active", "paused", "locked"})


class MemoryStore(Store):
    """Tables as dicts, one a table, keyed as the tables are."""

    def __init__(self) -> None:
        self.accounts: dict[str, AccountView] = {}
        self.openings: dict[str, CreateAccount] = {}
        self.ids_by_key: dict[str, str] = {}
        self.heads: dict[str, Head] = {}
        self.balances: dict[str, BalanceView] = {}
        self.events: dict[tuple[str, int], RecordedEvent] = {}
        self.orders: dict[str, OrderView] = {}
        self.fills: dict[str, FillView] = {}
        self.positions: dict[tuple[str, int], PositionRow] = {}
        self.actions: dict[tuple[str, ActionKey], Receipt] = {}
        self.audit_log: list[AuditEntry] = []
        self.results: dict[str, ResultView] = {}
        self.packed_snapshots: dict[tuple[str, int], PackedSnapshot] = {}

    async def create(self, opening: CreateAccount, first: Append) -> Created:
        key = opening.idempotency_key
        existing = self.ids_by_key.get(key, first.account_id) if key is not None else first.account_id
        if existing in self.openings:
            replayed = existing != first.account_id
            return Created(self.accounts[existing], self.openings[existing], replayed=replayed)
        if key is not None:
            self.ids_by_key[key] = first.account_id
        self.openings[first.account_id] = opening
        self._write(first)
        return Created(first.account, opening, replayed=False)

    async def commit(self, appends: Sequence[Append]) -> Mapping[str, CommitVerdict]:
        moving = {append.account_id: append for append in appends if self._follows(append)}
        for append in moving.values():
            self._refuse_repeats(append)
        for append in moving.values():
            self._write(append)
        return {append.account_id: "committed" if append.account_id in moving else "fenced" for append in appends}

    async def settle(self, account_ids: Sequence[str]) -> Mapping[str, Head]:
        return {account_id: self.heads[account_id] for account_id in account_ids if account_id in self.heads}

    async def claim(self, account_ids: Sequence[str]) -> Mapping[str, Head]:
        for account_id in self.heads.keys() & set(account_ids):
            head = self.heads[account_id]
            self.heads[account_id] = replace(head, epoch=head.epoch + 1)
        return await self.settle(account_ids)

    async def epochs(self, account_ids: Sequence[str]) -> Mapping[str, int]:
        return {account_id: head.epoch for account_id, head in (await self.settle(account_ids)).items()}

    async def save_snapshots(self, kept: Sequence[StoredSnapshot]) -> int:
        mine = [each for each in kept if self._has_epoch(each.account_id, each.epoch)]
        for snapshot in mine:
            self.packed_snapshots[snapshot.account_id, snapshot.seq] = snapshots.packed(snapshot)
            for surplus in self._newest_first(snapshot.account_id)[snapshots.KEPT :]:
                del self.packed_snapshots[surplus.account_id, surplus.seq]
        return len(mine)

    async def snapshots(self, account_ids: Sequence[str]) -> Mapping[str, StoredSnapshot]:
        found = {}
        for account_id in account_ids:
            readable = filter(None, map(snapshots.unpacked, self._newest_first(account_id)))
            newest = next(readable, None)
            if newest is not None:
                found[account_id] = newest
        return found

    async def ledger(self, after: Mapping[str, int]) -> AsyncIterator[RecordedEvent]:
        for key in sorted(key for key in self.events if key[0] in after and key[1] > after[key[0]]):
            yield self.events[key]

    async def receipts(self, account_id: str, keys: Sequence[ActionKey]) -> Mapping[ActionKey, Receipt]:
        return {key: self.actions[account_id, key] for key in keys if (account_id, key) in self.actions}

    async def stored(self, account_id: str) -> Stored:
        head = self.heads.get(account_id)
        if head is None:
            return Stored(account_id, [], {table: [] for table in KEYS})
        balance = balance_row(account_id, self.balances[account_id], head.last_seq, head.head_hash)
        made = Changes(
            tuple(order for order in self.orders.values() if order.account_id == account_id),
            tuple(fill for fill in self.fills.values() if fill.account_id == account_id),
            tuple(row for (owner, _), row in self.positions.items() if owner == account_id),
            tuple(receipt for (owner, _), receipt in self.actions.items() if owner == account_id),
        )
        rows: dict[str, list[Row]] = {
            "prop_accounts": [account_row(self.accounts[account_id], self.openings[account_id])],
            "prop_account_balances": [{**balance, "epoch": head.epoch}],
            **listed(account_id, made),
            "prop_account_results": [result_row(self.results[account_id])] if account_id in self.results else [],
            "prop_account_snapshots": [asdict(row) for row in self._newest_first(account_id)],
        }
        ledger = [event async for event in self.ledger({account_id: 0})]
        return Stored(account_id, ledger, {table: [as_stored(row) for row in found] for table, found in rows.items()})

    async def mend(self, mend: Mend) -> Verdict:
        append, account_id = mend.append, mend.append.account_id
        if not self._has_epoch(account_id, append.epoch):
            return "fenced"
        self._drop(account_id, mend.drifted)
        self._refuse_repeats(append)
        self.openings[account_id] = mend.opening
        self._write(append)
        return "committed"

    async def note(self, entry: AuditEntry) -> None:
        self.audit_log.append(entry)

    async def hostable(self) -> Sequence[str]:
        exposed = {account_id for (account_id, _), row in self.positions.items() if row.view.status == "open"}
        hosted = [account for account in self.accounts.values() if account.status in HOSTED]
        hosted.sort(key=lambda account: (account.id not in exposed, account.created_at, account.id))
        return [account.id for account in hosted]

    def _follows(self, append: Append) -> bool:
        head = self.heads.get(append.account_id)
        return head is not None and (head.epoch, head.last_seq) == (append.epoch, append.expected_seq)

    def _has_epoch(self, account_id: str, epoch: int) -> bool:
        head = self.heads.get(account_id)
        return head is not None and head.epoch == epoch

    def _refuse_repeats(self, append: Append) -> None:
        """What the unique keys refuse."""
        for event in append.events:
            if (append.account_id, event.seq) in self.events:
                raise DataRefused(f"event {event.seq} of {append.account_id} exists")
        for receipt in append.receipts:
            if (append.account_id, receipt.key) in self.actions:
                raise DataRefused(f"action {receipt.key} of {append.account_id} was answered before")

    def _write(self, append: Append) -> None:
        account_id = append.account_id
        self.heads[account_id] = Head(account_id, append.epoch, append.last_seq, append.head_hash)
        self.accounts[account_id] = append.account
        self.balances[account_id] = append.balance
        self.events.update({(account_id, event.seq): event for event in append.events})
        self.orders.update({order.id: order for order in append.orders})
        self.fills.update({fill.id: fill for fill in append.fills})
        self._amend(account_id, append.amendment)
        self.positions.update({(account_id, row.opened_seq): row for row in append.positions})
        self.actions.update({(account_id, receipt.key): receipt for receipt in append.receipts})
        self.audit_log += append.audit
        if append.result is not None:
            self.results[account_id] = append.result

    def _amend(self, account_id: str, amendment: Amendment) -> None:
        for order_id in amendment.orders:
            self.orders[order_id] = replace(self.orders[order_id], status="voided")
        for fill_id in amendment.fills:
            self.fills[fill_id] = replace(self.fills[fill_id], status="voided")
        for fill in amendment.restated:
            self.fills[fill.fill_id] = replace(self.fills[fill.fill_id], realized_pnl=fill.realized_pnl)
        for opened_seq in amendment.gone:
            self.positions.pop((account_id, opened_seq), None)

    def _drop(self, account_id: str, drifted: Mapping[str, tuple[RowKey, ...]]) -> None:
        wrong = {(table, *key) for table, keys in drifted.items() for key in keys}

        def stays(table: str, owner: str, *key: object) -> bool:
            return owner != account_id or (table, *key) not in wrong

        self.orders = {key: row for key, row in self.orders.items() if stays("prop_orders", row.account_id, key)}
        self.fills = {key: row for key, row in self.fills.items() if stays("prop_fills", row.account_id, key)}
        self.positions = {key: row for key, row in self.positions.items() if stays("prop_positions", *key)}
        self.actions = {
            (owner, key): row
            for (owner, key), row in self.actions.items()
            if stays("prop_decision_actions", owner, *key)
        }
        self.results = {key: row for key, row in self.results.items() if stays("prop_account_results", key, key)}
        self.packed_snapshots = {
            key: row for key, row in self.packed_snapshots.items() if stays("prop_account_snapshots", *key)
        }

    def _newest_first(self, account_id: str) -> list[PackedSnapshot]:
        of_account = [row for row in self.packed_snapshots.values() if row.account_id == account_id]
        return sorted(of_account, key=lambda row: row.seq, reverse=True)
