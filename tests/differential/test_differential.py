"""The fast engine tells of thousands of awkward actions what the exact one tells, to the last digit."""

from random import Random

import numpy as np
import pytest

from engine.rejections import GateCode
from engine.simulation.chunks import Pace, chunks
from engine.simulation.kernel import NOT_JUDGED
from engine.simulation.layout import REASONS
from engine.simulation.policies import PolicyTable
from engine.simulation.units import units
from tests.differential.compared import Report, compared, probed
from tests.differential.worlds import world

SEEDS = 24
pytestmark = pytest.mark.timeout(300)  # the kernel may have to be compiled, on a machine that others use


@pytest.fixture(scope="module")
def report() -> Report:
    made = Report()
    for seed in range(SEEDS):
        made.add(compared(seed))
    return made


def test_both_engines_tell_the_same(report: Report):
    assert not report.differences, "\n".join(report.differences[:10])


def test_every_gate_and_every_end_was_seen(report: Report):
    """Else the comparison says nothing of it."""
    assert {code for code in report.codes if code != NOT_JUDGED} == set(range(len(GateCode) + 1))
    assert report.codes[0] > 1_000
    assert set(report.ends) == set(REASONS)
    assert report.given_up < report.accounts / 50


def test_chunks_and_cores_change_nothing():
    made = world(Random(5), accounts=13, ticks=30)
    actions = probed(made, 5)
    balances = np.full(13, units(made.starting_balance, "startingBalance"), np.int64)
    policies = PolicyTable.of(made.policies, made.prices.symbols)
    runs = []
    for pace in (Pace(), Pace(accounts_a_chunk=1, cores=1), Pace(accounts_a_chunk=4, cores=2)):
        runs.append(list(chunks(made.prices, policies, balances, actions, pace)))
    for run in runs[1:]:
        for name in ("accounts", "positions", "closings", "rows", "equity"):
            joined = np.concatenate([getattr(chunk, name) for chunk in run])
            assert (joined == getattr(runs[0][0], name)).all(), name
        for name in runs[0][0].verdicts._fields:
            joined = np.concatenate([getattr(chunk.verdicts, name) for chunk in run])
            assert (joined == getattr(runs[0][0].verdicts, name)).all(), name
