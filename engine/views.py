"""Views: what the outside sees of accounts, derived from state and events and from nothing else.

The wire objects of API.md and the rows of the tables are both made here, so replaying a ledger yields the very
rows that live trading wrote (G5). Field order is the wire's; names become camelCase when encoded.
"""

from collections.abc import Iterable
from datetime import datetime
from decimal import Decimal
from typing import Literal

import msgspec
from msgspec.structs import replace

from engine import gates
from engine.account import Account, Counters, Status
from engine.commands import Action, Mode
from engine.events import (
    ActionRejected,
    Event,
    FillBooked,
    FillVoided,
    Intent,
    MarkedToMarket,
    OrderValidated,
    PositionChanged,
    RestatedFill,
)
from engine.money import UNIT, per_cent
from engine.policy import LONG, SHORT, Policy, Side
from engine.positions import Position
from engine.quotes import Quote, Quotes, age_ms, usable
from engine.rejections import Failure, GateCode

ActionStatus = Literal["executed", "rejected"]


class View(msgspec.Struct, frozen=True, rename="camel", kw_only=True):
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


ActionKey = tuple[str, str]
"""(decisionRunId, decisionActionId): judged once for ever in an account."""


class Receipt(View, frozen=True, kw_only=True):
    """A remembered outcome: what was asked under a key, what became of it, and by which event."""

    decision_run_id: str
    action: Action
    result: ActionResult
    seq: int
    decided_at: datetime

    @property
    def key(self) -> ActionKey:
        return self.decision_run_id, self.action.decision_action_id


class PositionRow(View, frozen=True, kw_only=True):
    """A position episode as the tables keep it; `opened_seq` tells the episodes of a (symbol, side) apart."""

    opened_seq: int
    mark_notional: Decimal
    view: PositionView


class Amendment(msgspec.Struct, frozen=True):
    """What corrections do to rows that were written before: ids of orders and fills that are voided, fills with other
    figures, and the `opened_seq` of position episodes that are no more (taken away before any row is put)."""

    orders: tuple[str, ...] = ()
    fills: tuple[str, ...] = ()
    restated: tuple[RestatedFill, ...] = ()
    gone: tuple[int, ...] = ()

    def then(self, later: "Amendment") -> "Amendment":
        """Both, one after the other; the later figures of a fill count."""
        figures = {fill.fill_id: fill for fill in (*self.restated, *later.restated)}
        gone = tuple(dict.fromkeys(self.gone + later.gone))
        return Amendment(self.orders + later.orders, self.fills + later.fills, tuple(figures.values()), gone)


class Changes(msgspec.Struct, frozen=True):
    """What one run of events does to the tables: new rows, of a position only its last state, and amended ones."""

    orders: tuple[OrderView, ...]
    fills: tuple[FillView, ...]
    positions: tuple[PositionRow, ...]
    receipts: tuple[Receipt, ...]
    amendment: Amendment = Amendment()


class PlacedEvent(msgspec.Struct, frozen=True):
    """An event with its place and time."""

    seq: int
    at: datetime
    event: Event


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
        drawdown=account.drawdown,
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


def position_row(position: Position) -> PositionRow:
    return PositionRow(
        opened_seq=position.opened_seq, mark_notional=position.mark_notional, view=position_view(position)
    )


def open_positions(account: Account) -> tuple[PositionView, ...]:
    """By symbol, then side."""
    return tuple(position_view(account.positions[key]) for key in sorted(account.positions))


