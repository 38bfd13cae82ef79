"""evolve(account, event) -> account: what an event means for the state. The only writer of state.

Reads nothing but its arguments and rounds nothing: figures were made by `decide`. Where an event restates a
figure that the state also carries, the two are compared (asserted twice: where made and where read).
"""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Final, TypeGuard

from msgspec.structs import replace

from engine import day
from engine.account import Account, Status
from engine.day import Day
from engine.events import (
    AccountCompleted,
    AccountCreated,
    AccountLiquidated,
    AccountLocked,
    AccountPaused,
    AccountRecomputed,
    AccountResumed,
    AccountStarted,
    ActionRejected,
    Event,
    FillBooked,
    FillVoided,
    LiquidationTriggered,
    MarkedToMarket,
    MarkToMarketFailed,
    OrderValidated,
    PositionChanged,
    PositionClosed,
    PositionIncreased,
    PositionOpened,
    PositionReduced,
    RuleWarning,
)
from engine.invariants import InvariantBroken, check, invariant
from engine.money import ZERO
from engine.positions import Position, PositionKey, marked
from engine.record import Curve, Tally, begun

BalanceShown = PositionChanged | MarkedToMarket | FillVoided
"""Events that restate cash and equity."""

# Asked of every event. To see that a struct is no instance of a class, `isinstance` (and `match`) asks that class's
# metaclass, which takes longer than all of these.
_TALLIED: Final = frozenset({FillBooked, PositionClosed, FillVoided})
_BALANCE_SHOWN: Final = frozenset(
    {PositionOpened, PositionIncreased, PositionReduced, PositionClosed, MarkedToMarket, FillVoided}
)


def _shows_balance(event: Event) -> TypeGuard[BalanceShown]:
    return type(event) in _BALANCE_SHOWN


def begin(event: AccountCreated, *, account_id: str, at: datetime) -> Account:
    """The account after its first event."""
    opening = event.opening
    return Account(
        id=account_id,
        seq=1,
        status="pending",
        opening=opening,
        created_at=at,
        last_at=at,
        cash=opening.starting_balance,
        high_watermark=opening.starting_balance,
        day=day.first(at.astimezone(UTC).date(), opening.starting_balance) if opening.policy.has_rules else None,
    )


def evolve(account: Account, event: Event, at: datetime) -> Account:
    """The account after `event`, its next in the ledger, which occurred `at`; raises `InvariantBroken`."""
    if at < account.last_at:
        raise InvariantBroken(f"event {account.seq + 1} of {account.id} lies before the one it follows")
    kind = type(event)
    meaning = _MEANINGS.get(kind) or _inherited(kind)
    changes = meaning(account, event, at)
    if account.day is not None:
        changes["day"] = _day(account, event, at)
    if kind in _TALLIED:
        changes["tally"] = _tally(account, event)
    if account.curve is not None or kind is AccountStarted:
        changes["curve"] = _curve(account, event, at)
    after = replace(account, seq=account.seq + 1, last_at=at, **changes)
    equity = check(after, account)
    if _shows_balance(event) and not (after.cash == event.cash and event.equity == _known(equity, account)):
        raise InvariantBroken(f"{event.TYPE} restates another balance")
    return after


def _known(equity: Decimal | None, before: Account) -> Decimal:
    return before.equity if equity is None else equity


Meaning = dict[str, Any]
"""Fields of the account that the event gives another value."""


def _order_validated(account: Account, event: OrderValidated, at: datetime) -> Meaning:
    counters = account.counters
    taken = 1 if event.action is not None else 0
    return {
        "counters": replace(
            counters,
            orders=counters.orders + 1,
            actions=counters.actions + taken,
            executed=counters.executed + taken,
        )
    }


def _fill_booked(account: Account, event: FillBooked, at: datetime) -> Meaning:
    counters = account.counters
    return {
        "cash": account.cash + event.realized_pnl - event.fee,
        "realized_pnl": account.realized_pnl + event.realized_pnl,
        "fees_paid": account.fees_paid + event.fee,
        "counters": replace(counters, fills=counters.fills + 1),
    }


def _position_changed(account: Account, event: PositionChanged, at: datetime) -> Meaning:
    positions = _with(account, event.position)
    return {
        "positions": positions,
        "high_watermark": event.high_watermark,
        "stale": account.stale if positions else (),
    }


def _marked_to_market(account: Account, event: MarkedToMarket, at: datetime) -> Meaning:
    counters = account.counters
    return {
        "positions": _revalued(account, event, at),
        "high_watermark": event.high_watermark,
        "stale": (),
        "counters": replace(counters, marks=counters.marks + 1),
    }


def _mark_to_market_failed(account: Account, event: MarkToMarketFailed, at: datetime) -> Meaning:
    return {"stale": tuple((str(f.context.get("symbol")), f.code.value) for f in event.failures)}


def _action_rejected(account: Account, event: ActionRejected, at: datetime) -> Meaning:
    counters = account.counters
    return {"counters": replace(counters, actions=counters.actions + 1, rejected=counters.rejected + 1)}


