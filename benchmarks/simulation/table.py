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
ACCOUNTS, TICKS, ORDERS = 1_000, 10_000, 100
MANY_ACCOUNTS, MANY_ORDERS, MANY_EQUITY_EVERY = 100_000, 10, 100
FAST_TARGET: Final = 1 / 50
EXACT_TARGET: Final = 1 / 20
EQUITY_TOLERANCE: Final = 1e-9
"""Relative: vectorbt counts in float64."""


def figures() -> Iterator[Figure]:
    """The first runs make an environment for each peer and compile the kernel."""
    with tempfile.TemporaryDirectory(prefix="prop-simulation-") as folder:
        yield from _beside_vectorbt(Path(folder))
        for orders in (2_000, 10_000):
            yield _beside_nautilus(Path(folder), orders)


def _beside_vectorbt(folder: Path) -> Iterator[Figure]:
    cores, size = os.cpu_count() or 1, (ACCOUNTS, TICKS, ORDERS)
    ours, alone, theirs, many = (folder / f"{name}.npy" for name in ("ours", "alone", "theirs", "many"))
    with (
        side("our_side", "fast", *size, 1, cores, ours) as fast,
        side("our_side", "fast", *size, 1, 1, alone) as one_core,
        side("our_side", "fast", MANY_ACCOUNTS, TICKS, MANY_ORDERS, MANY_EQUITY_EVERY, cores, many) as large,
        side("vectorbt_side", *size, theirs, python=environment("vectorbt")) as peer,
    ):
        rounds = _in_turn(fast, one_core, peer)
        _same(np.load(ours) / 1e8, np.load(theirs))
        cells = ACCOUNTS * TICKS
        name = f"{ACCOUNTS:,} accounts x {TICKS:,} ticks"
        yield _figure(f"fast, {name}, {cores} cores", rounds, 0, 2, cells * 1e-3, "ns", FAST_TARGET)
        yield _figure(f"fast, {name}, one core", rounds, 1, 2, cells * 1e-3, "ns")
        yield _memory(f"fast, {name}, memory", rounds[-1][0].peak_mb, rounds[-1][2].peak_mb)
        many_rounds = [(large.round(), *others) for others in rounds[:2]]
        scaled = [(Round(big.seconds * cells / (MANY_ACCOUNTS * TICKS), 0), *rest) for big, *rest in many_rounds]
        name = f"{MANY_ACCOUNTS:,} accounts x {TICKS:,} ticks"
        yield _figure(f"fast, {name}", scaled, 0, 3, cells * 1e-3, "ns", FAST_TARGET)
        machine_mb = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 1e6
        yield _memory(f"fast, {name}, memory of the machine's", many_rounds[-1][0].peak_mb, machine_mb, 1.0)


def _beside_nautilus(folder: Path, orders: int) -> Figure:
    ours, theirs = folder / f"exact-{orders}.npy", folder / f"nautilus-{orders}.npy"
    with (
        side("our_side", "exact", orders, ours) as exact,
        side("nautilus_side", orders, theirs, python=environment("nautilus")) as peer,
    ):
        rounds = _in_turn(exact, peer)
        _same(np.load(ours) / 1e8, np.load(theirs) / 1e8)
        return _figure(f"exact, {orders:,} market orders", rounds, 0, 1, orders, "us", EXACT_TARGET)


def _in_turn(*sides: Side) -> list[tuple[Round, ...]]:
    """Rounds of all sides, one after the other; a round before the first is thrown away."""
    return [tuple(each.round() for each in sides) for _ in range(ROUNDS + 1)][1:]


def _same(ours: np.ndarray, theirs: np.ndarray) -> None:
    """Raises `AssertionError` where the sides differ: then their times say nothing."""
    np.testing.assert_allclose(ours, theirs, rtol=EQUITY_TOLERANCE)


def _figure(
    name: str,
    rounds: list[tuple[Round, ...]],
    subject: int,
    baseline: int,
    operations: float,
    unit: str,
    target: float | None = None,
) -> Figure:
    ratios = [each[subject].seconds / each[baseline].seconds for each in rounds]
    costs = [median(each[place].seconds for each in rounds) / operations * 1e6 for place in (subject, baseline)]
    spread = (max(ratios) - min(ratios)) / median(ratios)
    return Figure(name, costs[0], costs[1], median(ratios), spread, target, unit)


def _memory(name: str, subject_mb: float, baseline_mb: float, target: float | None = None) -> Figure:
    return Figure(name, subject_mb, baseline_mb, subject_mb / baseline_mb, 0.0, target, "MB")
