"""The model of throughput: what so many processes on so many cores can do, from the CPU that one action takes in each.

An action passes through several processes, each of one thread. Two things bound how many a second there are: all
processes together have no more than the machine's cores, and each process has no more than one. Waiting binds nothing
while there are enough requests in flight, which is what 64 connections are for.
"""

from collections.abc import Mapping
from typing import NamedTuple


class Bound(NamedTuple):
    """`each_us`: microseconds from one action to the next, at best; `by`: "cores", or the kind of process that is
    full."""

    each_us: float
    by: str


def bound(cpu_us: Mapping[str, float], processes: Mapping[str, int], *, cores: float) -> Bound:
    """The rate's bound, for the CPU of an action by kind of process and how many there are of each kind. A kind that is
    not in `processes` spreads over as many as it likes (PostgreSQL has one a connection)."""
    limits = [Bound(sum(cpu_us.values()) / cores, "cores")]
    limits += [Bound(cpu_us[kind] / number, kind) for kind, number in processes.items() if kind in cpu_us]
    return max(limits)