def _started(account: Account, event: AccountStarted, at: datetime) -> Meaning:
    return {"status": "active", "started_at": at}


def _turned(status: Status) -> Callable[[Account, Event, datetime], Meaning]:
    return lambda account, event, at: {"status": status}


def _completed(account: Account, event: AccountCompleted, at: datetime) -> Meaning:
    return _ended(account, "completed", event.reason, at)


def _liquidated(account: Account, event: AccountLiquidated, at: datetime) -> Meaning:
    return _ended(account, "liquidated", event.reason, at)


def _fill_voided(account: Account, event: FillVoided, at: datetime) -> Meaning:
    return {
        "positions": {position.key: position for position in event.positions},
        "cash": event.cash,
        "realized_pnl": event.realized_pnl,
        "fees_paid": event.fees_paid,
        "high_watermark": event.high_watermark,
        "stale": _still_stale(account, {position.symbol for position in event.positions}),
    }


def _nothing(account: Account, event: Event, at: datetime) -> Meaning:
    return {}


def _inherited(kind: type[Event]) -> Callable[[Account, Any, datetime], Meaning]:
    """A later version of an event means what the event means."""
    for base in kind.__mro__:
        if base in _MEANINGS:
            return _MEANINGS[base]
    raise AssertionError(f"no meaning for {kind.__name__}")


_MEANINGS: Final[Mapping[type[Event], Callable[[Account, Any, datetime], Meaning]]] = {
    OrderValidated: _order_validated,
    FillBooked: _fill_booked,
    PositionOpened: _position_changed,
    PositionIncreased: _position_changed,
    PositionReduced: _position_changed,
    PositionClosed: _position_changed,
    MarkedToMarket: _marked_to_market,
    MarkToMarketFailed: _mark_to_market_failed,
    ActionRejected: _action_rejected,
    AccountStarted: _started,
    AccountPaused: _turned("paused"),
    AccountResumed: _turned("active"),
    AccountLocked: _turned("locked"),
    AccountCompleted: _completed,
    AccountLiquidated: _liquidated,
    FillVoided: _fill_voided,
    RuleWarning: _nothing,
    LiquidationTriggered: _nothing,
    AccountRecomputed: _nothing,
}


def _ended(account: Account, status: Status, reason: str, at: datetime) -> Meaning:
    return {"status": status, "ended_at": at, "end_reason": reason, "final_counters": account.counters}


def _day(account: Account, event: Event, at: datetime) -> Day | None:
    """What the rules remember after the event; the day turns before it."""
    today = account.day_at(at)
    if today is None:
        return None
    match event:
        case PositionOpened():
            return today.traded()
        case RuleWarning():
            return today.warning(event.rule)
        case FillVoided():
            invariant(event.day is not None, f"{event.TYPE} of {account.id} leaves out what its rules remember")
            return event.day
    return today


def _still_stale(account: Account, held: set[str]) -> tuple[tuple[str, str], ...]:
    """A quote that is not needed any more keeps no mark from being taken."""
    return tuple(each for each in account.stale if each[0] in held)


def _tally(account: Account, event: Event) -> Tally:
    match event:
        case FillBooked():
            return account.tally.filled(event.notional)
        case PositionClosed():
            return account.tally.closed(event.position)
        case FillVoided() if event.tally is not None:
            return event.tally
    return account.tally


def _curve(account: Account, event: Event, at: datetime) -> Curve | None:
    """Days that are over end with the equity that stood before the event; what it shows belongs to its own."""
    if type(event) is AccountStarted:
        return begun(at, account.equity)
    curve = account.curve
    if curve is None or account.is_terminal:
        return curve
    if at >= curve.day_ends:
        curve = curve.at(at, account.equity)
    if not _shows_balance(event):
        return curve
    if type(event) is PositionOpened:
        curve = curve.held(at, is_exposed=True)
    elif type(event) is PositionClosed:
        if len(account.positions) == 1:
            curve = curve.held(at, is_exposed=False)
    elif type(event) is FillVoided:
        curve = curve.held(at, is_exposed=bool(event.positions))
    return curve.shown(event.equity, event.high_watermark)


def _with(account: Account, position: Position) -> dict[PositionKey, Position]:
    positions = dict(account.positions)
    if position.quantity > ZERO:
        positions[position.key] = position
    else:
        del positions[position.key]
    return positions


def _revalued(account: Account, event: MarkedToMarket, at: datetime) -> dict[PositionKey, Position]:
    revalued = {}
    for mark in event.marks:
        key = mark.symbol, mark.side
        position = account.positions.get(key)
        if position is None:
            raise InvariantBroken(f"a mark of {account.id} values {key}, which is not open")
        revalued[key] = marked(position, mark_price=mark.price, at=at)
    if len(revalued) != len(account.positions):
        raise InvariantBroken(f"a mark of {account.id} leaves a position out")
    return revalued
