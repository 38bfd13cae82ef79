"""Corrections: an account without some of its fills, re-derived from its whole ledger (DESIGN section 6).

Never an update of history: a void is one more event, `fill_voided`, that restates what follows from the fills that
remain. The ledger is gone through once more with the rules it was made by: each remaining fill is booked again, so that
its cost and realized PnL are those it has without the others, and revalues its position at its own quote; each mark
values the positions of the symbols it priced; the high watermark is their running maximum. Gates are not asked again: a
fill that happened stays, unless it takes off more than would be there. Such an orphan is refused or, in cascade, taken
out too, in ledger order.

Guarantee: the same walk without a new void leads to the live account, and that is asserted before anything is restated.
"""

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal

import msgspec
from msgspec.structs import replace

from engine import fills, positions
from engine.account import Account
from engine.changes import PlacedEvent
from engine.commands import Correction, VoidFill
from engine.decide import Decision, account_terminal
from engine.events import (
    AccountCreated,
    Event,
    FillBooked,
    FillVoided,
    MarkedToMarket,
    OrderValidated,
    PositionChanged,
    RestatedFill,
)
from engine.evolve import begin, evolve
from engine.invariants import InvariantBroken, invariant
from engine.money import ZERO
from engine.positions import Position
from engine.rejections import Orphan, Refusal


class Restated(msgspec.Struct, frozen=True, gc=False):
    """An account after the walk, the closed episodes by `opened_seq`, and the remaining fills as booked again."""

    account: Account
    closed: dict[int, Position]
    fills: dict[str, FillBooked]
    orphans: tuple[Orphan, ...]

    @property
    def episodes(self) -> set[int]:
        return self.closed.keys() | {position.opened_seq for position in self.account.positions.values()}


def void(account: Account, command: Correction, ledger: Sequence[PlacedEvent], now: datetime) -> Decision:
    """Take a fill out. `ledger` is all that ever happened to the account, from its first event to `account.seq`.

    Refused: `fill_not_found`, `order_not_found`, `account_terminal`, `void_would_orphan`. A fill that is out already
    changes nothing. The liquidation rule is not applied: the next mark does that, at prices of its own.
    """
    asked = _asked(command, ledger)
    if isinstance(asked, Refusal):
        return Decision((), account, asked)
    if account.is_terminal:
        return Decision((), account, account_terminal(account))
    out = {fill_id for placed in ledger if isinstance(placed.event, FillVoided) for fill_id in placed.event.fill_ids}
    if asked.fill_id in out:
        return Decision((), account)
    before, after = restated(account.id, ledger, out), restated(account.id, ledger, out | {asked.fill_id})
    _agree(before, account)
    if after.orphans and not command.cascade:
        detail = f"{len(after.orphans)} later fills would take off more than is there; cascade voids them too"
        return Decision((), account, Refusal("void_would_orphan", detail, orphans=after.orphans))
    at = max(now, account.last_at)
    event = _voided(asked, command.reason, before, after, at)
    return Decision((event,), evolve(account, event, at))


def restated(account_id: str, ledger: Sequence[PlacedEvent], out: set[str]) -> Restated:
    """The account as its ledger makes it without the fills in `out`, and without those that are orphans then."""
    first = ledger[0]
    if not isinstance(first.event, AccountCreated):
        raise InvariantBroken(f"ledger of {account_id} does not begin with its creation")
    walk = _Walk(begin(first.event, account_id=account_id, at=first.at), out)
    for placed in ledger[1:]:
        walk.goes_on(placed)
    return Restated(walk.account, walk.closed, walk.fills, tuple(walk.orphans))


def _asked(command: Correction, ledger: Sequence[PlacedEvent]) -> FillBooked | Refusal:
    by_fill = isinstance(command, VoidFill)
    wanted = command.fill_id if isinstance(command, VoidFill) else command.order_id
    for placed in ledger:
        fill = placed.event
        if isinstance(fill, FillBooked) and wanted == (fill.fill_id if by_fill else fill.order_id):
            return fill
    return Refusal("fill_not_found", "no such fill") if by_fill else Refusal("order_not_found", "no such order")


def _agree(before: Restated, account: Account) -> None:
    """Twice derived, once decided: live figures and those of the walk are the same or nothing is restated."""
    walked = before.account
    invariant(
        walked.seq == account.seq, f"ledger of {account.id} ends at {walked.seq}, the account is at {account.seq}"
    )
    for name in ("cash", "realized_pnl", "fees_paid", "high_watermark", "day", "tally", "positions"):
        same = getattr(walked, name) == getattr(account, name)
        invariant(same, f"ledger of {account.id} walked again makes another account: {name} differs")
    invariant(not before.orphans, f"ledger of {account.id} takes off what is not there")


