"""Runs of the simulated world: nothing acknowledged is lost, nothing is done twice (G1 to G5, G8), from fixed seeds."""

import re
from collections import Counter

import pytest

from tests.simulation.faults import FAULTS
from tests.simulation.run import Run, run

GROUPS = 8
SEEDS_A_GROUP = 16


@pytest.mark.parametrize("group", range(GROUPS))
def test_nothing_is_lost_repeated_or_left_behind(group: int) -> None:
    runs = [run(group * SEEDS_A_GROUP + place) for place in range(SEEDS_A_GROUP)]
    broken = [made.report() for made in runs if made.violations]
    assert not broken, "\n".join(broken)
    _reaches_what_it_is_there_for(runs)


@pytest.mark.parametrize("kind", FAULTS)
def test_each_fault_alone_is_survived(kind: str) -> None:
    for seed in (1, 2):
        made = run(seed, kinds=(kind,))
        assert made.faults
        assert not made.violations, made.report()


def test_a_seed_replays_its_run() -> None:
    first, second, other = run(7), run(7), run(8)
    assert first.trace == second.trace
    assert first.digest != other.digest


def _reaches_what_it_is_there_for(runs: list[Run]) -> None:
    """A simulation in which nothing goes wrong shows nothing."""
    said = Counter(word for made in runs for line in made.trace for word in re.findall(r"'event': '(\w+)'", line))
    for what in ("account_poisoned", "append_refused", "commit_ambiguous", "host_lost"):
        assert said[what], f"no run came to {what}"
    told = Counter(outcome for made in runs for outcome in Counter(made.outcomes).elements())
    assert told["ok"] > 10 * len(runs)
    assert told["unknown"]
