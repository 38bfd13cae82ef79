"""Timing: one subject beside its baseline, in the same run, in turn, over several rounds.

A figure of its own says little on a machine that others use too; a ratio of two things timed side by side says more.
What is reported of the rounds is the median, and how far they lay apart.
"""

import gc
import time
from collections.abc import Callable, Sequence
from statistics import median
from typing import NamedTuple

ROUNDS = 9


class Sample(NamedTuple):
    """Seconds of one round of the subject, and of its baseline."""

    subject_s: float
    baseline_s: float


class Figure(NamedTuple):
    """One row of the report. `each` and `baseline`: what one operation costs, in `unit`, of the subject and of its
    baseline; `ratio`: subject by baseline, less is better; `spread`: how far the ratios of the rounds lie apart, as a
    share of the median; `target`: the ratio that the design allows at most, None where it names none."""

    name: str
    each: float
    baseline: float
    ratio: float
    spread: float
    target: float | None = None
    unit: str = "us"

    @property
    def verdict(self) -> str:
        """Whether the target is met, in a word."""
        return "" if self.target is None else "met" if self.ratio <= self.target else "missed"


def figure(name: str, samples: Sequence[Sample], *, operations: int, target: float | None = None) -> Figure:
    """The row that rounds come to; each round did `operations` of what is measured, on both sides."""
    ratios = [sample.subject_s / sample.baseline_s for sample in samples]
    return Figure(
        name,
        median(sample.subject_s for sample in samples) / operations * 1e6,
        median(sample.baseline_s for sample in samples) / operations * 1e6,
        median(ratios),
        (max(ratios) - min(ratios)) / median(ratios),
        target,
    )


def side_by_side(
    name: str,
    subject: Callable[[], object],
    baseline: Callable[[], object],
    *,
    operations: int,
    rounds: int = ROUNDS,
    target: float | None = None,
) -> Figure:
    """Time both in turn; each call does `operations` of what is measured. A round before the first is thrown away."""
    samples = [Sample(_timed(subject), _timed(baseline)) for _ in range(rounds + 1)][1:]
    return figure(name, samples, operations=operations, target=target)


def _timed(work: Callable[[], object]) -> float:
    gc.collect()
    began = time.perf_counter()
    made = work()
    took = time.perf_counter() - began
    del made  # after the clock: letting go of what was made is no part of making it
    return took
