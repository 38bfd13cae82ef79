"""Counts: what a process of the engine has counted of itself, as plain numbers that can be sent and added up.

Counting is on the road of every action, so it is an integer added in place: no locks, no labels, no registry. The
gateway turns counts into metrics when it is asked for them.
"""

from bisect import bisect_left
from collections import Counter
from typing import Any, Final, TypeVar

import msgspec

SECONDS: Final = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
"""Upper bounds of the classes that durations are counted in; what is longer than all of them is in one more."""

Counted = TypeVar("Counted", bound=msgspec.Struct)


class Durations(msgspec.Struct):
    """How many things took how long: one number for each class of `SECONDS` and one for the rest, and the sum."""

    classes: list[int] = msgspec.field(default_factory=lambda: [0] * (len(SECONDS) + 1))
    total_seconds: float = 0.0

    def add(self, seconds: float) -> None:
        self.classes[bisect_left(SECONDS, seconds)] += 1
        self.total_seconds += seconds


class Counters(msgspec.Struct):
    """Totals since the start. `batch_sizes` counts commits by their events, rounded up to a power of two;
    `batched_events` is the sum of those events, `commit_time` from a transaction's begin to Postgres' word."""

    commits: int = 0
    batched_events: int = 0
    appends: int = 0
    events: int = 0
    fenced: int = 0
    refused: int = 0
    unknown: int = 0
    overloaded: int = 0
    unavailable: int = 0
    locked: int = 0
    batch_sizes: dict[int, int] = msgspec.field(default_factory=Counter)
    ambiguous: dict[str, int] = msgspec.field(default_factory=Counter)
    commit_time: Durations = msgspec.field(default_factory=Durations)


class CommitterFigures(msgspec.Struct):
    """A committer as it is now: what it has counted, what waits, and for how long the oldest has waited."""

    counted: Counters = msgspec.field(default_factory=Counters)
    queued_events: int = 0
    queued_bytes: int = 0
    oldest_seconds: float = 0.0


def accrue(total: Counted, now: Counted, before: Counted) -> None:
    """Add to `total` what was counted from `before` to `now`, counts of one kind with whatever stands in them."""
    for name in total.__struct_fields__:
        grown = _grown(getattr(total, name), getattr(now, name), getattr(before, name))
        setattr(total, name, grown)


def _grown(total: Any, now: Any, before: Any) -> Any:
    """A number: the sum. What holds numbers: itself, grown."""
    if isinstance(total, msgspec.Struct):
        accrue(total, now, before)
    elif isinstance(total, dict):
        for key, value in now.items():
            total[key] = total.get(key, 0) + value - before.get(key, 0)
    elif isinstance(total, list):
        total[:] = [each + new - old for each, new, old in zip(total, now, before, strict=True)]
    else:
        return total + now - before
    return total
