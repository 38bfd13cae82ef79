"""Schemas: what clients may send, field by field. The rules that join fields stand here too.

One model a body, one model a query string. What an account's policy may hold is the engine's to say
(`engine.policy.faults`); these models only make sure that it can be asked.
"""

from collections.abc import Iterator
from typing import Any, Final, Literal, Self

from pydantic import Field, ValidationInfo, field_validator, model_validator
from pydantic_core import PydanticCustomError

from engine.account import Status
from engine.commands import CreateAccount, Mode, Settle
from engine.events import EVENT_TYPES
from engine.policy import (
    ALLOWED_ASSETS_MAX,
    AnchorOf,
    LossBasis,
    MaxDailyLoss,
    Policy,
    Side,
    SlippageModel,
    TrailingMode,
)
from engine.rejections import GateCode
from gateway.cursors import CURSOR_CHARACTERS_MAX
from gateway.fields import (
    ClientId,
    Confidence,
    Count,
    Currency,
    Digits,
    Flag,
    Metadata,
    Moment,
    Money,
    PositiveMoney,
    Rationale,
    Reason,
    Symbol,
    Symbols,
    Uuid,
    Word,
)
from gateway.validation import Wire, faults_at

ACTIONS_MAX: Final = 100
LIMIT_MAX: Final = 1_000
LIMIT_DEFAULT: Final = 100
POINTS_MIN: Final = 2
POINTS_MAX: Final = 2_000
WAIT_MS_MAX: Final = 10_000
SEQ_MAX: Final = 10**18 - 1

_Rule = tuple[str, str, str]
"""(field, code, message) of a broken rule."""


_POLICY: Final = Policy()
_DAILY: Final = MaxDailyLoss()
_OPENING: Final = CreateAccount(owner_id="", clone_id="")


class QuoteMaxAgeIn(Wire):
    """Oldest usable quote, milliseconds."""

    trade: Count = _POLICY.quote_max_age_ms.trade
    mark: Count = _POLICY.quote_max_age_ms.mark
    liquidate: Count = _POLICY.quote_max_age_ms.liquidate


class PropRuleIn(Wire):
    """What every prop rule has: a size, as a fraction or as an amount."""

    fraction: PositiveMoney | None = None
    """Of the rule's basis; not with `amount`."""
    amount: PositiveMoney | None = None
    """In account currency; not with `fraction`."""

    @model_validator(mode="after")
    def _one_size(self) -> Self:
        if self.fraction is None and self.amount is None:
            raise faults_at("rule", ("fraction", "required", "exactly one of fraction, amount is required"))
        if self.fraction is not None and self.amount is not None:
            raise faults_at("rule", ("amount", "not_allowed", "exactly one of fraction, amount is taken"))
        return self


class MaxDailyLossIn(PropRuleIn):
    """How far below the UTC day's anchor equity may fall."""

    basis: LossBasis = _DAILY.basis
    """Of `fraction`: the starting balance, or the day's anchor."""
    of: AnchorOf = _DAILY.of
    """The anchor: the balance or the equity the day began with; on the first day the starting balance."""


class TrailingDrawdownIn(PropRuleIn):
    """How far below its peak equity may fall; `fraction` is of the starting balance."""

    mode: TrailingMode
    """The peak: of equity at marks and fills, or of the balances that days ended with."""
    locks_at_start: bool = False
    """The floor rises to the starting balance and no further."""


class ProfitTargetIn(PropRuleIn):
    """What completes the account: equity above the starting balance by the amount, or by that fraction of it."""

    min_trading_days: Count = 0
    """UTC days on which a position was opened."""


