"""decide(account, command, context) -> decision: what a command brings about, without touching the world.

Reads the account, the time and the quotes it is handed; answers with the events to record, or with a refusal
that writes nothing. Control flow stands here, arithmetic in `positions`, `exposure`, `fills` and `drawdown`.
"""

from datetime import datetime
from typing import Literal

import msgspec

from engine import drawdown, fills, gates, rules
from engine.account import MARKED, TRANSITIONS, Account, Verb
from engine.commands import (
    Command,
    CompleteAccount,
    Lifecycle,
    LiquidateAccount,
    LockAccount,
    MarkToMarket,
    PauseAccount,
    ResumeAccount,
    StartAccount,
    TakeAction,
)
from engine.events import (
    AccountCompleted,
    AccountLiquidated,
    AccountLocked,
    AccountPaused,
    AccountResumed,
    AccountStarted,
    ActionRejected,
    Event,
    Intent,
    LiquidationTrigger,
    LiquidationTriggered,
    MarkToMarketFailed,
    OrderValidated,
    RuleWarning,
)
from engine.evolve import evolve
from engine.exposure import valued
from engine.gates import Proposal
from engine.ids import derived_id
from engine.quotes import Quote, Quotes, age_ms
from engine.rejections import Failure, Refusal
from engine.rules import Floor

MarkOutcome = Literal["marked", "flat", "failed", "liquidated"]


class Context(msgspec.Struct, frozen=True, gc=False):
    """The world as one decision sees it: UTC now, and one quote a symbol."""

    now: datetime
    quotes: Quotes


class Decision(msgspec.Struct, frozen=True, gc=False):
    """Events in order and the account after them; or a refusal, and neither changed.

    `mark` says how a marking ended, `failures` which quotes it could not use.
    """

    events: tuple[Event, ...]
    account: Account
    refusal: Refusal | None = None
    mark: MarkOutcome | None = None
    failures: tuple[Failure, ...] = ()


class _Draft:
    """A decision in the making: events are recorded and evolved one by one."""

    def __init__(self, account: Account, context: Context) -> None:
        self.account = account
        self.at = max(context.now, account.last_at)
        self.quotes = context.quotes
        self.now = context.now
        self.events: list[Event] = []

    def happens(self, event: Event) -> None:
        self.account = evolve(self.account, event, self.at)
        self.events.append(event)

    def next_id(self, kind: str) -> str:
        return derived_id(kind, self.account.id, self.account.seq + 1, self.at)

    def done(self, mark: MarkOutcome | None = None, failures: tuple[Failure, ...] = ()) -> Decision:
        return Decision(tuple(self.events), self.account, None, mark, failures)


def decide(account: Account, command: Command, context: Context) -> Decision:
    """Judge one command against one account."""
    draft = _Draft(account, context)
    match command:
        case TakeAction():
            return _take_action(draft, command)
        case MarkToMarket():
            return _mark(draft, command)
        case _:
            return _lifecycle(draft, command)


def _take_action(draft: _Draft, command: TakeAction) -> Decision:
    action, prop_action_id = command.action, draft.next_id("action")
    failure = gates.unsupported(action)
    if failure is not None:
        verdict = gates.Verdict((failure,))
    else:
        proposed = gates.proposal(draft.account, action, draft.quotes, draft.now)
        verdict = gates.judge(proposed)
        if not verdict.failures:
            _fill(draft, proposed, command.decision_run_id, prop_action_id)
            return draft.done()
    draft.happens(
        ActionRejected(
            prop_action_id=prop_action_id,
            decision_run_id=command.decision_run_id,
            action=action,
            code=verdict.failures[0].code,
            failures=verdict.failures,
            max_quantity=verdict.quantity_max,
        )
    )
    return draft.done()


def _fill(draft: _Draft, proposed: Proposal, decision_run_id: str, prop_action_id: str) -> None:
    if proposed.quote is None:
        raise AssertionError("a proposal passed its gates without a quote")
    order = OrderValidated(
        order_id=draft.next_id("order"),
        prop_action_id=prop_action_id,
        decision_run_id=decision_run_id,
        action=proposed.action,
        symbol=proposed.symbol,
        side=proposed.side,
        intent=proposed.intent,
        quantity=proposed.quantity,
        leverage=proposed.leverage if proposed.opening or proposed.position is None else proposed.position.leverage,
        price=proposed.price,
        quote=proposed.quote,
        quote_age_ms=age_ms(proposed.quote, draft.now),
        equity=proposed.valuation.equity,
        open_notional=proposed.valuation.open_notional,
        free_margin=proposed.valuation.free_margin,
    )
    _execute(draft, order)


def _execute(draft: _Draft, order: OrderValidated) -> None:
    """Order, fill and position: one decision."""
    draft.happens(order)
    fill = fills.booked(draft.account, order, draft.next_id("fill"))
    draft.happens(fill)
    draft.happens(fills.moved(draft.account, fill, order.leverage))


def _close_all(draft: _Draft, quotes: dict[str, Quote], intent: Intent) -> None:
    """Take every position off through the ordinary fill, in (symbol, side) order."""
    for position in drawdown.in_order(draft.account):
        quote = quotes[position.symbol]
        valuation = valued(draft.account, quotes, draft.now)
        order = OrderValidated(
            order_id=draft.next_id("order"),
            prop_action_id=None,
            decision_run_id=None,
            action=None,
            symbol=position.symbol,
            side=position.side,
            intent=intent,
            quantity=position.quantity,
            leverage=position.leverage,
            price=fills.fill_price(quote, draft.account.policy, side=position.side, intent=intent),
            quote=quote,
            quote_age_ms=age_ms(quote, draft.now),
            equity=valuation.equity,
            open_notional=valuation.open_notional,
            free_margin=valuation.free_margin,
        )
        _execute(draft, order)


