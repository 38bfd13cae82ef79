"""Rows of the write path as text, in the column order of each table. The hot path: every append passes here.

Decimals go as `str` gives them (`0E-8` is a numeric to Postgres), times as ISO 8601, JSON in canonical form: payloads
as they are.
"""

from collections.abc import Iterable
from datetime import datetime
from functools import lru_cache
from hashlib import blake2b
from typing import Final

import msgspec

from engine.canonical import canonical, plain
from engine.changes import PositionRow
from engine.receipts import Receipt
from engine.views import FillView, OrderView, View
from persistence.columns import Row, columns
from persistence.store import Append, AuditEntry

_at = lru_cache(maxsize=1024)(datetime.isoformat)
"""An action writes its time a dozen times."""


HEADS: Final = columns(
    "prop_account_balances",
    "",
    """account_id uuid, epoch bigint, expected_seq bigint, last_seq bigint, head_hash bytea, cash numeric,
    equity numeric, realized_pnl numeric, unrealized_pnl numeric, fees_paid numeric, adjustments numeric,
    margin_used numeric, free_margin numeric, high_watermark numeric, drawdown numeric, liquidation_equity numeric""",
)
EVENTS: Final = columns(
    "prop_ledger_events",
    "request_id payload",
    """account_id uuid, seq bigint, type text, version smallint, occurred_at timestamptz, epoch bigint,
    request_id text, payload jsonb, hash bytea""",
)
ORDERS: Final = columns(
    "prop_orders",
    "symbol",
    """id uuid, account_id uuid, account_seq bigint, prop_action_id uuid, symbol text, side text, intent text,
    quantity numeric, leverage numeric, status text, created_at timestamptz""",
)
FILLS: Final = columns(
    "prop_fills",
    "symbol quote",
    """id uuid, order_id uuid, account_id uuid, account_seq bigint, symbol text, side text, intent text,
    quantity numeric, price numeric, notional numeric, fee numeric, realized_pnl numeric, quote jsonb, status text,
    filled_at timestamptz""",
)
ACTIONS: Final = columns(
    "prop_decision_actions",
    "decision_run_id decision_action_id action result",
    """account_id uuid, decision_run_id text, decision_action_id text, prop_action_id uuid, fingerprint bytea,
    action jsonb, result jsonb, status text, code text, seq bigint, decided_at timestamptz""",
)
POSITIONS: Final = columns(
    "prop_positions",
    "symbol",
    """account_id uuid, opened_seq bigint, symbol text, side text, status text, quantity numeric,
    entry_notional numeric, avg_entry_price numeric, leverage numeric, margin_used numeric, mark_price numeric,
    mark_notional numeric, marked_at timestamptz, unrealized_pnl numeric, realized_pnl numeric, fees numeric,
    opened_at timestamptz, closed_at timestamptz""",
)
REVALUED: Final = columns(
    "prop_positions",
    "",
    """account_id uuid, opened_seq bigint, margin_used numeric, mark_price numeric, mark_notional numeric,
    marked_at timestamptz, unrealized_pnl numeric""",
)
STATES: Final = columns(
    "prop_accounts",
    "end_reason",
    "id uuid, status text, started_at timestamptz, ended_at timestamptz, end_reason text",
)
AUDIT: Final = columns(
    "prop_admin_audit_log",
    "token_name reason request_id before after",
    """token_name text, action text, account_id uuid, reason text, request_id text, before jsonb, after jsonb""",
)
RESULTS: Final = columns(
    "prop_account_results",
    "result",
    """account_id uuid, account_seq bigint, status text, ended_at timestamptz, policy_hash bytea, head_hash bytea,
    result jsonb""",
)
VOIDED: Final = columns("", "", "id uuid")
RESTATED: Final = columns("prop_fills", "", "id uuid, realized_pnl numeric")
GONE: Final = columns("prop_positions", "", "account_id uuid, opened_seq bigint")


def heads(appends: Iterable[Append]) -> list[Row]:
    rows: list[Row] = []
    for append in appends:
        held = append.balance
        rows.append(
            (
                append.account_id,
                str(append.epoch),
                str(append.expected_seq),
                str(append.last_seq),
                "\\x" + append.head_hash.hex(),
                str(held.cash),
                str(held.equity),
                str(held.realized_pnl),
                str(held.unrealized_pnl),
                str(held.fees_paid),
                str(held.adjustments),
                str(held.margin_used),
                str(held.free_margin),
                str(held.high_watermark),
                str(held.drawdown),
                str(held.liquidation_equity),
            )
        )
    return rows


def events(appends: Iterable[Append]) -> list[Row]:
    return [
        (
            event.account_id,
            str(event.seq),
            event.type,
            str(event.version),
            _at(event.occurred_at),
            str(event.epoch),
            event.request_id,
            event.payload.decode(),
            "\\x" + event.hash.hex(),
        )
        for append in appends
        for event in append.events
    ]


