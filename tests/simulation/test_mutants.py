"""The suite is worth what it catches: each safeguard taken out breaks an invariant of its own, within a few seeds."""

import pytest

from tests.simulation.mutants import MUTANTS
from tests.simulation.run import run

SEEDS_MAX = 20


@pytest.mark.parametrize("name", MUTANTS)
def test_a_mutant_is_caught_for_its_own_reason(name: str) -> None:
    mutant = MUTANTS[name]
    for seed in range(SEEDS_MAX):
        made = run(seed, mutant.parts, mutant.kinds, strikes_s=mutant.strikes_s)
        found = {violation.invariant for violation in made.violations}
        if found & mutant.caught_by:
            return
    pytest.fail(f"{name}: {SEEDS_MAX} seeds found none of {sorted(mutant.caught_by)}")


@pytest.mark.parametrize("name", MUTANTS)
def test_the_real_parts_survive_the_same_faults(name: str) -> None:
    for seed in range(3):
        made = run(seed, kinds=MUTANTS[name].kinds)
        assert not made.violations, made.report()
