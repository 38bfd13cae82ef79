"""Retrace: a recorded ledger decided again from its first event, and held to what was recorded, byte for byte.

`engine.book.replayed` evolves what a ledger says. This asks the core what it would decide today: the commands behind
the events are put to it once more, at their times and at the quotes that stood then, and it has to bring about the very
events, ids and hashes. Prices are not in every event (a rejection names what it compared), so quotes are handed in.
"""

from collections.abc import Callable, Sequence
from typing import Final

import msgspec

from engine.book import AccountBook, ActionBatch, Entry
from engine.commands import (
    Command,
    CompleteAccount,
    LiquidateAccount,
    LockAccount,
    MarkToMarket,
    PauseAccount,
    ResumeAccount,
    StartAccount,
    TakeAction,
    VoidFill,
)
from engine.decide import Context
from engine.events import (
    AccountCompleted,
    AccountCreated,
    AccountLocked,
    AccountPaused,
    AccountRecomputed,
    AccountResumed,
    AccountStarted,
    ActionRejected,
    Event,
    FillVoided,
    LiquidationTriggered,
    MarkedToMarket,
    MarkToMarketFailed,
    OrderValidated,
    RecordedEvent,
    RuleWarning,
)
from engine.invariants import InvariantBroken, invariant
from engine.quotes import Quotes

Placed = tuple[RecordedEvent, Event]
QuotesAt = Callable[[RecordedEvent], Quotes]
"""The price vector that stood when this event, the first of its decision, was decided."""


class Recompute(msgspec.Struct, frozen=True, gc=False):
    """The ledger was replayed and compared."""

    reason: str
    drift: tuple[str, ...]


Asked = Command | VoidFill | Recompute


class Difference(msgspec.Struct, frozen=True, gc=False):
    """Where the core decides otherwise today: the first event that is not as recorded. None: there is none."""

    seq: int
    recorded: RecordedEvent | None
    made: RecordedEvent | None


def retraced(ledger: Sequence[Placed], quotes: QuotesAt) -> tuple[list[RecordedEvent], Difference | None]:
    """Every event as it is decided today, up to the first that differs. Raises `InvariantBroken` for a ledger that
    does not begin with its creation."""
    recorded, first = ledger[0]
    if not isinstance(first, AccountCreated):
        raise InvariantBroken(f"ledger of {recorded.account_id} does not begin with its creation")
    book, event = AccountBook.open(
        first.opening, account_id=recorded.account_id, now=recorded.occurred_at, request_id=recorded.request_id
    )
    made = [event]
    if event != recorded:
        return made, Difference(1, recorded, event)
    place = 1
    while place < len(ledger):
        head = ledger[place][0]
        book.epoch = head.epoch
        entered = _entered(book, asked_by(ledger, place), ledger[:place], head, quotes)
        for event in entered:
            made.append(event)
            recorded_here = ledger[place][0] if place < len(ledger) else None
            if event != recorded_here:
                return made, Difference(place + 1, recorded_here, event)
            place += 1
        if not entered:
            return made, Difference(place + 1, head, None)
    return made, None


def asked_by(ledger: Sequence[Placed], place: int) -> Asked:
    """The command whose decision begins with the event at `place`."""
    event = ledger[place][1]
    match event:
        case AccountStarted():
            return StartAccount()
        case AccountPaused(reason=reason):
            return PauseAccount(reason)
        case AccountLocked(reason=reason):
            return LockAccount(reason)
        case AccountResumed(reason=reason):
            return ResumeAccount(reason)
        case ActionRejected(decision_run_id=run_id, action=action):
            return TakeAction(run_id, action)
        case OrderValidated(decision_run_id=str() as run_id, action=action) if action is not None:
            return TakeAction(run_id, action)
        case MarkedToMarket(pass_id=pass_id) | MarkToMarketFailed(pass_id=pass_id):
            return MarkToMarket(pass_id)
        case RuleWarning(pass_id=pass_id):
            return MarkToMarket(pass_id, unless_unchanged=True)
        case LiquidationTriggered(trigger="requested", reason=reason):
            return LiquidateAccount(reason)
        case LiquidationTriggered(pass_id=str() as pass_id):
            return MarkToMarket(pass_id, unless_unchanged=True)
        case OrderValidated() | AccountCompleted():
            return _completing(ledger, place)
        case FillVoided(reason=reason, asked_fill_id=fill_id, fill_ids=fill_ids):
            return VoidFill(fill_id, reason, cascade=len(fill_ids) > 1)
        case AccountRecomputed(reason=reason, drift=drift):
            return Recompute(reason, drift)
    raise InvariantBroken(f"no decision begins with {event.TYPE} (seq {place + 1})")


UNNAMED_PASS: Final = ""
"""Of a mark that reached the profit target and wrote no mark: nothing it wrote says which pass it was."""


def _completing(ledger: Sequence[Placed], place: int) -> Command:
    """Orders without an action, and the completion they lead to."""
    for _, event in ledger[place:]:
        if isinstance(event, AccountCompleted):
            if event.reason == "profit_target":
                return MarkToMarket(UNNAMED_PASS, unless_unchanged=True)
            return CompleteAccount(event.settle)
    raise InvariantBroken(f"orders from seq {place + 1} on belong to nothing")


def _entered(
    book: AccountBook, asked: Asked, before: Sequence[Placed], head: RecordedEvent, quotes: QuotesAt
) -> tuple[RecordedEvent, ...]:
    """What the core makes of it; nothing where it refuses."""
    now, request_id = head.occurred_at, head.request_id
    match asked:
        case Recompute(reason=reason, drift=drift):
            return book.recomputed(reason, drift, now, request_id=request_id).recorded
        case VoidFill():
            answer = book.correct(asked, before, now, request_id=request_id)
        case TakeAction(decision_run_id=run_id, action=action):
            taken = book.take(ActionBatch(run_id, (action,)), Context(now, quotes(head)), request_id=request_id)
            invariant(isinstance(taken, Entry), f"key of {action.decision_action_id} was used before")
            return taken.recorded if isinstance(taken, Entry) else ()
        case _:
            answer = book.submit(asked, Context(now, quotes(head)), request_id=request_id)
    return answer.recorded if isinstance(answer, Entry) else ()