def _voided(asked: FillBooked, reason: str, before: Restated, after: Restated, at: datetime) -> FillVoided:
    taken_out = [fill for fill_id, fill in before.fills.items() if fill_id not in after.fills]
    account = after.account
    return FillVoided(
        reason=reason,
        asked_fill_id=asked.fill_id,
        fill_ids=tuple(fill.fill_id for fill in taken_out),
        order_ids=tuple(fill.order_id for fill in taken_out),
        restated_fills=tuple(
            RestatedFill(fill_id=fill_id, cost=fill.cost, realized_pnl=fill.realized_pnl)
            for fill_id, fill in after.fills.items()
            if fill != before.fills[fill_id]
        ),
        positions=tuple(account.positions[key] for key in sorted(account.positions)),
        closed=tuple(position for seq, position in after.closed.items() if before.closed.get(seq) != position),
        gone=tuple(sorted(before.episodes - after.episodes)),
        cash=account.cash,
        equity=account.equity,
        realized_pnl=account.realized_pnl,
        fees_paid=account.fees_paid,
        high_watermark=account.high_watermark,
        day=account.day_at(at),
        tally=account.tally,
    )


class _Walk:
    """The ledger once more, event by event, each in its old place: an episode is still told by the seq it opens at."""

    def __init__(self, account: Account, out: set[str]) -> None:
        self.account = account
        self.closed: dict[int, Position] = {}
        self.fills: dict[str, FillBooked] = {}
        self.orphans: list[Orphan] = []
        self._out = out
        self._leverage = ZERO
        self._booked: FillBooked | None = None

    def goes_on(self, placed: PlacedEvent) -> None:
        match placed.event:
            case OrderValidated() as order:
                self._leverage = order.leverage
                self._happens(order, placed.at)
            case FillBooked() as fill:
                self._fill(fill, placed)
            case PositionChanged():
                self._move(placed.at)
            case MarkedToMarket() as mark:
                self._mark(mark, placed.at)
            case FillVoided():
                self._pass(placed.at)  # what it took out is in `out`
            case event:
                self._happens(event, placed.at)

    def _happens(self, event: Event, at: datetime) -> None:
        self.account = evolve(self.account, event, at)

    def _pass(self, at: datetime) -> None:
        """The event leaves its place and its time and nothing else."""
        self.account = replace(self.account, seq=self.account.seq + 1, last_at=at, day=self.account.day_at(at))

    def _fill(self, fill: FillBooked, placed: PlacedEvent) -> None:
        self._booked = None
        if fill.fill_id in self._out:
            return self._pass(placed.at)
        taken = positions.Reduction(ZERO, ZERO)
        if fill.intent != "open":
            held = self.account.positions.get((fill.symbol, fill.side))
            if held is None or fill.quantity > held.quantity:
                self.orphans.append(_orphan(fill, placed.seq, held.quantity if held else ZERO))
                return self._pass(placed.at)
            taken = positions.reduction(held, quantity=fill.quantity, order_notional=fill.notional)
        self._booked = replace(fill, cost=taken.cost, realized_pnl=taken.realized_pnl)
        self.fills[fill.fill_id] = self._booked
        return self._happens(self._booked, placed.at)

    def _move(self, at: datetime) -> None:
        if self._booked is None:
            return self._pass(at)
        moved = fills.moved(self.account, self._booked, self._leverage)
        if not moved.position.quantity:
            self.closed[moved.position.opened_seq] = moved.position
        return self._happens(moved, at)

    def _mark(self, mark: MarkedToMarket, at: datetime) -> None:
        """A position of a symbol that was not priced then keeps the mark it had: no price is invented (G7)."""
        prices: dict[str, Decimal] = {each.symbol: each.price for each in mark.marks}
        held = {
            key: positions.marked(position, mark_price=prices[position.symbol], at=at)
            if position.symbol in prices and positions.is_valuable(position, prices[position.symbol])
            else position
            for key, position in self.account.positions.items()
        }
        self._pass(at)
        valued = replace(self.account, positions=held, stale=())
        self.account = replace(valued, high_watermark=max(valued.high_watermark, valued.equity))


def _orphan(fill: FillBooked, seq: int, held: Decimal) -> Orphan:
    return Orphan(fill.fill_id, fill.order_id, fill.symbol, fill.side, fill.intent, fill.quantity, held, seq)
