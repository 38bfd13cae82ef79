"""Models: what the API takes and answers. Written by `make client` from the API's description: not to be edited."""

from datetime import date
from typing import Any, Literal

from prop.values import Moment, Money, Reply, Request


class QuoteMaxAge(Reply):
    """Oldest usable quote, in milliseconds, by what it is used for."""

    trade: int
    mark: int
    liquidate: int


class MaxDailyLoss(Reply):
    """How far below the UTC day's anchor equity may fall: an `amount`, or a `fraction` of its basis; exactly one.
    The anchor is the balance or the equity (`of`) the day began with. `basis` of a fraction: the starting
    balance, or the anchor itself.
    """

    fraction: Money | None
    amount: Money | None
    basis: Literal["day_start", "initial"] | str
    of: Literal["balance", "equity"] | str


class TrailingDrawdown(Reply):
    """How far below its peak equity may fall: an `amount`, or a `fraction` of the starting balance; exactly one. The
    peak is that of equity at any mark or fill, or the highest balance a day ended with. `locks_at_start`: the
    floor does not rise above the starting balance.
    """

    mode: Literal["end_of_day", "intraday_equity"] | str
    fraction: Money | None
    amount: Money | None
    locks_at_start: bool


class ProfitTarget(Reply):
    """What completes the account: equity above the starting balance by `amount`, or by a `fraction` of it; exactly
    one. `min_trading_days`: UTC days on which a position was opened.
    """

    fraction: Money | None
    amount: Money | None
    min_trading_days: int


class Policy(Reply):
    """Limits of one account. Money in account currency, ratios as plain decimals, `_bps` in basis points."""

    max_leverage: Money
    max_notional: Money
    max_open_positions: int
    max_open_orders: int
    allowed_directions: list[Literal["long", "short"] | str]
    allowed_assets: list[str] | None
    fee_bps: Money
    slippage_model: Literal["fixed_bps", "mid_price", "spread"] | str
    slippage_bps: Money
    max_drawdown: Money
    max_position_equity_ratio: Money | None
    allow_hedging: bool
    quote_max_age_ms: QuoteMaxAge
    max_daily_loss: MaxDailyLoss | None
    trailing_drawdown: TrailingDrawdown | None
    profit_target: ProfitTarget | None


class Account(Reply):
    id: str
    status: Literal["active", "completed", "liquidated", "locked", "paused", "pending"] | str
    owner_id: str
    clone_id: str
    parent_account_id: str | None
    race_id: str | None
    mode: Literal["audition", "live_paper", "race"] | str
    currency: str
    starting_balance: Money
    policy: Policy
    created_at: Moment
    started_at: Moment | None
    ended_at: Moment | None
    end_reason: str | None
    account_seq: int


class Action(Reply):
    """One proposed action, as the AI sent it. `fraction` is of the position; no `leverage` is the policy's maximum."""

    decision_action_id: str
    action: str
    symbol: str | None
    side: Literal["long", "short"] | str | None
    quantity: Money | None
    notional: Money | None
    fraction: Money | None
    leverage: Money | None
    max_price: Money | None
    min_price: Money | None
    rationale: str | None
    confidence: str | None


class ActionIn(Request):
    """One proposed action. Any word is an action; the engine judges `open`, `reduce` and `close`."""

    decision_action_id: str
    action: str
    symbol: str | None = None
    side: Literal["long", "short"] | None = None
    quantity: Money | None = None
    notional: Money | None = None
    fraction: Money | None = None
    leverage: Money | None = None
    max_price: Money | None = None
    min_price: Money | None = None
    rationale: str | None = None
    confidence: float | str | None = None


