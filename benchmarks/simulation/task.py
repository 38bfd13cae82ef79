"""Task: the prices and orders that both sides of a comparison are given, as arrays, exact in both.

Where the rules coincide they come to the same equity: one symbol, fills at the mid, a fee in basis points, long only,
no limit that binds, no mark that liquidates. An account buys a hundredth and later sells it, over and over.
"""

from typing import Final

import numpy as np
import numpy.typing as npt

SEED: Final = 7
BALANCE: Final = 100_000
LOT_UNITS: Final = 1_000_000
"""A hundredth of a coin, in units of 1e-8: 500 at the prices below, so no limit binds."""
START_US: Final = 1_767_225_600_000_000
MINUTE_US: Final = 60_000_000

Ints = npt.NDArray[np.int64]


def walk(ticks: int) -> Ints:
    """Mids around 50,000 with one decimal, in units of 1e-8."""
    steps = np.random.default_rng(SEED).normal(0, 0.0005, ticks)
    return np.round(500_000 * np.exp(np.cumsum(steps))).astype(np.int64) * 10_000_000


def trading_ticks(accounts: int, ticks: int, orders: int) -> Ints:
    """[accounts, orders]: when each account trades, at different ticks in order; even places buy, odd ones sell."""
    chance = np.random.default_rng(SEED + 1)
    spacing = ticks // orders
    return np.arange(orders) * spacing + chance.integers(0, spacing, (accounts, orders))
