"""Events: what happened to an account, in the past tense, with every figure that made it so.

Stored names are a contract: each event has a tag and a version, is decoded by them, and is upcast on read
when it is older. Events carry outcomes (price, fee, quantity, resulting position), so that `evolve` never asks
for a price or a policy.
"""

from datetime import date, datetime
from decimal import Decimal
from typing import ClassVar, Final, Literal

import msgspec

from engine.commands import Action, CreateAccount, Settle
from engine.day import Day, FloorRule
from engine.policy import Side
from engine.positions import Position
from engine.quotes import Quote
from engine.record import Tally
from engine.rejections import Failure, GateCode
from engine.rules import Floor

Intent = Literal["open", "reduce", "close", "liquidate"]
LiquidationTrigger = FloorRule | Literal["requested"]


class Event(msgspec.Struct, frozen=True, gc=False, rename="camel", kw_only=True):
    """One fact. `TYPE` is its tag in the ledger, `VERSION` the shape of its payload."""

    TYPE: ClassVar[str]
    VERSION: ClassVar[int] = 1


class AccountCreated(Event, frozen=True, kw_only=True):
    TYPE = "account_created"
    opening: CreateAccount


class AccountStarted(Event, frozen=True, kw_only=True):
    TYPE = "account_started"


class AccountPaused(Event, frozen=True, kw_only=True):
    TYPE = "account_paused"
    reason: str


class AccountResumed(Event, frozen=True, kw_only=True):
    TYPE = "account_resumed"
    reason: str


class AccountLocked(Event, frozen=True, kw_only=True):
    TYPE = "account_locked"
    reason: str


class AccountCompleted(Event, frozen=True, kw_only=True):
    TYPE = "account_completed"
    settle: Settle
    reason: str = "completed"


class AccountLiquidated(Event, frozen=True, kw_only=True):
    TYPE = "account_liquidated"
    reason: str


class ActionRejected(Event, frozen=True, kw_only=True):
    """Final for its key. `failures` has every gate that failed, the first of them is `code`."""

    TYPE = "action_rejected"
    prop_action_id: str
    decision_run_id: str
    action: Action
    code: GateCode
    failures: tuple[Failure, ...]
    max_quantity: Decimal | None


class OrderValidated(Event, frozen=True, kw_only=True):
    """Every gate passed at `price` (slippage included). Orders the engine makes itself have no action."""

    TYPE = "order_validated"
    order_id: str
    prop_action_id: str | None
    decision_run_id: str | None
    action: Action | None
    symbol: str
    side: Side
    intent: Intent
    quantity: Decimal
    leverage: Decimal
    price: Decimal
    quote: Quote
    quote_age_ms: int
    equity: Decimal
    open_notional: Decimal
    free_margin: Decimal


class FillBooked(Event, frozen=True, kw_only=True):
    """The whole order filled. `cost` is the entry notional it took off (0 when opening); PnL is gross of the fee."""

    TYPE = "fill_booked"
    fill_id: str
    order_id: str
    prop_action_id: str | None
    symbol: str
    side: Side
    intent: Intent
    quantity: Decimal
    price: Decimal
    notional: Decimal
    fee: Decimal
    cost: Decimal
    realized_pnl: Decimal
    quote: Quote


class PositionChanged(Event, frozen=True, kw_only=True):
    """The position as the fill left it, valued at the quote's mid, and the account's cash and equity with it."""

    position: Position
    cash: Decimal
    equity: Decimal
    high_watermark: Decimal


class PositionOpened(PositionChanged, frozen=True, kw_only=True):
    TYPE = "position_opened"


class PositionIncreased(PositionChanged, frozen=True, kw_only=True):
    TYPE = "position_increased"


class PositionReduced(PositionChanged, frozen=True, kw_only=True):
    TYPE = "position_reduced"


class PositionClosed(PositionChanged, frozen=True, kw_only=True):
    TYPE = "position_closed"