GateCode = Literal[
    "account_not_active",
    "aggregate_leverage_exceeded",
    "asset_not_allowed",
    "direction_not_allowed",
    "insufficient_margin",
    "leverage_exceeds_maximum",
    "max_open_orders_exceeded",
    "max_open_positions_exceeded",
    "notional_exceeds_maximum",
    "position_equity_exceeded",
    "position_not_found",
    "price_missing",
    "price_protection",
    "price_stale",
    "quantity_below_minimum",
    "quantity_exceeds_position",
    "unsupported_action",
]


class Failure(Reply):
    """One failing gate. `context` holds what it compared: decimals as fixed-point text, counts and ages as int."""

    code: GateCode | str
    context: dict[str, str | int | None]


class Order(Reply):
    id: str
    account_id: str
    prop_action_id: str | None
    symbol: str
    side: Literal["long", "short"] | str
    intent: Literal["close", "liquidate", "open", "reduce"] | str
    quantity: Money
    leverage: Money
    status: Literal["filled", "voided"] | str
    created_at: Moment
    account_seq: int


class Quote(Reply):
    """The latest observed prices of a symbol, in account currency a unit, at scale 8."""

    symbol: str
    bid: Money
    ask: Money
    mid: Money
    source: str
    observed_at: Moment


class Fill(Reply):
    id: str
    order_id: str
    account_id: str
    symbol: str
    side: Literal["long", "short"] | str
    intent: Literal["close", "liquidate", "open", "reduce"] | str
    quantity: Money
    price: Money
    notional: Money
    fee: Money
    realized_pnl: Money
    quote: Quote
    status: Literal["booked", "voided"] | str
    filled_at: Moment
    account_seq: int


class Position(Reply):
    symbol: str
    side: Literal["long", "short"] | str
    status: Literal["closed", "open"] | str
    quantity: Money
    avg_entry_price: Money
    entry_notional: Money
    leverage: Money
    margin_used: Money
    mark_price: Money
    marked_at: Moment
    unrealized_pnl: Money
    realized_pnl: Money
    fees: Money
    opened_at: Moment
    closed_at: Moment | None


class ActionResult(Reply):
    """The one true outcome of an action key; `replayed` is False as stored and True in a repeated answer."""

    decision_action_id: str
    prop_action_id: str
    status: Literal["executed", "rejected"] | str
    replayed: bool
    code: GateCode | str | None
    failures: list[Failure]
    max_quantity: Money | None
    order: Order | None
    fill: Fill | None
    position: Position | None


class Balance(Reply):
    cash: Money
    equity: Money
    realized_pnl: Money
    unrealized_pnl: Money
    fees_paid: Money
    adjustments: Money
    margin_used: Money
    free_margin: Money
    high_watermark: Money
    drawdown: Money
    liquidation_equity: Money


class AgedPosition(Reply):
    """A position with the age of its mark in milliseconds; null once it is closed."""

    symbol: str
    side: Literal["long", "short"] | str
    status: Literal["closed", "open"] | str
    quantity: Money
    avg_entry_price: Money
    entry_notional: Money
    leverage: Money
    margin_used: Money
    mark_price: Money
    marked_at: Moment
    unrealized_pnl: Money
    realized_pnl: Money
    fees: Money
    opened_at: Moment
    closed_at: Moment | None
    mark_age_ms: int | None


class Counters(Reply):
    """How often things happened in an account's life."""

    actions: int
    executed: int
    rejected: int
    orders: int
    fills: int
    marks: int


class Floor(Reply):
    """Equity at or below `floor` ends the account at its next mark. `distance`: how far equity is above it, and
    `distancePerCent` the same in per cent of equity. `warned`: the warning at `warnsAt` was given today.
    """

    rule: Literal["max_daily_loss", "max_drawdown", "trailing_drawdown"] | str
    anchor: Money
    floor: Money
    distance: Money
    distance_per_cent: Money
    warns_at: Money
    warned: bool


class Goal(Reply):
    """Equity at or above `goal`, with enough trading days, completes the account at its next mark. `distance`: how
    far equity is below it, negative where it is above.
    """

    rule: str
    anchor: Money
    goal: Money
    distance: Money
    distance_per_cent: Money
    trading_days: int
    min_trading_days: int


