"""What must be true of every account after every event (G6), asserted where state is made.

A broken invariant is a defect of the engine, never of the input: the activation is poisoned and rebuilt.
"""

from collections.abc import Iterable, Mapping
from decimal import Decimal, InvalidOperation
from typing import Final

from engine.account import Account
from engine.money import STORED_MAGNITUDE, ZERO
from engine.positions import Position, PositionKey

LOWEST: Final = -STORED_MAGNITUDE


class InvariantBroken(AssertionError):
    """The engine contradicts itself; nothing of the decision at hand may be kept."""


def invariant(holds: bool, message: str) -> None:
    """Like `assert`, but never compiled away. The message is made even where nothing is wrong: on the way of every
    event, where making it costs more than looking, `raise InvariantBroken` stands under an `if`."""
    if not holds:
        raise InvariantBroken(message)


def check(account: Account, before: Account | None = None) -> Decimal | None:
    """Conservation, magnitudes and position sanity of one account value; returns its equity, or None where it is still
    that of `before`. Money and positions that `before` has in this very value were looked at when it was made, since
    nothing that is made here ever changes."""
    if before is None:
        _conserved(account)
        known: Mapping[PositionKey, Position] = {}
    else:
        known = before.positions
        if not _has_same_money(account, before):
            _conserved(account)
        elif account.positions is known and _has_same_record(account, before):
            return None
    equity = account.equity
    _bounded((account.high_watermark, equity, account.tally.traded), account)
    if account.positions is not known:
        for key, position in account.positions.items():
            was = known.get(key)
            if was is not position:
                _sound(key, position, account, was)
    return equity


def _has_same_money(account: Account, before: Account) -> bool:
    return (
        account.cash is before.cash
        and account.realized_pnl is before.realized_pnl
        and account.fees_paid is before.fees_paid
        and account.adjustments is before.adjustments
        and account.opening is before.opening
    )


def _has_same_record(account: Account, before: Account) -> bool:
    return account.high_watermark is before.high_watermark and account.tally is before.tally


def _conserved(account: Account) -> None:
    expected = account.starting_balance + account.realized_pnl - account.fees_paid + account.adjustments
    if account.cash != expected:
        raise InvariantBroken(f"cash {account.cash} is not {expected} (account {account.id}, {account.seq})")
    _bounded((account.cash, account.realized_pnl, account.fees_paid), account)


def _sound(key: PositionKey, position: Position, account: Account, was: Position | None) -> None:
    if key != (position.symbol, position.side):
        raise InvariantBroken(f"position {position.key} stands under {key}")
    if was is not None and position.quantity is was.quantity and position.entry_notional is was.entry_notional:
        _bounded((position.avg_entry_price, position.mark_notional), account)  # it was only valued anew
        return
    if not (position.quantity > ZERO and position.entry_notional >= ZERO):
        raise InvariantBroken(f"position {key} is not positive")
    _bounded((position.quantity, position.entry_notional, position.avg_entry_price, position.mark_notional), account)


def _bounded(figures: Iterable[Decimal], account: Account) -> None:
    for figure in figures:
        try:
            if LOWEST < figure < STORED_MAGNITUDE:
                continue
        except InvalidOperation:
            pass  # it is not a number
        raise InvariantBroken(f"{figure} is beyond storage (account {account.id})")
