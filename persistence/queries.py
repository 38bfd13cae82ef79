"""Queries: what the gateway reads of accounts straight from the tables. Reads only, and only what is committed.

Lists are pages by keyset: the key of the last row, as a typed value, leads to the next page; rows that are added while
a client pages are neither skipped nor shown twice. An id that is no UUID is an id that does not exist.
Every method raises `StoreUnavailable` when Postgres cannot be reached.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final, Generic, Literal, TypeVar
from uuid import UUID

import msgspec
from psycopg.rows import class_row, kwargs_row
from psycopg.sql import SQL

from engine.account import Status
from engine.commands import Action, Mode
from engine.policy import Policy
from engine.quotes import Quote
from engine.receipts import Receipt
from engine.views import AccountView, ActionResult, FillView, OrderView, PositionView, View
from persistence.pools import Pool, rows
from persistence.store import Head

LIMIT_MAX: Final = 1_000
"""Rows of one page."""

Item = TypeVar("Item")
Key = TypeVar("Key")

AccountKey = tuple[datetime, str]
"""(created_at, id) of an account."""


class Page(msgspec.Struct, Generic[Item, Key], frozen=True):
    """Some rows in key order. `next` is the key to go on after, None at the end."""

    data: tuple[Item, ...]
    next: Key | None


class AccountFilter(msgspec.Struct, frozen=True, kw_only=True):
    """Accounts that have every value given here."""

    status: Status | None = None
    owner_id: str | None = None
    clone_id: str | None = None
    race_id: str | None = None
    mode: Mode | None = None


class LedgerRow(View, frozen=True, kw_only=True):
    """A ledger event as the wire shows it; `hash` in hex. `hash` covers the canonical form of `payload`."""

    account_id: str
    seq: int
    type: str
    version: int
    occurred_at: datetime
    recorded_at: datetime
    epoch: int
    request_id: str
    payload: dict[str, Any]
    hash: str


class AuditRow(View, frozen=True, kw_only=True):
    """One deed of an administrator; `before` and `after` are snapshots of the account."""

    id: int
    occurred_at: datetime
    token_name: str
    action: str
    account_id: str
    reason: str
    request_id: str
    before: dict[str, Any] | None
    after: dict[str, Any] | None


class ActionFilter(msgspec.Struct, frozen=True, kw_only=True):
    """Judged actions that have every value given here."""

    decision_run_id: str | None = None
    decision_action_id: str | None = None
    status: Literal["executed", "rejected"] | None = None
    code: str | None = None


class StoredAction(msgspec.Struct, frozen=True):
    """A judged action, and whose it was."""

    account_id: str
    receipt: Receipt


ANY_ACTION: Final = ActionFilter()

_ACCOUNTS: Final = SQL("""
select account.id::text, account.status, account.owner_id, account.clone_id, account.parent_account_id,
       account.race_id, account.mode, account.currency, account.starting_balance, account.policy, account.created_at,
       account.started_at, account.ended_at, account.end_reason, balance.last_seq as account_seq
from prop_accounts account join prop_account_balances balance on balance.account_id = account.id
where {where}
order by account.created_at, account.id
limit %(limit)s
""")
_LEDGER: Final = SQL("""
select account_id::text, seq, type, version, occurred_at, recorded_at, epoch, request_id, payload,
       encode(hash, 'hex') as hash
from prop_ledger_events
where account_id = %(account_id)s and seq > %(after)s and {where}
order by seq
limit %(limit)s
""")
_ORDERS: Final = """
select id::text, account_id::text, prop_action_id::text, symbol, side, intent, quantity, leverage, status, created_at,
       account_seq
from prop_orders
where account_id = %(account_id)s and account_seq > %(after)s
order by account_seq
limit %(limit)s
"""
_FILLS: Final = """
select id::text, order_id::text, account_id::text, symbol, side, intent, quantity, price, notional, fee, realized_pnl,
       quote, status, filled_at, account_seq
from prop_fills
where account_id = %(account_id)s and account_seq > %(after)s
order by account_seq
limit %(limit)s
"""
_POSITIONS: Final = SQL("""
select opened_seq, symbol, side, status, quantity, avg_entry_price, entry_notional, leverage, margin_used, mark_price,
       marked_at, unrealized_pnl, realized_pnl, fees, opened_at, closed_at
