"""Changes: what events do to the rows of the tables.

Live trading and replay fold the same events here, so replaying a ledger yields the very rows that live trading wrote
(G5).
"""

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Final

import msgspec
from msgspec.structs import replace

from engine.account import Account
from engine.events import (
    ActionRejected,
    Event,
    FillBooked,
    FillVoided,
    MarkedToMarket,
    OrderValidated,
    PositionChanged,
    RestatedFill,
)
from engine.positions import Position
from engine.receipts import ActionKey, Receipt
from engine.views import ActionResult, FillView, OrderView, PositionView, View, position_view


class PositionRow(View, frozen=True, kw_only=True):
    """A position episode as the tables keep it; `opened_seq` tells the episodes of a (symbol, side) apart."""

    opened_seq: int
    mark_notional: Decimal
    view: PositionView


class Amendment(msgspec.Struct, frozen=True, gc=False):
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


NO_AMENDMENT: Final = Amendment()


class Changes(msgspec.Struct, frozen=True, gc=False):
    """What one run of events does to the tables: new rows, of a position only its last state, and amended ones."""

    orders: tuple[OrderView, ...]
    fills: tuple[FillView, ...]
    positions: tuple[PositionRow, ...]
    receipts: tuple[Receipt, ...]
    amendment: Amendment = NO_AMENDMENT

    @classmethod
    def together(cls, parts: Sequence["Changes"]) -> "Changes":
        """Those of decisions one after another: of a position only as it is after the last of them."""
        if len(parts) == 1:
            return parts[0]
        amendment, positions = NO_AMENDMENT, dict[int, PositionRow]()
        for each in parts:
            if each.amendment is not NO_AMENDMENT:
                amendment = amendment.then(each.amendment)
                for opened_seq in each.amendment.gone:
                    positions.pop(opened_seq, None)
            positions |= {row.opened_seq: row for row in each.positions}
        return cls(
            tuple([row for each in parts for row in each.orders]),
            tuple([row for each in parts for row in each.fills]),
            tuple(positions.values()),
            tuple([receipt for each in parts for receipt in each.receipts]),
            amendment,
        )


class PlacedEvent(msgspec.Struct, frozen=True, gc=False):
    """An event with its place and time."""

    seq: int
    at: datetime
    event: Event


def position_row(position: Position) -> PositionRow:
    return PositionRow(
        opened_seq=position.opened_seq, mark_notional=position.mark_notional, view=position_view(position)
    )


def changes(account: Account, events: Iterable[PlacedEvent]) -> Changes:
    """Fold whole decisions into rows; `account` is what they left. An order, its fill and its position always come
    together; a mark revalues every position that is still open."""
    account_id = account.id
    orders: dict[str, OrderView] = {}
    fills: dict[str, FillView] = {}
    amendment = NO_AMENDMENT
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


def answered(events: Iterable[PlacedEvent]) -> Iterator[ActionKey]:
    """The keys of the receipts of `changes`, in their order."""
    for placed in events:
        event = placed.event
        if type(event) is not OrderValidated and type(event) is not ActionRejected:
            continue
        if event.action is not None and event.decision_run_id is not None:  # the engine's own orders have none
            yield event.decision_run_id, event.action.decision_action_id


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
