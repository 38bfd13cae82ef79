"""Drift: every place where a stored row is not what the ledger makes of it, down to the single figure.

Owns the rows that follow from a replayed ledger, column by column of `tables.py`, and their comparison with what is
stored. Pure: it reads neither Postgres nor a clock.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from hashlib import blake2b
from typing import Any, Final

import msgspec

from engine import views
from engine.account import Account
from engine.canonical import canonical, plain, timestamp
from engine.changes import Changes
from engine.commands import CreateAccount
from engine.events import RecordedEvent
from engine.results import ResultView, result_of
from engine.views import AccountView, BalanceView, View

Row = Mapping[str, object]
"""A row by column name; JSON columns as their canonical text, bytes only for hashes, times as `canonical.timestamp`."""
RowKey = tuple[object, ...]
Rows = dict[RowKey, Row]

ROW: Final = "(row)"
"""The field named by a drift of a whole row: one is missing, or one is there that the ledger knows nothing of."""
PRESENT: Final = "present"


class Stored(msgspec.Struct, frozen=True):
    """All that is stored of one account: its ledger by seq, and its rows by table name."""

    account_id: str
    ledger: list[RecordedEvent]
    rows: Mapping[str, list[Row]]


class Drift(View, frozen=True, kw_only=True):
    """One figure that differs. Values as text; None is null or, for a whole row, absent."""

    account_id: str
    table: str
    key: str
    field: str
    ledger_value: str | None
    stored_value: str | None


KEYS: Final[Mapping[str, tuple[str, ...]]] = {
    "prop_accounts": ("id",),
    "prop_account_balances": ("account_id",),
    "prop_orders": ("id",),
    "prop_fills": ("id",),
    "prop_positions": ("opened_seq",),
    "prop_decision_actions": ("decision_run_id", "decision_action_id"),
    "prop_account_results": ("account_id",),
    "prop_account_snapshots": ("seq",),
}
"""The tables that follow from the ledger, with what names a row within its account."""


def derived(account: Account, ledger: Sequence[RecordedEvent], made: Changes) -> dict[str, Rows]:
    """Every row (but of snapshots) that a whole ledger makes: `account` at its end, and its changes.

    `epoch` of the balance row is left out: it may have been raised since the last event.
    """
    result = result_of(account, ledger)
    rows: dict[str, Iterable[Row]] = {
        "prop_accounts": [account_row(views.account_view(account), account.opening)],
        "prop_account_balances": [balance_row(account.id, views.balance_view(account), account.seq, ledger[-1].hash)],
        **listed(account.id, made),
        "prop_account_results": [] if result is None else [result_row(result)],
    }
    return {table: by_key(table, found) for table, found in rows.items()}


def listed(account_id: str, made: Changes) -> dict[str, list[Row]]:
    """The rows of the tables that have many of an account."""
    return {
        "prop_orders": [msgspec.structs.asdict(order) for order in made.orders],
        "prop_fills": [msgspec.structs.asdict(fill) | {"quote": _json(fill.quote)} for fill in made.fills],
        "prop_positions": list(_positions(account_id, made)),
        "prop_decision_actions": list(_actions(account_id, made)),
    }


def as_stored(row: Row) -> Row:
    """The row as a reader of the tables finds it."""
    return {name: _comparable(value) for name, value in row.items()}


def by_key(table: str, rows: Iterable[Row]) -> Rows:
    return {key_of(table, row): row for row in rows}


def key_of(table: str, row: Row) -> RowKey:
    return tuple(row[name] for name in KEYS[table])


def compared(account_id: str, table: str, ledger: Rows, stored: Rows) -> Iterator[Drift]:
    """Rows that only one side has, then fields that differ. Fields the ledger side leaves out are not compared."""
    wrong = [key for key in ledger.keys() | stored.keys() if not _agree(ledger.get(key), stored.get(key))]
    for key in sorted(wrong, key=repr):
        if key not in stored:
            yield whole_row(account_id, table, key, in_ledger=True)
        elif key not in ledger:
            yield whole_row(account_id, table, key, in_ledger=False)
        else:
            yield from differing(account_id, table, key, ledger[key], stored[key])


def _agree(ledger: Row | None, stored: Row | None) -> bool:
    """Nearly all rows do, so this is the quick way."""
    if ledger is None or stored is None:
        return False
    for field, value in ledger.items():
        if (timestamp(value) if type(value) is datetime else value) != stored[field]:
            return False
    return True


def differing(account_id: str, table: str, key: RowKey, ledger: Row, stored: Row) -> Iterator[Drift]:
    for field, value in ledger.items():
        if _comparable(value) != stored[field]:
            yield Drift(
                account_id=account_id,
                table=table,
                key=_key_text(key),
                field=field,
                ledger_value=_shown(value),
                stored_value=_shown(stored[field]),
            )


def whole_row(account_id: str, table: str, key: RowKey, *, in_ledger: bool) -> Drift:
    return Drift(
        account_id=account_id,
        table=table,
        key=_key_text(key),
        field=ROW,
        ledger_value=PRESENT if in_ledger else None,
        stored_value=None if in_ledger else PRESENT,
    )


def compared_live(account: Account, live: Mapping[str, Any]) -> Iterator[Drift]:
    """A live snapshot, as the wire shows it, against the replayed one. What only the wire has (ages) is left out."""
    shown = dict(_flat("", live))
    for path, value in _flat("", plain(views.snapshot_view(account))):
        if path not in shown or shown[path] != value:
            yield Drift(
                account_id=account.id,
                table="live",
                key=str(account.seq),
                field=path,
                ledger_value=_shown(value),
                stored_value=_shown(shown.get(path)),
            )
    count = len(live.get("positions") or ())
    if count > len(account.positions):
        yield Drift(
            account_id=account.id,
            table="live",
            key=str(account.seq),
            field="positions",
            ledger_value=str(len(account.positions)),
            stored_value=str(count),
        )


def account_row(view: AccountView, opening: CreateAccount) -> Row:
    fields = msgspec.structs.asdict(view)
    del fields["account_seq"]  # the balance row keeps it, as last_seq
    return fields | {
        "policy": _json(opening.policy),
        "metadata": _json(opening.metadata),
        "opening": _json(opening),
        "idempotency_key": opening.idempotency_key,
    }


def balance_row(account_id: str, view: BalanceView, last_seq: int, head: bytes) -> Row:
    return {"account_id": account_id, **msgspec.structs.asdict(view), "last_seq": last_seq, "head_hash": head}


def result_row(result: ResultView) -> Row:
    return {
        "account_id": result.account_id,
        "account_seq": result.account_seq,
        "status": result.status,
        "ended_at": result.ended_at,
        "policy_hash": bytes.fromhex(result.policy_hash),
        "head_hash": bytes.fromhex(result.head_hash),
        "result": _json(result),
    }


def _positions(account_id: str, made: Changes) -> Iterator[Row]:
    for row in made.positions:
        fields = msgspec.structs.asdict(row.view)
        yield {"account_id": account_id, "opened_seq": row.opened_seq, "mark_notional": row.mark_notional, **fields}


def _actions(account_id: str, made: Changes) -> Iterator[Row]:
    for receipt in made.receipts:
        action, result = canonical(receipt.action), receipt.result
        yield {
            "account_id": account_id,
            "decision_run_id": receipt.decision_run_id,
            "decision_action_id": receipt.action.decision_action_id,
            "prop_action_id": result.prop_action_id,
            "fingerprint": blake2b(action, digest_size=32).digest(),
            "action": action.decode(),
            "result": _json(result),
            "status": result.status,
            "code": result.code,
            "seq": receipt.seq,
            "decided_at": receipt.decided_at,
        }


def _json(value: object) -> str:
    return canonical(value).decode()


def _flat(path: str, value: Any) -> Iterator[tuple[str, object]]:
    if isinstance(value, Mapping):
        for name, item in value.items():
            yield from _flat(f"{path}.{name}" if path else str(name), item)
    elif isinstance(value, list | tuple):
        for place, item in enumerate(value):
            yield from _flat(f"{path}[{place}]", item)
    else:
        yield path, value


def _comparable(value: object) -> object:
    return timestamp(value) if isinstance(value, datetime) else value


def _key_text(key: RowKey) -> str:
    return "/".join(str(part) for part in key)


def _shown(value: object) -> str | None:
    match value:
        case None:
            return None
        case Decimal():
            return format(value, "f")
        case datetime():
            return timestamp(value)
        case bytes():
            return value.hex()
        case _:
            return str(value)