class Mark(msgspec.Struct, frozen=True, gc=False, rename="camel", kw_only=True):
    """The price one position was valued at, the mid of a quote observed at `observed_at`."""

    symbol: str
    side: Side
    price: Decimal
    unrealized_pnl: Decimal
    source: str
    observed_at: datetime


class MarkedToMarket(Event, frozen=True, kw_only=True):
    TYPE = "mark_to_market"
    pass_id: str
    marks: tuple[Mark, ...]
    cash: Decimal
    equity: Decimal
    unrealized_pnl: Decimal
    high_watermark: Decimal


class MarkToMarketFailed(Event, frozen=True, kw_only=True):
    """The valuation became stale, or stale for other reasons than before."""

    TYPE = "mark_to_market_failed"
    pass_id: str
    failures: tuple[Failure, ...]


class RuleWarning(Event, frozen=True, kw_only=True):
    """Most of the way from the anchor to the floor is gone; once a rule and UTC day."""

    TYPE = "rule_warning"
    rule: FloorRule
    day: date
    anchor: Decimal
    floor: Decimal
    warns_at: Decimal
    equity: Decimal
    pass_id: str


class LiquidationTriggered(Event, frozen=True, kw_only=True):
    """`liquidation_equity` and `drawdown` are those of the maximum drawdown; `broken` is the floor of another rule,
    where that is to blame."""

    TYPE = "liquidation_triggered"
    LATER: ClassVar = ("broken",)
    trigger: LiquidationTrigger
    reason: str
    pass_id: str | None
    equity: Decimal
    liquidation_equity: Decimal
    drawdown: Decimal
    broken: Floor | None = None


class RestatedFill(msgspec.Struct, frozen=True, gc=False, rename="camel", kw_only=True):
    """A fill that stays, with the cost and the gross realized PnL it has without the ones taken out."""

    fill_id: str
    cost: Decimal
    realized_pnl: Decimal


class FillVoided(Event, frozen=True, kw_only=True):
    """Fills taken out, and everything restated that follows from the fills that remain (DESIGN section 6).

    `fill_ids` and `order_ids` are in ledger order: the fill that was asked for, and those that fell with it.
    `positions` holds every open position; `closed` the closed episodes that are new or have other figures than before;
    `gone` the `openedSeq` of episodes that are no more. Fills that are not in `restated_fills` keep their figures.
    `tally` is what was traded, without the fills that are out.
    """

    TYPE = "fill_voided"
    LATER: ClassVar = ("day", "tally")
    reason: str
    asked_fill_id: str
    fill_ids: tuple[str, ...]
    order_ids: tuple[str, ...]
    restated_fills: tuple[RestatedFill, ...]
    positions: tuple[Position, ...]
    closed: tuple[Position, ...]
    gone: tuple[int, ...]
    cash: Decimal
    equity: Decimal
    realized_pnl: Decimal
    fees_paid: Decimal
    high_watermark: Decimal
    day: Day | None = None
    tally: Tally | None = None


class AccountRecomputed(Event, frozen=True, kw_only=True):
    """The ledger was replayed and compared; tables were repaired where `drift` says. State is unchanged."""

    TYPE = "account_recomputed"
    reason: str
    drift: tuple[str, ...]


EVENT_TYPES: Final[dict[str, type[Event]]] = {
    event.TYPE: event
    for event in (
        AccountCreated,
        AccountStarted,
        AccountPaused,
        AccountResumed,
        AccountLocked,
        AccountCompleted,
        AccountLiquidated,
        ActionRejected,
        OrderValidated,
        FillBooked,
        PositionOpened,
        PositionIncreased,
        PositionReduced,
        PositionClosed,
        MarkedToMarket,
        MarkToMarketFailed,
        RuleWarning,
        LiquidationTriggered,
        FillVoided,
        AccountRecomputed,
    )
}


class RecordedEvent(msgspec.Struct, frozen=True, gc=False):
    """An event in its ledger place. `payload` is canonical JSON, `hash` covers it and the hash before it."""

    account_id: str
    seq: int
    type: str
    version: int
    occurred_at: datetime
    epoch: int
    request_id: str
    payload: bytes
    hash: bytes