class Rules(Reply):
    """The prop rules of the account's policy. `day` is the UTC day that the figures are of, null without rules."""

    day: date | None
    floors: list[Floor]
    goal: Goal | None


class Snapshot(Reply):
    """One account at `account_seq`. `valuation` is stale while the last mark could not be taken."""

    account: Account
    account_seq: int
    balance: Balance
    positions: list[AgedPosition]
    counters: Counters
    valuation: Literal["full", "stale"] | str
    rules: Rules


class Capacity(Reply):
    """The largest quantity an `open` of this side would get through gates 11, 13, 14 and 15 now; null where none."""

    side: Literal["long", "short"] | str
    max_quantity: Money | None
    price: Money | None
    blocked_by: GateCode | str | None


class SymbolContext(Reply):
    """A symbol as an agent may trade it now."""

    symbol: str
    quote: Quote | None
    age_ms: int | None
    fresh: bool
    capacity: list[Capacity]


class LiquidationDistance(Reply):
    """How far equity is from where a mark liquidates; `per_cent` of equity, 0 where there is none left."""

    liquidation_equity: Money
    money: Money
    per_cent: Money


class DecisionAction(Reply):
    """One action as asked, and what became of it at `account_seq`."""

    account_id: str
    decision_run_id: str
    account_seq: int
    decided_at: Moment
    action: Action
    result: ActionResult


class DecisionContext(Reply):
    """What an agent needs before it decides; `actions` are the last ones, newest first."""

    account_id: str
    account_seq: int
    snapshot: Snapshot
    policy: Policy
    symbols: list[SymbolContext]
    liquidation_distance: LiquidationDistance
    rules: Rules
    actions: list[DecisionAction]


class AuditRow(Reply):
    """One deed of an administrator; `before` and `after` are snapshots of the account."""

    id: int
    occurred_at: Moment
    token_name: str
    action: str
    account_id: str
    reason: str
    request_id: str
    before: dict[str, Any] | None
    after: dict[str, Any] | None


class CompleteIn(Request):
    """How to end: close open positions at the current quotes first, or leave them as they are."""

    settle: Literal["close", "none"] | None = None


class Component(Reply):
    component: str
    well: bool
    detail: str


class QuoteMaxAgeIn(Request):
    """Oldest usable quote, milliseconds."""

    trade: int | None = None
    mark: int | None = None
    liquidate: int | None = None


class MaxDailyLossIn(Request):
    """How far below the UTC day's anchor equity may fall."""

    fraction: Money | None = None
    """Of the rule's basis; not with `amount`."""
    amount: Money | None = None
    """In account currency; not with `fraction`."""
    basis: Literal["initial", "day_start"] | None = None
    """Of `fraction`: the starting balance, or the day's anchor."""
    of: Literal["balance", "equity"] | None = None
    """The anchor: the balance or the equity the day began with; on the first day the starting balance."""


class TrailingDrawdownIn(Request):
    """How far below its peak equity may fall; `fraction` is of the starting balance."""

    fraction: Money | None = None
    """Of the rule's basis; not with `amount`."""
    amount: Money | None = None
    """In account currency; not with `fraction`."""
    mode: Literal["intraday_equity", "end_of_day"]
    """The peak: of equity at marks and fills, or of the balances that days ended with."""
    locks_at_start: bool | None = None
    """The floor rises to the starting balance and no further."""


class ProfitTargetIn(Request):
    """What completes the account: equity above the starting balance by the amount, or by that fraction of it."""

    fraction: Money | None = None
    """Of the rule's basis; not with `amount`."""
    amount: Money | None = None
    """In account currency; not with `fraction`."""
    min_trading_days: int | None = None
    """UTC days on which a position was opened."""


