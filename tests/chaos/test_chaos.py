"""Chaos for less than a minute, from a fixed seed: the faults that need no new start of the program."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.chaos.faults import QUICK
from tests.chaos.run import run
from tests.support.scratch import scratch

SECONDS = 40.0


@pytest.fixture
def folder() -> Iterator[Path]:
    with scratch() as made:
        yield made


@pytest.mark.timeout(300)
def test_nothing_acknowledged_is_lost_and_nothing_is_done_twice(folder: Path) -> None:
    said: list[str] = []
    report = run(folder, seed=1, seconds=SECONDS, kinds=QUICK, say=said.append)
    assert not report.violations, "\n".join([*said, str(report)])
    assert report.outcomes["ok"] > 100
    assert len(report.faults) >= len(QUICK) - 2, f"most faults struck in vain: {report}"