def _mark(draft: _Draft, command: MarkToMarket) -> Decision:
    account = draft.account
    if account.status not in MARKED:
        detail = f"account is {account.status}; only active and paused accounts are marked"
        refusal = Refusal("account_not_active", detail, {"status": account.status})
        return Decision((), account, refusal)
    if not account.positions:
        return _judged(draft, command.pass_id, "flat")
    quotes = drawdown.needed(account, draft.quotes, draft.now, "mark")
    if isinstance(quotes, tuple):
        reasons = tuple((str(failure.context.get("symbol")), failure.code.value) for failure in quotes)
        if reasons != account.stale:
            draft.happens(MarkToMarketFailed(pass_id=command.pass_id, failures=quotes))
        return draft.done("failed", quotes)
    if not (command.unless_unchanged and drawdown.is_marked_at(account, quotes)):
        draft.happens(drawdown.mark(account, quotes, command.pass_id))
    return _judged(draft, command.pass_id, "marked")


def _judged(draft: _Draft, pass_id: str, otherwise: MarkOutcome) -> Decision:
    """What the floors and the goal make of the account as it is valued now. A breach comes before a target."""
    account = draft.account
    day = account.day_at(draft.at)
    floor, goal = rules.broken(account, day), rules.goal(account, day) if day else None
    is_reached = goal is not None and goal.is_reached_at(account.equity)
    if floor is None and not is_reached:
        _warn(draft, pass_id)
        return draft.done(otherwise)
    priced = drawdown.needed(account, draft.quotes, draft.now, "liquidate")
    if isinstance(priced, tuple):
        _warn(draft, pass_id)
        return draft.done(otherwise, priced)  # G7: nothing ends at prices too old to liquidate at
    if floor is not None:
        _liquidate(draft, priced, floor.rule, floor.rule, pass_id, floor)
        return draft.done("liquidated")
    _close_all(draft, priced, "close")
    draft.happens(AccountCompleted(settle="close", reason="profit_target"))
    return draft.done("marked")


def _warn(draft: _Draft, pass_id: str) -> None:
    account = draft.account
    day = account.day_at(draft.at)
    if day is None:
        return
    for near in rules.warnings(account, day):
        draft.happens(
            RuleWarning(
                rule=near.rule,
                day=day.date,
                anchor=near.anchor,
                floor=near.floor,
                warns_at=near.warns_at,
                equity=account.equity,
                pass_id=pass_id,
            )
        )


def _liquidate(
    draft: _Draft,
    quotes: dict[str, Quote],
    trigger: LiquidationTrigger,
    reason: str,
    pass_id: str | None,
    floor: Floor | None = None,
) -> None:
    account = draft.account
    draft.happens(
        LiquidationTriggered(
            trigger=trigger,
            reason=reason,
            pass_id=pass_id,
            equity=account.equity,
            liquidation_equity=account.liquidation_equity,
            drawdown=account.drawdown,
            broken=None if trigger == "max_drawdown" else floor,
        )
    )
    _close_all(draft, quotes, "liquidate")
    draft.happens(AccountLiquidated(reason=reason))


_VERBS: dict[type, Verb] = {
    StartAccount: "start",
    PauseAccount: "pause",
    LockAccount: "lock",
    ResumeAccount: "resume",
    CompleteAccount: "complete",
    LiquidateAccount: "liquidate",
}


def _lifecycle(draft: _Draft, command: Lifecycle) -> Decision:
    account, verb = draft.account, _VERBS[type(command)]
    target = TRANSITIONS[account.status].get(verb)
    if target is None:
        return Decision((), account, _refused(account, verb))
    if target == account.status:
        return draft.done()
    match command:
        case StartAccount():
            draft.happens(AccountStarted())
        case PauseAccount():
            draft.happens(AccountPaused(reason=command.reason))
        case LockAccount():
            draft.happens(AccountLocked(reason=command.reason))
        case ResumeAccount():
            draft.happens(AccountResumed(reason=command.reason))
        case CompleteAccount(settle="none"):
            draft.happens(AccountCompleted(settle="none"))
        case CompleteAccount() | LiquidateAccount():
            return _end(draft, command)
    return draft.done()


def _end(draft: _Draft, command: CompleteAccount | LiquidateAccount) -> Decision:
    account = draft.account
    quotes = drawdown.needed(account, draft.quotes, draft.now, "liquidate")
    if isinstance(quotes, tuple):
        first = quotes[0]
        detail = f"no usable quote for {first.context.get('symbol')}: open positions cannot be closed"
        return Decision((), account, Refusal(first.code.value, detail, first.context, quotes))
    if isinstance(command, LiquidateAccount):
        _liquidate(draft, quotes, "requested", command.reason, None)
    else:
        _close_all(draft, quotes, "close")
        draft.happens(AccountCompleted(settle="close"))
    return draft.done()


def account_terminal(account: Account) -> Refusal:
    """Nothing can be asked of an account that has ended."""
    return Refusal("account_terminal", f"account is {account.status} for good", {"status": account.status})


def _refused(account: Account, verb: Verb) -> Refusal:
    if account.is_terminal:
        return account_terminal(account)
    goal = _GOALS[verb]
    detail = f"cannot {verb} an account that is {account.status}"
    return Refusal("invalid_transition", detail, {"from": account.status, "to": goal})


_GOALS: dict[Verb, str] = {
    "start": "active",
    "pause": "paused",
    "lock": "locked",
    "resume": "active",
    "complete": "completed",
    "liquidate": "liquidated",
}