from prop_positions
where account_id = %(account_id)s and opened_seq > %(after)s and {where}
order by opened_seq
limit %(limit)s
""")
_ACTION_COLUMNS: Final = SQL("account_id::text, decision_run_id, action, result, seq, decided_at")
_ACTION: Final = SQL("select {} from prop_decision_actions where prop_action_id = %(id)s").format(_ACTION_COLUMNS)
_ACTIONS: Final = SQL("""
select {columns} from prop_decision_actions where account_id = %(account_id)s and seq < %(after)s and {where}
order by seq desc limit %(limit)s
""")
_AUDIT: Final = """
select id, occurred_at, token_name, action, account_id::text, reason, request_id, before, after
from prop_admin_audit_log
where account_id = %(account_id)s and id < %(after)s
order by id desc
limit %(limit)s
"""
_HEAD: Final = """
select account_id::text, epoch, last_seq, head_hash from prop_account_balances where account_id = %(account_id)s
"""
_NEWEST: Final = 2**63 - 1
_EVERYTHING: Final = SQL("true")


class Queries:
    """Reads on one pool, which may be read-only."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def account(self, account_id: str) -> AccountView | None:
        found = await self.accounts_by_id([account_id])
        return found.get(account_id)

    async def accounts_by_id(self, account_ids: Sequence[str]) -> dict[str, AccountView]:
        """Those of the accounts that exist."""
        _bounded(len(account_ids) or 1)
        ids = [known for known in map(_uuid, account_ids) if known is not None]
        query = _ACCOUNTS.format(where=SQL("account.id = any(%(ids)s)"))
        found = await rows(self._pool, kwargs_row(_account), query, {"ids": ids, "limit": len(ids)})
        return {account.id: account for account in found}

    async def accounts(
        self, wanted: AccountFilter, *, after: AccountKey | None = None, limit: int
    ) -> Page[AccountView, AccountKey]:
        """Oldest first."""
        given = {name: value for name, value in msgspec.structs.asdict(wanted).items() if value is not None}
        conditions = [_CONDITIONS[name] for name in given]
        if after is not None:
            conditions.append(SQL("(account.created_at, account.id) > (%(after_at)s, %(after_id)s::uuid)"))
            given |= {"after_at": after[0], "after_id": after[1]}
        query = _ACCOUNTS.format(where=SQL(" and ").join(conditions) if conditions else _EVERYTHING)
        found = await rows(self._pool, kwargs_row(_account), query, given | {"limit": _bounded(limit) + 1})
        return _page(found, [(account.created_at, account.id) for account in found], limit)

    async def ledger(
        self, account_id: str, *, after: int = 0, limit: int, type_: str | None = None
    ) -> Page[LedgerRow, int]:
        """Events above seq `after`, by seq; only those of one type where `type_` names it."""
        query = _LEDGER.format(where=_EVERYTHING if type_ is None else SQL("type = %(type)s"))
        asked = _of(account_id, after, limit)
        if asked is None:
            return Page((), None)
        found = await rows(self._pool, class_row(LedgerRow), query, asked | {"type": type_})
        return _page(found, [event.seq for event in found], limit)

    async def orders(self, account_id: str, *, after: int = 0, limit: int) -> Page[OrderView, int]:
        """By the seq of the event that made them."""
        asked = _of(account_id, after, limit)
        found = [] if asked is None else await rows(self._pool, class_row(OrderView), _ORDERS, asked)
        return _page(found, [order.account_seq for order in found], limit)

    async def fills(self, account_id: str, *, after: int = 0, limit: int) -> Page[FillView, int]:
        """By the seq of the event that made them."""
        asked = _of(account_id, after, limit)
        found = [] if asked is None else await rows(self._pool, kwargs_row(_fill), _FILLS, asked)
        return _page(found, [fill.account_seq for fill in found], limit)

    async def positions(
        self, account_id: str, *, status: Literal["open", "closed", "all"], after: int = 0, limit: int
    ) -> Page[PositionView, int]:
        """Episodes by the seq of their opening."""
        query = _POSITIONS.format(where=_EVERYTHING if status == "all" else SQL("status = %(status)s"))
        asked = _of(account_id, after, limit)
        if asked is None:
            return Page((), None)
        found = await rows(self._pool, kwargs_row(_position), query, asked | {"status": status})
        page = _page(found, [opened_seq for opened_seq, _ in found], limit)
        return Page(tuple(position for _, position in page.data), page.next)

    async def action(self, prop_action_id: str) -> StoredAction | None:
        id_ = _uuid(prop_action_id)
        if id_ is None:
            return None
        found = await rows(self._pool, kwargs_row(_action), _ACTION, {"id": id_})
        return found[0] if found else None

    async def actions(
        self, account_id: str, wanted: ActionFilter = ANY_ACTION, *, before: int | None = None, limit: int
    ) -> Page[Receipt, int]:
        """Judged actions with their results, newest first; only those judged before the one at seq `before`."""
        asked = _of(account_id, _NEWEST if before is None else before, limit)
        if asked is None:
            return Page((), None)
        given = {name: value for name, value in msgspec.structs.asdict(wanted).items() if value is not None}
        conditions = [_ACTION_CONDITIONS[name] for name in given]
        where = SQL(" and ").join(conditions) if conditions else _EVERYTHING
        query = _ACTIONS.format(columns=_ACTION_COLUMNS, where=where)
        found = [stored.receipt for stored in await rows(self._pool, kwargs_row(_action), query, asked | given)]
        return _page(found, [receipt.seq for receipt in found], limit)

    async def audit_log(self, account_id: str, *, before: int | None = None, limit: int) -> Page[AuditRow, int]:
        """Newest first; only rows older than the one whose id is `before`."""
        asked = _of(account_id, _NEWEST if before is None else before, limit)
        found = [] if asked is None else await rows(self._pool, class_row(AuditRow), _AUDIT, asked)
        return _page(found, [row.id for row in found], limit)

    async def head(self, account_id: str) -> Head | None:
        """Where the account's durable ledger ends, and the epoch now in force."""
        id_ = _uuid(account_id)
        if id_ is None:
            return None
        found = await rows(self._pool, class_row(Head), _HEAD, {"account_id": id_})
        return found[0] if found else None


