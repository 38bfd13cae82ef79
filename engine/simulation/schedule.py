"""Schedule: at which ticks accounts are marked."""

from typing import Final

import numpy as np

from engine.simulation.faults import BadInput, InputCode
from engine.simulation.units import Ints

MARK_EVERY_MAX: Final = 10_000_000


def mark_ticks(ticks: int, every: int) -> Ints:
    """The last tick of each `every` ticks, and the last of all, so that a run always ends with a mark."""
    if not 1 <= every <= MARK_EVERY_MAX:
        raise BadInput(InputCode.OUT_OF_RANGE, f"accounts are marked every {every} ticks: 1 to {MARK_EVERY_MAX}")
    marked = np.arange(every - 1, ticks, every, dtype=np.int64)
    if ticks and (not len(marked) or marked[-1] != ticks - 1):
        marked = np.append(marked, np.int64(ticks - 1))
    return marked