def changes(account: Account, events: Iterable[PlacedEvent]) -> Changes:
    """Fold whole decisions into rows; `account` is what they left. An order, its fill and its position always come
    together; a mark revalues every position that is still open."""
    account_id = account.id
    orders: dict[str, OrderView] = {}
    fills: dict[str, FillView] = {}
    amendment = Amendment()
    positions: dict[int, PositionRow] = {}
    receipts: list[Receipt] = []
    asked: OrderValidated | None = None
    booked: FillView | None = None
    for placed in events:
        match placed.event:
            case OrderValidated() as order:
                asked = order
                orders[order.order_id] = _order(account_id, placed, order)
            case FillBooked() as fill:
                fills[fill.fill_id] = booked = _fill(account_id, placed, fill)
            case PositionChanged(position=position):
                positions[position.opened_seq] = position_row(position)
                if asked is not None and asked.action is not None and booked is not None:
                    order_view, row = orders[asked.order_id], positions[position.opened_seq]
                    receipts.append(_executed(asked, order_view, booked, row, placed))
                asked = None
            case ActionRejected() as rejected:
                receipts.append(_rejected(rejected, placed))
            case MarkedToMarket():
                positions |= {open_.opened_seq: position_row(open_) for open_ in account.positions.values()}
            case FillVoided() as voided:
                amendment = amendment.then(_amended(orders, fills, voided))
                for opened_seq in voided.gone:
                    positions.pop(opened_seq, None)
                positions |= {each.opened_seq: position_row(each) for each in (*voided.closed, *voided.positions)}
            case _:
                pass
    return Changes(tuple(orders.values()), tuple(fills.values()), tuple(positions.values()), tuple(receipts), amendment)


def _amended(orders: dict[str, OrderView], fills: dict[str, FillView], voided: FillVoided) -> Amendment:
    """Correct the rows that are at hand, and name the others. Receipts stay as they were answered."""
    for order_id in voided.order_ids:
        if order_id in orders:
            orders[order_id] = replace(orders[order_id], status="voided")
    for fill_id in voided.fill_ids:
        if fill_id in fills:
            fills[fill_id] = replace(fills[fill_id], status="voided")
    for restated in voided.restated_fills:
        if restated.fill_id in fills:
            fills[restated.fill_id] = replace(fills[restated.fill_id], realized_pnl=restated.realized_pnl)
    return Amendment(
        orders=tuple(each for each in voided.order_ids if each not in orders),
        fills=tuple(each for each in voided.fill_ids if each not in fills),
        restated=tuple(each for each in voided.restated_fills if each.fill_id not in fills),
        gone=voided.gone,
    )


def _order(account_id: str, placed: PlacedEvent, order: OrderValidated) -> OrderView:
    return OrderView(
        id=order.order_id,
        account_id=account_id,
        prop_action_id=order.prop_action_id,
        symbol=order.symbol,
        side=order.side,
        intent=order.intent,
        quantity=order.quantity,
        leverage=order.leverage,
        status="filled",
        created_at=placed.at,
        account_seq=placed.seq,
    )


def _fill(account_id: str, placed: PlacedEvent, fill: FillBooked) -> FillView:
    return FillView(
        id=fill.fill_id,
        order_id=fill.order_id,
        account_id=account_id,
        symbol=fill.symbol,
        side=fill.side,
        intent=fill.intent,
        quantity=fill.quantity,
        price=fill.price,
        notional=fill.notional,
        fee=fill.fee,
        realized_pnl=fill.realized_pnl,
        quote=fill.quote,
        status="booked",
        filled_at=placed.at,
        account_seq=placed.seq,
    )


def _executed(
    asked: OrderValidated, order: OrderView, fill: FillView, position: PositionRow, placed: PlacedEvent
) -> Receipt:
    if asked.action is None or asked.prop_action_id is None or asked.decision_run_id is None:
        raise AssertionError(f"order {asked.order_id} of an action names none")
    result = ActionResult(
        decision_action_id=asked.action.decision_action_id,
        prop_action_id=asked.prop_action_id,
        status="executed",
        replayed=False,
        code=None,
        failures=(),
        max_quantity=None,
        order=order,
        fill=fill,
        position=position.view,
    )
    return Receipt(
        decision_run_id=asked.decision_run_id,
        action=asked.action,
        result=result,
        seq=placed.seq,
        decided_at=placed.at,
    )