class PolicyIn(Request):
    """A policy in whole or in part; what is left out keeps the default of an audition."""

    max_leverage: Money | None = None
    """Decimal string, at most 12 digits before and 8 after the point; an integer is taken too."""
    max_notional: Money | None = None
    """Decimal string, at most 12 digits before and 8 after the point; an integer is taken too."""
    max_open_positions: int | None = None
    max_open_orders: int | None = None
    allowed_directions: list[Literal["long", "short"]] | None = None
    allowed_assets: list[str] | None = None
    fee_bps: Money | None = None
    """Decimal string, at most 12 digits before and 8 after the point; an integer is taken too."""
    slippage_model: Literal["mid_price", "fixed_bps", "spread"] | None = None
    slippage_bps: Money | None = None
    """Decimal string, at most 12 digits before and 8 after the point; an integer is taken too."""
    max_drawdown: Money | None = None
    """Decimal string, at most 12 digits before and 8 after the point; an integer is taken too."""
    max_position_equity_ratio: Money | None = None
    """Null: the maximum leverage."""
    allow_hedging: bool | None = None
    quote_max_age_ms: QuoteMaxAgeIn | None = None
    max_daily_loss: MaxDailyLossIn | None = None
    """Null: no such rule."""
    trailing_drawdown: TrailingDrawdownIn | None = None
    """Null: no such rule."""
    profit_target: ProfitTargetIn | None = None
    """Null: no such rule."""


class CreateAccountIn(Request):
    """Open a pending account."""

    owner_id: str
    clone_id: str
    idempotency_key: str | None = None
    parent_account_id: str | None = None
    race_id: str | None = None
    mode: Literal["audition", "race", "live_paper"] | None = None
    starting_balance: Money | None = None
    """Decimal string above 0, at most 12 digits before and 8 after the point; or an integer."""
    currency: str | None = None
    policy: PolicyIn | None = None
    metadata: dict[str, Any] | None = None
    """At most 4096 bytes of JSON."""


class DecisionActions(Reply):
    """What became of a batch. `dry_run`: nothing was written."""

    account_id: str
    decision_run_id: str
    account_seq: int
    dry_run: bool
    results: list[ActionResult]
    balance: Balance


class DecisionActionsIn(Request):
    """The actions of one request, applied in order."""

    decision_run_id: str
    actions: list[ActionIn]


class Drift(Reply):
    """One figure that differs. Values as text; None is null or, for a whole row, absent."""

    account_id: str
    table: str
    key: str
    field: str
    ledger_value: str | None
    stored_value: str | None


class EquityPoint(Reply):
    """What an account was worth once event `account_seq` had happened."""

    at: str
    account_seq: int
    equity: Money
    cash: Money
    unrealized_pnl: Money
    high_watermark: Money


class EquityCurve(Reply):
    """Points of a curve up to `account_seq`; there are `total` of them before thinning."""

    account_id: str
    account_seq: int
    total: int
    points: list[EquityPoint]


class LedgerEvent(Reply):
    """A ledger event as the wire shows it; `hash` in hex. `hash` covers the canonical form of `payload`."""

    account_id: str
    seq: int
    type: str
    version: int
    occurred_at: Moment
    recorded_at: Moment
    epoch: int
    request_id: str
    payload: dict[str, Any]
    hash: str


class EventPage(Reply):
    """Events of all accounts. `next_cursor` is always there: where there is no more yet, ask again with it later."""

    data: list[LedgerEvent]
    has_more: bool
    next_cursor: str


class Liveness(Reply):
    live: bool


class Marking(Reply):
    """How a marking ended; `failures` are the quotes it could not use."""

    account_id: str
    account_seq: int
    outcome: Literal["failed", "flat", "liquidated", "marked"] | str
    balance: Balance
    failures: list[Failure]


class MarkingPass(Reply):
    """One marking pass over every account that is marked."""

    pass_id: str
    accounts: int
    marked: int
    flat: int
    failed: int
    liquidated: int
    duration_ms: int


