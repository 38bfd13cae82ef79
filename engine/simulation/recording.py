"""Recording: what an account's statistics are made of, compiled. The twin of `engine.record`.

Returns are float64 here, rounded to the 18 decimals that the live engine has: what is made of them agrees to 1e-8, not
to the digit.
"""

from typing import Final

import numpy as np

from engine.simulation.arithmetic import ONE, nearest
from engine.simulation.compiled import compiled, inlined
from engine.simulation.layout import Account, Position

RETURN_DECIMALS: Final = 1e18
"""As `engine.money.growth` rounds."""


@inlined
def show(account: Account, equity: int) -> None:
    """Equity as a fill or a mark shows it. `lowest` is the lowest since the high watermark."""
    account.equity = equity
    if equity > account.high_watermark:
        if account.lowest < account.high_watermark:
            fold(account)
        account.high_watermark = equity
        account.lowest = equity
    elif equity < account.lowest:
        account.lowest = equity


@compiled
def fold(account: Account) -> None:
    """How far the lowest lay below the watermark, before there is another."""
    peak = account.high_watermark
    account.max_drawdown = max(account.max_drawdown, nearest(peak - account.lowest, ONE, peak))


@compiled
def close_days(account: Account, days: int) -> None:
    """So many days end with the equity that stands: only the first of them can have brought a change."""
    if account.day_before <= 0 or (days > 1 and account.equity <= 0):
        account.broke = 1
    if not account.broke:
        change = (account.equity - account.day_before) / account.day_before
        change = np.rint(change * RETURN_DECIMALS) / RETURN_DECIMALS
        account.returns += change
        account.squares += change * change
        account.downside += change * change if change < 0 else 0.0
    account.day_before = account.equity
    account.days += days


@compiled
def expose(account: Account, now: int) -> None:
    """A first position is open."""
    account.exposed_since = now


@compiled
def unexpose(account: Account, now: int) -> None:
    """The last position is closed."""
    account.exposed += now - account.exposed_since


@compiled
def close_episode(account: Account, position: Position) -> None:
    """A round trip is complete: its net is what it realized less its fees."""
    net = position.realized_pnl - position.fees
    account.trades += 1
    account.wins += net > 0
    account.gains += max(net, 0)
    account.losses += max(-net, 0)
    position.realized_pnl = 0
    position.fees = 0


@compiled
def end(account: Account, now: int) -> None:
    """The account's life is over, or what is told of it: its last day with it."""
    if account.open_positions:
        unexpose(account, now)
    fold(account)
    close_days(account, 1)