def _rejected(rejected: ActionRejected, placed: PlacedEvent) -> Receipt:
    result = ActionResult(
        decision_action_id=rejected.action.decision_action_id,
        prop_action_id=rejected.prop_action_id,
        status="rejected",
        replayed=False,
        code=rejected.code,
        failures=rejected.failures,
        max_quantity=rejected.max_quantity,
        order=None,
        fill=None,
        position=None,
    )
    return Receipt(
        decision_run_id=rejected.decision_run_id,
        action=rejected.action,
        result=result,
        seq=placed.seq,
        decided_at=placed.at,
    )


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


class Capacity(View, frozen=True, kw_only=True):
    """The largest quantity an `open` of this side would get through gates 11, 13, 14 and 15 now; null where none."""

    side: Side
    max_quantity: Decimal | None
    price: Decimal | None
    blocked_by: GateCode | None


class SymbolContext(View, frozen=True, kw_only=True):
    """A symbol as an agent may trade it now."""

    symbol: str
    quote: Quote | None
    age_ms: int | None
    fresh: bool
    capacity: tuple[Capacity, ...]


class LiquidationDistance(View, frozen=True, kw_only=True):
    """How far equity is from where a mark liquidates; `per_cent` of equity, 0 where there is none left."""

    liquidation_equity: Decimal
    money: Decimal
    per_cent: Decimal


class DecisionContextView(View, frozen=True, kw_only=True):
    """What an agent needs before it decides."""

    snapshot: SnapshotView
    policy: Policy
    symbols: tuple[SymbolContext, ...]
    liquidation_distance: LiquidationDistance


def decision_context(account: Account, quotes: Quotes, now: datetime) -> DecisionContextView:
    """Snapshot, policy, quotes with ages, room per symbol and side, distance to liquidation."""
    policy = account.policy
    symbols = set(quotes) | {position.symbol for position in account.positions.values()}
    if policy.allowed_assets is not None:
        symbols &= set(policy.allowed_assets)
    distance = account.equity - account.liquidation_equity
    return DecisionContextView(
        snapshot=snapshot_view(account),
        policy=policy,
        symbols=tuple(_symbol_context(account, symbol, quotes, now) for symbol in sorted(symbols)),
        liquidation_distance=LiquidationDistance(
            liquidation_equity=account.liquidation_equity, money=distance, per_cent=per_cent(distance, account.equity)
        ),
    )


def _symbol_context(account: Account, symbol: str, quotes: Quotes, now: datetime) -> SymbolContext:
    found = usable(quotes, symbol, now, account.policy.quote_max_age_ms.trade)
    quote = found if isinstance(found, Quote) else None
    shown = quotes.get(symbol)
    sides: tuple[Side, ...] = (LONG, SHORT)
    return SymbolContext(
        symbol=symbol,
        quote=quote,
        age_ms=age_ms(shown, now) if shown else None,
        fresh=quote is not None,
        capacity=tuple(_capacity(account, symbol, side, quotes, now) for side in sides),
    )


def _capacity(account: Account, symbol: str, side: Side, quotes: Quotes, now: datetime) -> Capacity:
    """What the gates themselves say of the smallest opening, and how far a larger one could go."""
    probe = Action(decision_action_id="", action="open", symbol=symbol, side=side, quantity=UNIT)
    proposed = gates.proposal(account, probe, quotes, now)
    codes = [failure.code for failure in gates.judge(proposed).failures]
    shut = next((code for code in codes if code not in gates.SIZE_GATES), None)
    if shut is not None:
        return Capacity(side=side, max_quantity=None, price=None, blocked_by=shut)
    quantity_max = None if codes else proposed.room.quantity_max()
    return Capacity(side=side, max_quantity=quantity_max, price=proposed.price, blocked_by=codes[0] if codes else None)