class Price(Reply):
    """The quote the engine sees of a symbol. A price that is none is null; `fresh`: an audition could trade at it."""

    symbol: str
    bid: Money | None
    ask: Money | None
    mid: Money | None
    source: str
    observed_at: Moment
    age_ms: int
    fresh: bool


class Prices(Reply):
    data: list[Price]


class Readiness(Reply):
    """`components` is empty unless asked for."""

    ready: bool
    components: list[Component]


class ReasonIn(Request):
    """Why."""

    reason: str


class Recomputation(Reply):
    """What a recompute found. `drift` lists the first of `drifts`; `repaired`: all of them are put right."""

    account_id: str
    account_seq: int
    consistent: bool
    drifts: int
    drift: list[Drift]
    repaired: bool


class RestatedFill(Reply):
    """A fill that stays, with the cost and the gross realized PnL it has without the ones taken out."""

    fill_id: str
    cost: Money
    realized_pnl: Money


class Statistics(Reply):
    """Shares are fractions (0.05 is five per cent). `total_return`: final equity by starting balance, less 1.
    `max_drawdown`: the largest share that equity, as it was shown at fills and marks, lay below its high
    watermark. `sharpe`, `sortino`: of the daily returns, null with fewer than 5 days or where nothing deviates.
    `win_rate`: round trips with a net gain, of all. `profit_factor`: their net gains by the net losses of the
    others. `turnover`: notional of all fills by starting balance. `fee_drag`: fees by starting balance.
    `exposure`: share of the time from start to end in which any position was open. `trades`: round trips, that is
    positions that were closed. `days`: UTC calendar days from start to end, the first and last included.
    """

    total_return: Money
    max_drawdown: Money
    sharpe: Money | None
    sortino: Money | None
    win_rate: Money | None
    profit_factor: Money | None
    turnover: Money
    fee_drag: Money
    exposure: Money | None
    trades: int
    days: int


class Result(Reply):
    """An account as it ended. `account_seq` and `head_hash` are those of the event that ended it, `policy_hash` the
    blake2b-256 of the canonical policy; both in hex. Positions that were left open count at their last mark.
    """

    account_id: str
    account_seq: int
    status: Literal["active", "completed", "liquidated", "locked", "paused", "pending"] | str
    end_reason: str
    started_at: Moment
    ended_at: Moment
    currency: str
    starting_balance: Money
    balance: Balance
    statistics: Statistics
    counters: Counters
    policy_hash: str
    head_hash: str


class Standing(Reply):
    rank: int
    account_id: str
    owner_id: str
    clone_id: str
    status: Literal["active", "completed", "liquidated", "locked", "paused", "pending"] | str
    equity: Money
    total_return: Money
    basis: Literal["final", "flat", "last", "pass", "pending"] | str


class Standings(Reply):
    """A race. `accounts` counts all of them, `data` holds the first."""

    race_id: str
    pass_id: str | None
    marked_at: Moment | None
    accounts: int
    has_more: bool
    data: list[Standing]


class Version(Reply):
    name: str
    version: str


class VoidFillIn(Request):
    """A fill to take out, and why. `cascade`: later fills that are not possible without it go too."""

    fill_id: str
    reason: str
    cascade: bool | None = None


class VoidOrderIn(Request):
    """An order whose fill is to be taken out, and why. `cascade` as for a fill."""

    order_id: str
    reason: str
    cascade: bool | None = None


class Voiding(Reply):
    """The account without the fills that were taken out: by this request, so none where the fill was out already.
    `restatedFills` are fills that stay and have other figures now.
    """

    account_id: str
    account_seq: int
    voided_fill_ids: list[str]
    voided_order_ids: list[str]
    restated_fills: list[RestatedFill]
    account: Account
    balance: Balance
    positions: list[Position]
