"""Rows of the write path as text, in the column order of each table. The hot path: every append passes here.

A row is a tuple of Postgres text values, None for null. Decimals go as `str` gives them (`0E-8` is a numeric to
Postgres), times as ISO 8601, JSON in canonical form: payloads as they are.

What no text can hold (a lone surrogate) is raised as `UnicodeEncodeError`.
"""

from collections.abc import Iterable, Sequence
from hashlib import blake2b
from typing import Final

import msgspec

from engine.canonical import canonical
from engine.views import FillView, OrderView, PositionRow, Receipt
from persistence.store import Append

Row = tuple[str | None, ...]


class Columns(msgspec.Struct, frozen=True):
    """A table's columns in row order, as (name, type). Those in `free` may hold any text, so they are escaped."""

    table: str
    columns: tuple[tuple[str, str], ...]
    free: frozenset[int]

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(name for name, _ in self.columns)


def _columns(table: str, free: str, columns: str) -> Columns:
    """From `name type, ...`; `free` names the columns that may hold any text."""
    pairs = [column.split() for column in columns.split(",")]
    named = [name for name, _ in pairs]
    return Columns(
        table, tuple((name, type_) for name, type_ in pairs), frozenset(named.index(name) for name in free.split())
    )


HEADS: Final = _columns(
    "prop_account_balances",
    "",
    """account_id uuid, epoch bigint, expected_seq bigint, last_seq bigint, head_hash bytea, cash numeric,
    equity numeric, realized_pnl numeric, unrealized_pnl numeric, fees_paid numeric, adjustments numeric,
    margin_used numeric, free_margin numeric, high_watermark numeric, drawdown numeric, liquidation_equity numeric""",
)
EVENTS: Final = _columns(
    "prop_ledger_events",
    "request_id payload",
    """account_id uuid, seq bigint, type text, version smallint, occurred_at timestamptz, epoch bigint,
    request_id text, payload jsonb, hash bytea""",
)
ORDERS: Final = _columns(
    "prop_orders",
    "symbol",
    """id uuid, account_id uuid, account_seq bigint, prop_action_id uuid, symbol text, side text, intent text,
    quantity numeric, leverage numeric, status text, created_at timestamptz""",
)
FILLS: Final = _columns(
    "prop_fills",
    "symbol quote",
    """id uuid, order_id uuid, account_id uuid, account_seq bigint, symbol text, side text, intent text,
    quantity numeric, price numeric, notional numeric, fee numeric, realized_pnl numeric, quote jsonb, status text,
    filled_at timestamptz""",
)
ACTIONS: Final = _columns(
    "prop_decision_actions",
    "decision_run_id decision_action_id action result",
    """account_id uuid, decision_run_id text, decision_action_id text, prop_action_id uuid, fingerprint bytea,
    action jsonb, result jsonb, status text, code text, seq bigint, decided_at timestamptz""",
)
POSITIONS: Final = _columns(
    "prop_positions",
    "symbol",
    """account_id uuid, opened_seq bigint, symbol text, side text, status text, quantity numeric,
    entry_notional numeric, avg_entry_price numeric, leverage numeric, margin_used numeric, mark_price numeric,
    mark_notional numeric, marked_at timestamptz, unrealized_pnl numeric, realized_pnl numeric, fees numeric,
    opened_at timestamptz, closed_at timestamptz""",
)
STATES: Final = _columns(
    "prop_accounts",
    "end_reason",
    "id uuid, status text, started_at timestamptz, ended_at timestamptz, end_reason text",
)


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
            event.occurred_at.isoformat(),
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


def actions(appends: Iterable[Append]) -> list[Row]:
    return [_action(append.account_id, receipt) for append in appends for receipt in append.receipts]


def positions(appends: Iterable[Append]) -> list[Row]:
    return [_position(append.account_id, row) for append in appends for row in append.positions]


def states(appends: Iterable[Append]) -> list[Row]:
    """Only of accounts whose state these events change."""
    return [
        (
            append.account_id,
            append.account.status,
            append.account.started_at.isoformat() if append.account.started_at else None,
            append.account.ended_at.isoformat() if append.account.ended_at else None,
            append.account.end_reason,
        )
        for append in appends
        if any(event.type.startswith("account_") for event in append.events)
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
        order.created_at.isoformat(),
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
        fill.filled_at.isoformat(),
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
        receipt.decided_at.isoformat(),
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
        view.marked_at.isoformat(),
        str(view.unrealized_pnl),
        str(view.realized_pnl),
        str(view.fees),
        view.opened_at.isoformat(),
        view.closed_at.isoformat() if view.closed_at else None,
    )


def copy_text(shape: Columns, rows: Sequence[Row]) -> bytes:
    """The rows in COPY's text format. A bytea's leading backslash is doubled with the rest of its column."""
    lines = []
    escaped = [place for place, (_, type_) in enumerate(shape.columns) if place in shape.free or type_ == "bytea"]
    nullable = [place for place in range(len(shape.columns)) if any(row[place] is None for row in rows)]
    for row in rows:
        values = list(row)
        for place in escaped:
            text = values[place]
            if text is not None:
                values[place] = _copy_escaped(text)
        for place in nullable:
            if values[place] is None:
                values[place] = "\\N"
        lines.append("\t".join(values))  # type: ignore[arg-type]  # no None is left
    lines.append("")
    return "\n".join(lines).encode()


def array_texts(shape: Columns, rows: Sequence[Row]) -> list[str]:
    """The rows as one array literal a column, for `unnest`."""
    arrays = []
    for place, column in enumerate(zip(*rows, strict=True)):
        if place in shape.free or shape.columns[place][1] == "bytea":
            column = tuple(None if text is None else _array_quoted(text) for text in column)
        if None in column:
            column = tuple("NULL" if text is None else text for text in column)
        arrays.append("{" + ",".join(column) + "}")
    return arrays


def _copy_escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace("\n", "\\n").replace("\r", "\\r").replace("\t", "\\t")


def _array_quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