def orders(appends: Iterable[Append]) -> list[Row]:
    return [_order(order) for append in appends for order in append.orders]


def fills(appends: Iterable[Append]) -> list[Row]:
    return [_fill(fill) for append in appends for fill in append.fills]


def voided_orders(appends: Iterable[Append]) -> list[Row]:
    """Orders that stand already and are taken out now."""
    return [(order_id,) for append in appends for order_id in append.amendment.orders]


def voided_fills(appends: Iterable[Append]) -> list[Row]:
    """Fills that stand already and are taken out now."""
    return [(fill_id,) for append in appends for fill_id in append.amendment.fills]


def restated(appends: Iterable[Append]) -> list[Row]:
    """Fills that stand already and have other figures now."""
    return [(fill.fill_id, str(fill.realized_pnl)) for append in appends for fill in append.amendment.restated]


def gone(appends: Iterable[Append]) -> list[Row]:
    """Position episodes that are no more."""
    return [(append.account_id, str(seq)) for append in appends for seq in append.amendment.gone]


def audit(entries: Iterable[AuditEntry]) -> list[Row]:
    return [
        (
            entry.token_name,
            entry.action,
            entry.account_id,
            entry.reason,
            entry.request_id,
            _wire(entry.before),
            _wire(entry.after),
        )
        for entry in entries
    ]


def actions(appends: Iterable[Append]) -> list[Row]:
    return [_action(append.account_id, receipt) for append in appends for receipt in append.receipts]


def positions(appends: Iterable[Append]) -> list[Row]:
    """Whole rows, of appends that may have traded."""
    return [
        _position(append.account_id, row) for append in appends if not append.only_marks for row in append.positions
    ]


def revalued(appends: Iterable[Append]) -> list[Row]:
    """Of positions that stand already and were only marked: what a mark changes."""
    return [
        (
            append.account_id,
            str(row.opened_seq),
            str(row.view.margin_used),
            str(row.view.mark_price),
            str(row.mark_notional),
            _at(row.view.marked_at),
            str(row.view.unrealized_pnl),
        )
        for append in appends
        if append.only_marks
        for row in append.positions
    ]


def states(appends: Iterable[Append]) -> list[Row]:
    """Only of accounts whose state these events change."""
    return [
        (
            append.account_id,
            append.account.status,
            _at(append.account.started_at) if append.account.started_at else None,
            _at(append.account.ended_at) if append.account.ended_at else None,
            append.account.end_reason,
        )
        for append in appends
        if any(event.type.startswith("account_") for event in append.events)
    ]


def _wire(view: View | None) -> str | None:
    """As it is shown, for a reader of the table; nothing is hashed over it."""
    return None if view is None else msgspec.json.encode(plain(view)).decode()


def results(appends: Iterable[Append]) -> list[Row]:
    """Of accounts that these events end."""
    return [
        (
            result.account_id,
            str(result.account_seq),
            result.status,
            _at(result.ended_at),
            "\\x" + result.policy_hash,
            "\\x" + result.head_hash,
            canonical(result).decode(),
        )
        for append in appends
        if (result := append.result) is not None
    ]


def _order(order: OrderView) -> Row:
    return (
        order.id,
        order.account_id,
        str(order.account_seq),
        order.prop_action_id,
        order.symbol,
        order.side,
        order.intent,
        str(order.quantity),
        str(order.leverage),
        order.status,
        _at(order.created_at),
    )


def _fill(fill: FillView) -> Row:
    return (
        fill.id,
        fill.order_id,
        fill.account_id,
        str(fill.account_seq),
        fill.symbol,
        fill.side,
        fill.intent,
        str(fill.quantity),
        str(fill.price),
        str(fill.notional),
        str(fill.fee),
        str(fill.realized_pnl),
        canonical(fill.quote).decode(),
        fill.status,
        _at(fill.filled_at),
    )


def _action(account_id: str, receipt: Receipt) -> Row:
    action, result = canonical(receipt.action), receipt.result
    return (
        account_id,
        receipt.decision_run_id,
        receipt.action.decision_action_id,
        result.prop_action_id,
        "\\x" + blake2b(action, digest_size=32).hexdigest(),
        action.decode(),
        canonical(result).decode(),
        result.status,
        result.code.value if result.code is not None else None,
        str(receipt.seq),
        _at(receipt.decided_at),
    )


def _position(account_id: str, row: PositionRow) -> Row:
    view = row.view
    return (
        account_id,
        str(row.opened_seq),
        view.symbol,
        view.side,
        view.status,
        str(view.quantity),
        str(view.entry_notional),
        str(view.avg_entry_price),
        str(view.leverage),
        str(view.margin_used),
        str(view.mark_price),
        str(row.mark_notional),
        _at(view.marked_at),
        str(view.unrealized_pnl),
        str(view.realized_pnl),
        str(view.fees),
        _at(view.opened_at),
        _at(view.closed_at) if view.closed_at else None,
    )