class PolicyIn(Wire):
    """A policy in whole or in part; what is left out keeps the default of an audition."""

    max_leverage: Money = _POLICY.max_leverage
    max_notional: Money = _POLICY.max_notional
    max_open_positions: Count = _POLICY.max_open_positions
    max_open_orders: Count = _POLICY.max_open_orders
    allowed_directions: list[Side] = Field(default=list(_POLICY.allowed_directions), max_length=2)
    allowed_assets: list[Symbol] | None = Field(default=None, max_length=ALLOWED_ASSETS_MAX)
    fee_bps: Money = _POLICY.fee_bps
    slippage_model: SlippageModel = _POLICY.slippage_model
    slippage_bps: Money = _POLICY.slippage_bps
    max_drawdown: Money = _POLICY.max_drawdown
    max_position_equity_ratio: Money | None = None
    """Null: the maximum leverage."""
    allow_hedging: bool = _POLICY.allow_hedging
    quote_max_age_ms: QuoteMaxAgeIn = Field(default_factory=QuoteMaxAgeIn)
    max_daily_loss: MaxDailyLossIn | None = Field(default=None, examples=[{"fraction": "0.05", "basis": "day_start"}])
    """Null: no such rule."""
    trailing_drawdown: TrailingDrawdownIn | None = Field(
        default=None, examples=[{"fraction": "0.1", "mode": "end_of_day"}]
    )
    """Null: no such rule."""
    profit_target: ProfitTargetIn | None = Field(default=None, examples=[{"fraction": "0.1", "minTradingDays": 4}])
    """Null: no such rule."""


class CreateAccountIn(Wire):
    """Open a pending account."""

    owner_id: ClientId
    clone_id: ClientId
    idempotency_key: ClientId | None = None
    parent_account_id: Uuid | None = None
    race_id: ClientId | None = None
    mode: Mode = _OPENING.mode
    starting_balance: PositiveMoney = _OPENING.starting_balance
    currency: Currency = _OPENING.currency
    policy: PolicyIn = Field(default_factory=PolicyIn)
    metadata: Metadata = Field(default={})


class ActionIn(Wire):
    """One proposed action. Any word is an action; the engine judges `open`, `reduce` and `close`."""

    decision_action_id: ClientId
    action: Word
    symbol: Symbol | None = None
    side: Side | None = None
    quantity: Money | None = None
    notional: Money | None = None
    fraction: Money | None = None
    leverage: Money | None = None
    max_price: PositiveMoney | None = None
    min_price: PositiveMoney | None = None
    rationale: Rationale | None = None
    confidence: Confidence | None = None

    @model_validator(mode="after")
    def _sized_as_its_word_asks(self) -> Self:
        broken = tuple(_broken_rules(self))
        if broken:
            raise faults_at("action", *broken)
        return self


def _broken_rules(action: ActionIn) -> Iterator[_Rule]:
    match action.action:
        case "open":
            yield from _placed(action)
            yield from _sized(action, ("quantity", "notional"))
        case "reduce":
            yield from _placed(action)
            yield from _sized(action, ("quantity", "fraction"))
            if action.fraction is not None and action.fraction > 1:
                yield "fraction", "out_of_range", "must be above 0, at most 1"
        case "close":
            yield from _placed(action)
            yield from _sized(action, ())


def _placed(action: ActionIn) -> Iterator[_Rule]:
    for field in ("symbol", "side"):
        if getattr(action, field) is None:
            yield field, "required", f"is required to {action.action}"


def _sized(action: ActionIn, allowed: tuple[str, ...]) -> Iterator[_Rule]:
    """Exactly one size of those allowed, and above 0."""
    given = [field for field in ("quantity", "notional", "fraction") if getattr(action, field) is not None]
    if len(given) == 1 and given[0] in allowed and getattr(action, given[0]) > 0:
        return
    for field in given:
        if field not in allowed:
            yield field, "not_allowed", f"is not a size of {action.action}"
        elif getattr(action, field) <= 0:
            yield field, "out_of_range", "must be above 0"
    fitting = [field for field in given if field in allowed]
    if allowed and not fitting:
        yield allowed[0], "required", f"{action.action} takes exactly one of {', '.join(allowed)}"
    elif len(fitting) > 1:
        yield fitting[1], "not_allowed", f"{action.action} takes exactly one of {', '.join(allowed)}"


class DecisionActionsIn(Wire):
    """The actions of one request, applied in order."""

    decision_run_id: ClientId
    actions: list[ActionIn] = Field(min_length=1, max_length=ACTIONS_MAX)

    @field_validator("actions", mode="before")
    @classmethod
    def _not_too_many(cls, value: Any, info: ValidationInfo) -> Any:
        """Counted before any is looked at, so that an endless list costs nothing."""
        limit = (info.context or {}).get("actions_max", ACTIONS_MAX)
        if isinstance(value, list) and not value:
            raise PydanticCustomError("too_few_actions", "must hold at least one action")
        if isinstance(value, list) and len(value) > limit:
            raise PydanticCustomError("too_many_actions", "must hold at most {limit} actions", {"limit": limit})
        return value


