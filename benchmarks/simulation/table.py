"""The simulations' rows: a cell (an account at a tick) beside vectorbt, an order beside NautilusTrader.

Both sides of a row come to the same equity, which is checked before it is told.
"""

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Final

import numpy as np

from benchmarks.simulation.sides import Round, Side, environment, side
from benchmarks.timing import Figure

ROUNDS: Final = 5
MARKET_ORDERS: Final = ((2_000, 5), (10_000, 2))
"""How many, and in how many rounds."""
ACCOUNTS, TICKS, ORDERS = 1_000, 10_000, 100
TIMES: Final = 20
"""In one round of the fast engine: a moment in which others have the cores would be all of its time."""
MANY_ACCOUNTS, MANY_ORDERS, MANY_EQUITY_EVERY, MANY_ROUNDS = 100_000, 10, 100, 2
FAST_TARGET: Final = 1 / 50
EXACT_TARGET: Final = 1 / 20
EQUITY_TOLERANCE: Final = 1e-9
"""Relative: vectorbt counts in float64."""


def figures() -> Iterator[Figure]:
    """The first runs make an environment for each peer and compile the kernel."""
    with tempfile.TemporaryDirectory(prefix="prop-simulation-") as folder:
        yield from _beside_vectorbt(Path(folder))
        for orders, rounds in MARKET_ORDERS:
            yield from _beside_nautilus(Path(folder), orders, rounds)


def _beside_vectorbt(folder: Path) -> Iterator[Figure]:
    cores, size = os.cpu_count() or 1, (ACCOUNTS, TICKS, ORDERS)
    ours, alone, theirs, many = (folder / f"{name}.npy" for name in ("ours", "alone", "theirs", "many"))
    with (
        side("our_side", "fast", *size, 1, cores, ours) as fast,
        side("our_side", "fast", *size, 1, 1, alone) as one_core,
        side("our_side", "fast", MANY_ACCOUNTS, TICKS, MANY_ORDERS, MANY_EQUITY_EVERY, cores, many) as large,
        side("vectorbt_side", *size, theirs, python=environment("vectorbt")) as peer,
    ):
        rounds = _in_turn((fast, TIMES), (one_core, TIMES), (peer, 1))
        _same(np.load(ours) / 1e8, np.load(theirs))
        cells, name = ACCOUNTS * TICKS, f"{ACCOUNTS:,} accounts x {TICKS:,} ticks"
        yield _figure(f"fast, {name}, {cores} cores", _seconds(rounds, 0, 2), cells, "ns", FAST_TARGET)
        yield _figure(f"fast, {name}, one core", _seconds(rounds, 1, 2), cells, "ns")
        yield _figure(f"fast, {name}, CPU", _cpu(rounds, 1, 2), cells, "ns")
        yield _memory(f"fast, {name}, memory", rounds[-1][0].peak_mb, rounds[-1][2].peak_mb)
        larger, name = MANY_ACCOUNTS // ACCOUNTS, f"{MANY_ACCOUNTS:,} accounts x {TICKS:,} ticks"
        big = [large.round() for _ in range(MANY_ROUNDS)]
        pairs = [(each.seconds / larger, beside[2].seconds) for each, beside in zip(big, rounds, strict=False)]
        yield _figure(f"fast, {name}", pairs, cells, "ns", FAST_TARGET)
        machine_mb = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 1e6
        yield _memory(f"fast, {name}, of all memory", big[-1].peak_mb, machine_mb, 1.0)


def _beside_nautilus(folder: Path, orders: int, count: int) -> Iterator[Figure]:
    ours, theirs = folder / f"exact-{orders}.npy", folder / f"nautilus-{orders}.npy"
    with (
        side("our_side", "exact", orders, ours) as exact,
        side("nautilus_side", orders, theirs, python=environment("nautilus")) as peer,
    ):
        rounds = _in_turn((exact, 1), (peer, 1), rounds=count)
        _same(np.load(ours) / 1e8, np.load(theirs) / 1e8)
        yield _figure(f"exact, {orders:,} market orders", _seconds(rounds, 0, 1), orders, "us", EXACT_TARGET)
        yield _figure(f"exact, {orders:,} market orders, CPU", _cpu(rounds, 0, 1), orders, "us")


Rounds = list[tuple[Round, ...]]
Pairs = list[tuple[float, float]]


def _in_turn(*sides: tuple[Side, int], rounds: int = ROUNDS) -> Rounds:
    """Rounds of all sides, one after the other; a round before the first is thrown away."""
    return [tuple(each.round(times) for each, times in sides) for _ in range(rounds + 1)][1:]


def _seconds(rounds: Rounds, subject: int, baseline: int) -> Pairs:
    return [(each[subject].seconds, each[baseline].seconds) for each in rounds]


def _cpu(rounds: Rounds, subject: int, baseline: int) -> Pairs:
    """Of one core: what others do to the machine shows less in it."""
    return [(each[subject].cpu_s, each[baseline].cpu_s) for each in rounds]


def _same(ours: np.ndarray, theirs: np.ndarray) -> None:
    """Raises `AssertionError` where the sides differ: then their times say nothing."""
    np.testing.assert_allclose(ours, theirs, rtol=EQUITY_TOLERANCE)


def _figure(name: str, pairs: Pairs, operations: int, unit: str, target: float | None = None) -> Figure:
    ratios, scale = [subject / baseline for subject, baseline in pairs], {"us": 1e6, "ns": 1e9}[unit] / operations
    subjects, baselines = zip(*pairs, strict=True)
    spread = (max(ratios) - min(ratios)) / median(ratios)
    return Figure(name, median(subjects) * scale, median(baselines) * scale, median(ratios), spread, target, unit)


def _memory(name: str, subject_mb: float, baseline_mb: float, target: float | None = None) -> Figure:
    return Figure(name, subject_mb, baseline_mb, subject_mb / baseline_mb, 0.0, target, "MB")