_CONDITIONS: Final = {
    "status": SQL("account.status = %(status)s"),
    "owner_id": SQL("account.owner_id = %(owner_id)s"),
    "clone_id": SQL("account.clone_id = %(clone_id)s"),
    "race_id": SQL("account.race_id = %(race_id)s"),
    "mode": SQL("account.mode = %(mode)s"),
}

_ACTION_CONDITIONS: Final = {
    "decision_run_id": SQL("decision_run_id = %(decision_run_id)s"),
    "decision_action_id": SQL("decision_action_id = %(decision_action_id)s"),
    "status": SQL("status = %(status)s"),
    "code": SQL("code = %(code)s"),
}


def _uuid(text: str) -> UUID | None:
    """The id that `text` is in the one form ids are given out in."""
    try:
        id_ = UUID(text)
    except ValueError:
        return None
    return id_ if str(id_) == text else None


def _bounded(limit: int) -> int:
    if not 1 <= limit <= LIMIT_MAX:
        raise ValueError(f"limit must be 1 to {LIMIT_MAX}, not {limit}")
    return limit


def _of(account_id: str, after: int, limit: int) -> dict[str, object] | None:
    """Parameters of a page of one account, one row more than asked: it tells whether there is a next page."""
    id_, bounded = _uuid(account_id), _bounded(limit)
    return None if id_ is None else {"account_id": id_, "after": after, "limit": bounded + 1}


def _page(found: Sequence[Item], keys: Sequence[Key], limit: int) -> Page[Item, Key]:
    return Page(tuple(found[:limit]), keys[limit - 1] if len(found) > limit else None)


def _account(*, policy: object, **columns: Any) -> AccountView:
    return AccountView(policy=msgspec.convert(policy, Policy), **columns)


def _fill(*, quote: object, **columns: Any) -> FillView:
    return FillView(quote=msgspec.convert(quote, Quote), **columns)


def _position(*, opened_seq: int, **columns: Any) -> tuple[int, PositionView]:
    return opened_seq, PositionView(**columns)


def _action(*, account_id: str, action: object, result: object, **columns: Any) -> StoredAction:
    receipt = Receipt(action=msgspec.convert(action, Action), result=msgspec.convert(result, ActionResult), **columns)
    return StoredAction(account_id, receipt)
