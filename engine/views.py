"""Views: what the outside sees of an account, derived from its state and from nothing else.

The wire objects of API.md are made here. Field order is the wire's; names become camelCase when encoded. The rows that
events make of them are in `engine.changes`.
"""

from datetime import datetime
from decimal import Decimal
from typing import Literal

import msgspec

from engine.account import Account, Counters, Status
from engine.commands import Mode
from engine.events import Intent
from engine.policy import Policy, Side
from engine.positions import Position
from engine.quotes import Quote
from engine.rejections import Failure, GateCode

ActionStatus = Literal["executed", "rejected"]


class View(msgspec.Struct, frozen=True, gc=False, rename="camel", kw_only=True):
    """A wire object."""


class AccountView(View, frozen=True, kw_only=True):
    id: str
    status: Status
    owner_id: str
    clone_id: str
    parent_account_id: str | None
    race_id: str | None
    mode: Mode
    currency: str
    starting_balance: Decimal
    policy: Policy
    created_at: datetime
    started_at: datetime | None
    ended_at: datetime | None
    end_reason: str | None
    account_seq: int


class BalanceView(View, frozen=True, kw_only=True):
    cash: Decimal
    equity: Decimal
    realized_pnl: Decimal
    unrealized_pnl: Decimal
    fees_paid: Decimal
    adjustments: Decimal
    margin_used: Decimal
    free_margin: Decimal
    high_watermark: Decimal
    drawdown: Decimal
    liquidation_equity: Decimal


class PositionView(View, frozen=True, kw_only=True):
    symbol: str
    side: Side
    status: Literal["open", "closed"]
    quantity: Decimal
    avg_entry_price: Decimal
    entry_notional: Decimal
    leverage: Decimal
    margin_used: Decimal
    mark_price: Decimal
    marked_at: datetime
    unrealized_pnl: Decimal
    realized_pnl: Decimal
    fees: Decimal
    opened_at: datetime
    closed_at: datetime | None


class OrderView(View, frozen=True, kw_only=True):
    id: str
    account_id: str
    prop_action_id: str | None
    symbol: str
    side: Side
    intent: Intent
    quantity: Decimal
    leverage: Decimal
    status: Literal["filled", "voided"]
    created_at: datetime
    account_seq: int


class FillView(View, frozen=True, kw_only=True):
    id: str
    order_id: str
    account_id: str
    symbol: str
    side: Side
    intent: Intent
    quantity: Decimal
    price: Decimal
    notional: Decimal
    fee: Decimal
    realized_pnl: Decimal
    quote: Quote
    status: Literal["booked", "voided"]
    filled_at: datetime
    account_seq: int


class ActionResult(View, frozen=True, kw_only=True):
    """The one true outcome of an action key; `replayed` is False as stored and True in a repeated answer."""

    decision_action_id: str
    prop_action_id: str
    status: ActionStatus
    replayed: bool
    code: GateCode | None
    failures: tuple[Failure, ...]
    max_quantity: Decimal | None
    order: OrderView | None
    fill: FillView | None
    position: PositionView | None


def account_view(account: Account) -> AccountView:
    opening = account.opening
    return AccountView(
        id=account.id,
        status=account.status,
        owner_id=opening.owner_id,
        clone_id=opening.clone_id,
        parent_account_id=opening.parent_account_id,
        race_id=opening.race_id,
        mode=opening.mode,
        currency=opening.currency,
        starting_balance=opening.starting_balance,
        policy=opening.policy,
        created_at=account.created_at,
        started_at=account.started_at,
        ended_at=account.ended_at,
        end_reason=account.end_reason,
        account_seq=account.seq,
    )


def balance_view(account: Account) -> BalanceView:
    equity, margin_used = account.equity, account.margin_used
    return BalanceView(
        cash=account.cash,
        equity=equity,
        realized_pnl=account.realized_pnl,
        unrealized_pnl=equity - account.cash,
        fees_paid=account.fees_paid,
        adjustments=account.adjustments,
        margin_used=margin_used,
        free_margin=equity - margin_used,
        high_watermark=account.high_watermark,
        drawdown=account.drawdown_at(equity),
        liquidation_equity=account.liquidation_equity,
    )


def position_view(position: Position) -> PositionView:
    return PositionView(
        symbol=position.symbol,
        side=position.side,
        status="open" if position.closed_at is None else "closed",
        quantity=position.quantity,
        avg_entry_price=position.avg_entry_price,
        entry_notional=position.entry_notional,
        leverage=position.leverage,
        margin_used=position.margin_used,
        mark_price=position.mark_price,
        marked_at=position.marked_at,
        unrealized_pnl=position.unrealized_pnl,
        realized_pnl=position.realized_pnl,
        fees=position.fees,
        opened_at=position.opened_at,
        closed_at=position.closed_at,
    )


def open_positions(account: Account) -> tuple[PositionView, ...]:
    """By symbol, then side."""
    return tuple(position_view(account.positions[key]) for key in sorted(account.positions))


class SnapshotView(View, frozen=True, kw_only=True):
    """One account at `account_seq`. Ages are for the gateway to add: they need a clock."""

    account: AccountView
    account_seq: int
    balance: BalanceView
    positions: tuple[PositionView, ...]
    counters: Counters
    valuation: Literal["full", "stale"]


def snapshot_view(account: Account) -> SnapshotView:
    return SnapshotView(
        account=account_view(account),
        account_seq=account.seq,
        balance=balance_view(account),
        positions=open_positions(account),
        counters=account.counters,
        valuation="stale" if account.stale else "full",
    )