class EmptyIn(Wire):
    """Nothing to say; the body may be absent."""


class CompleteIn(Wire):
    """How to end: close open positions at the current quotes first, or leave them as they are."""

    settle: Settle = "close"


class ReasonIn(Wire):
    """Why."""

    reason: Reason


class VoidFillIn(Wire):
    """A fill to take out, and why. `cascade`: later fills that are not possible without it go too."""

    fill_id: Uuid
    reason: Reason
    cascade: bool = False


class VoidOrderIn(Wire):
    """An order whose fill is to be taken out, and why. `cascade` as for a fill."""

    order_id: Uuid
    reason: Reason
    cascade: bool = False


class NoQuery(Wire):
    """No query parameters."""


class WriteQuery(Wire):
    dry_run: Flag = False
    """Same checks, same reply, nothing written."""


class ReadQuery(Wire):
    """Read your writes: wait until the account's durable ledger has reached `min_seq`."""

    min_seq: Digits = Field(default=0, ge=0, le=SEQ_MAX)
    """The reply reflects at least this ledger position, or is 503 `not_yet_durable`."""
    wait_ms: Digits = Field(default=0, ge=0, le=WAIT_MS_MAX)
    """How long to wait for `minSeq`."""


class PageQuery(Wire):
    """A page of a list."""

    limit: Digits = Field(default=LIMIT_DEFAULT, ge=1, le=LIMIT_MAX)
    cursor: str | None = Field(default=None, json_schema_extra={"maxLength": CURSOR_CHARACTERS_MAX})
    """`nextCursor` of the page before."""


class AccountPageQuery(PageQuery, ReadQuery):
    """A page of one account's list."""


class AccountsQuery(PageQuery):
    """Filters of accounts; all must hold."""

    status: Status | None = None
    owner_id: ClientId | None = None
    clone_id: ClientId | None = None
    race_id: ClientId | None = None
    mode: Mode | None = None


class LedgerQuery(AccountPageQuery):
    after_seq: Digits = Field(default=0, ge=0, le=SEQ_MAX)
    """Only events after this ledger position."""
    type: str | None = Field(default=None, json_schema_extra={"enum": [*sorted(EVENT_TYPES)]})
    """Only events of this type."""

    @field_validator("type")
    @classmethod
    def _known(cls, value: str | None) -> str | None:
        if value is not None and value not in EVENT_TYPES:
            raise PydanticCustomError("not_allowed", "must be a type of ledger event")
        return value


class DecisionActionsQuery(AccountPageQuery):
    """Filters of judged actions; all must hold."""

    decision_run_id: ClientId | None = None
    decision_action_id: ClientId | None = None
    status: Literal["executed", "rejected"] | None = None
    code: str | None = Field(default=None, json_schema_extra={"enum": [*GateCode]})
    """Only what this gate refused first."""

    @field_validator("code")
    @classmethod
    def _known(cls, value: str | None) -> str | None:
        if value is not None and value not in set(GateCode):
            raise PydanticCustomError("not_allowed", "must be the code of a gate")
        return value


class EquityQuery(ReadQuery):
    """A part of the equity curve."""

    from_: Moment | None = Field(default=None, alias="from")
    """Only points at this moment or later."""
    to: Moment | None = None
    """Only points at this moment or earlier."""
    points: Digits = Field(default=500, ge=POINTS_MIN, le=POINTS_MAX)
    """At most so many points."""


class StandingsQuery(Wire):
    limit: Digits = Field(default=LIMIT_DEFAULT, ge=1, le=LIMIT_MAX)
    """The first so many."""


class EventsQuery(PageQuery):
    cursor: str | None = None
    """`nextCursor` of the page before, or the last `id:` of a stream."""
    start: Literal["beginning", "now"] = "beginning"
    """Where to begin without a cursor."""


class PositionsQuery(AccountPageQuery):
    status: Literal["open", "closed", "all"] = "open"


class PricesQuery(Wire):
    symbols: Symbols | None = None
    """Comma-separated; all quotes where absent."""


class ReadinessQuery(Wire):
    verbose: str | None = None
    """Lists each component."""
