"""Standings: accounts of a race by equity, all valued at one price vector.

The vector is that of the newest marking pass that covers every account still in the race: each was marked in it, or
held nothing then and so needed no price. Accounts that have ended keep the equity they ended with; pending ones have
what they start with; locked ones are not marked and keep their last. Where no recent pass covers all, there is no
common moment, and each account stands at its own last mark. Equal equity: the lower account id first.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Final, Literal

import msgspec

from engine.account import MARKED, TERMINAL, Status
from engine.money import ratio
from engine.views import View

Basis = Literal["pass", "flat", "last", "final", "pending"]
"""What an equity is: marked in the pass, without positions at its time, the last known, final, or not begun."""


class Racer(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """An account of a race as it is now."""

    id: str
    owner_id: str
    clone_id: str
    status: Status
    starting_balance: Decimal
    equity: Decimal
    account_seq: int

    @property
    def is_marked(self) -> bool:
        return self.status in MARKED


class PassMark(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """What one pass made of one account. `order` grows from commit to commit, whatever clocks do."""

    pass_id: str
    at: datetime
    order: int
    equity: Decimal


class Pass(msgspec.Struct, frozen=True, gc=False):
    """A marking pass; `at` is when its last account was marked."""

    id: str
    at: datetime


class Standing(View, frozen=True, kw_only=True):
    rank: int
    account_id: str
    owner_id: str
    clone_id: str
    status: Status
    equity: Decimal
    total_return: Decimal
    basis: Basis


Marks = Mapping[str, Sequence[PassMark]]
"""The last marks of accounts, by account id."""
_ABSENT: Final[Sequence[PassMark]] = ()


def common_pass(racers: Sequence[Racer], marks: Marks, held: Callable[[str, datetime], bool]) -> Pass | None:
    """The newest pass that covers everybody; `held` says whether an account had a position at a moment."""
    marked_in: dict[str, set[str]] = {}
    at: dict[str, datetime] = {}
    order: dict[str, tuple[int, datetime]] = {}
    for account_id, its_marks in marks.items():
        for mark in its_marks:
            marked_in.setdefault(mark.pass_id, set()).add(account_id)
            at[mark.pass_id] = max(mark.at, at.get(mark.pass_id, mark.at))
            place = (mark.order, mark.at)
            order[mark.pass_id] = max(place, order.get(mark.pass_id, place))
    running = [racer.id for racer in racers if racer.is_marked]
    for pass_id in sorted(order, key=lambda each: (order[each], each), reverse=True):
        absent = (account_id for account_id in running if account_id not in marked_in[pass_id])
        if not any(held(account_id, at[pass_id]) for account_id in absent):
            return Pass(pass_id, at[pass_id])
    return None


def ranked(
    racers: Sequence[Racer], marks: Marks, common: Pass | None, flat_equity: Mapping[str, Decimal]
) -> tuple[Standing, ...]:
    """Everybody, the richest first. `flat_equity` has the equity at the pass of who held nothing then."""
    valued = []
    for racer in racers:
        basis, equity = _valued(racer, marks.get(racer.id, _ABSENT), common, flat_equity)
        valued.append((-equity, racer.id, racer, basis))
    return tuple(
        Standing(
            rank=place,
            account_id=racer.id,
            owner_id=racer.owner_id,
            clone_id=racer.clone_id,
            status=racer.status,
            equity=-negative,
            total_return=ratio(-negative - racer.starting_balance, racer.starting_balance),
            basis=basis,
        )
        for place, (negative, _, racer, basis) in enumerate(sorted(valued, key=lambda each: each[:2]), 1)
    )


def _valued(
    racer: Racer, marks: Sequence[PassMark], common: Pass | None, flat_equity: Mapping[str, Decimal]
) -> tuple[Basis, Decimal]:
    if racer.status in TERMINAL:
        return "final", racer.equity
    if racer.status == "pending":
        return "pending", racer.equity
    if not racer.is_marked or common is None:
        return "last", racer.equity
    for mark in marks:
        if mark.pass_id == common.id:
            return "pass", mark.equity
    return "flat", flat_equity.get(racer.id, racer.starting_balance)
