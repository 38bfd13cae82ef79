"""evolve(account, event) -> account: what an event means for the state. The only writer of state.

Reads nothing but its arguments and rounds nothing: figures were made by `decide`. Where an event restates a
figure that the state also carries, the two are compared (asserted twice: where made and where read).
"""

from datetime import UTC, datetime
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

# Asked of every event. To see that a struct is no instance of a class, `isinstance` asks that class's metaclass, which
# takes longer than all of these.
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
    changes = _changes(account, event, at)
    if account.day is not None:
        changes["day"] = _day(account, event, at)
    if type(event) in _TALLIED:
        changes["tally"] = _tally(account, event)
    if account.curve is not None or isinstance(event, AccountStarted):
        changes["curve"] = _curve(account, event, at)
    after = replace(account, seq=account.seq + 1, last_at=at, **changes)
    equity = check(after, account)
    if _shows_balance(event) and not (after.cash == event.cash and equity == event.equity):
        raise InvariantBroken(f"{event.TYPE} restates another balance")
    return after


def _changes(account: Account, event: Event, at: datetime) -> dict[str, Any]:
    counters = account.counters
    match event:
        case MarkedToMarket():
            return {
                "positions": _revalued(account, event, at),
                "high_watermark": event.high_watermark,
                "stale": (),
                "counters": replace(counters, marks=counters.marks + 1),
            }
        case FillBooked():
            return {
                "cash": account.cash + event.realized_pnl - event.fee,
                "realized_pnl": account.realized_pnl + event.realized_pnl,
                "fees_paid": account.fees_paid + event.fee,
                "counters": replace(counters, fills=counters.fills + 1),
            }
        case OrderValidated():
            taken = 1 if event.action is not None else 0
            return {
                "counters": replace(
                    counters,
                    orders=counters.orders + 1,
                    actions=counters.actions + taken,
                    executed=counters.executed + taken,
                )
            }
        case PositionChanged():
            positions = _with(account, event.position)
            return {
                "positions": positions,
                "high_watermark": event.high_watermark,
                "stale": account.stale if positions else (),
            }
        case MarkToMarketFailed():
            return {"stale": tuple((str(f.context.get("symbol")), f.code.value) for f in event.failures)}
        case ActionRejected():
            return {"counters": replace(counters, actions=counters.actions + 1, rejected=counters.rejected + 1)}
        case AccountStarted():
            return {"status": "active", "started_at": at}
        case AccountPaused():
            return {"status": "paused"}
        case AccountResumed():
            return {"status": "active"}
        case AccountLocked():
            return {"status": "locked"}
        case AccountCompleted():
            return _ended(account, "completed", event.reason, at)
        case AccountLiquidated():
            return _ended(account, "liquidated", event.reason, at)
        case FillVoided():
            return {
                "positions": {position.key: position for position in event.positions},
                "cash": event.cash,
                "realized_pnl": event.realized_pnl,
                "fees_paid": event.fees_paid,
                "high_watermark": event.high_watermark,
                "stale": _still_stale(account, {position.symbol for position in event.positions}),
            }
        case RuleWarning() | LiquidationTriggered() | AccountRecomputed():
            return {}
    raise AssertionError(f"no meaning for {type(event).__name__}")


def _ended(account: Account, status: Status, reason: str, at: datetime) -> dict[str, Any]:
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
    match event:
        case PositionOpened():
            curve = curve.held(at, is_exposed=True)
        case PositionClosed() if len(account.positions) == 1:
            curve = curve.held(at, is_exposed=False)
        case FillVoided():
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
