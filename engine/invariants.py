"""What must be true of every account after every event (G6), asserted where state is made.

A broken invariant is a defect of the engine, never of the input: the activation is poisoned and rebuilt.
"""

from decimal import Decimal

from engine.account import Account
from engine.money import STORED_MAGNITUDE, ZERO


class InvariantBroken(AssertionError):
    """The engine contradicts itself; nothing of the decision at hand may be kept."""


def invariant(holds: bool, message: str) -> None:
    """Like `assert`, but never compiled away."""
    if not holds:
        raise InvariantBroken(message)


def check(account: Account) -> None:
    """Conservation, magnitudes and position sanity of one account value."""
    expected = account.starting_balance + account.realized_pnl - account.fees_paid + account.adjustments
    invariant(account.cash == expected, f"cash {account.cash} is not {expected} (account {account.id}, {account.seq})")
    equity = account.equity
    figures = (account.cash, account.realized_pnl, account.fees_paid, account.high_watermark, equity)
    for figure in (*figures, account.tally.traded):
        _bounded(figure, account)
    for key, position in account.positions.items():
        invariant(position.key == key, f"position {position.key} stands under {key}")
        invariant(position.quantity > ZERO and position.entry_notional >= ZERO, f"position {key} is not positive")
        for figure in (position.quantity, position.entry_notional, position.avg_entry_price, position.mark_notional):
            _bounded(figure, account)


def _bounded(figure: Decimal, account: Account) -> None:
    invariant(
        figure.is_finite() and abs(figure) < STORED_MAGNITUDE, f"{figure} is beyond storage (account {account.id})"
    )
