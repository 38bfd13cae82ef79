"""Collecting: how often a process of the engine looks for garbage in cycles.

What the engine makes is frozen and refers only to what was there before, so it dies by its reference count alone.
Python's defaults look through the youngest objects after every 700 new ones and, every so often, through all accounts:
that took a third of a marking pass, and a twentieth of what a gateway does for a request. Seldom is enough for the
cycles that tracebacks and tasks leave behind.
"""

import gc
from typing import Final

NEW_OBJECTS: Final = 50_000
YOUNG_ROUNDS: Final = 20
OLD_ROUNDS: Final = 100


def collect_seldom() -> None:
    """For this process, from now on."""
    gc.set_threshold(NEW_OBJECTS, YOUNG_ROUNDS, OLD_ROUNDS)
