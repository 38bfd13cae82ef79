"""Timing: one subject beside its baseline, in the same run, in turn, over several rounds.

A figure of its own says little on a machine that others use too; a ratio of two things timed side by side says more.
What is reported of the rounds is the median, and how far they lay apart.
"""

import gc
import time
from collections.abc import Callable
from statistics import median
from typing import NamedTuple

ROUNDS = 9


class Sample(NamedTuple):
    """Seconds of one round of the subject, and of its baseline."""

    subject_s: float
    baseline_s: float


class Figure(NamedTuple):
    """One row of the report. `each_us`: of the subject, one operation; `ratio`: subject by baseline; `spread`: how far
    the ratios of the rounds lie apart, as a share of the median."""

    name: str
    each_us: float
    baseline_us: float
    ratio: float
    spread: float


def side_by_side(
    name: str, subject: Callable[[], object], baseline: Callable[[], object], *, operations: int, rounds: int = ROUNDS
) -> Figure:
    """Time both in turn; each call does `operations` of what is measured. A round before the first is thrown away."""
    samples = [Sample(_timed(subject), _timed(baseline)) for _ in range(rounds + 1)][1:]
    ratios = [sample.subject_s / sample.baseline_s for sample in samples]
    return Figure(
        name,
        median(sample.subject_s for sample in samples) / operations * 1e6,
        median(sample.baseline_s for sample in samples) / operations * 1e6,
        median(ratios),
        (max(ratios) - min(ratios)) / median(ratios),
    )


def _timed(work: Callable[[], object]) -> float:
    gc.collect()
    began = time.perf_counter()
    work()
    return time.perf_counter() - began
