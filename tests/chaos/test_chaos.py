"""Chaos for less than a minute, from a fixed seed: the faults that need no new start of the program."""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.chaos.faults import QUICK
from tests.chaos.run import run

SECONDS = 40.0


@pytest.fixture
def folder() -> Iterator[Path]:
    """Not below pytest's own folder, which locks the database's user out whenever a session starts."""
    made = Path(tempfile.mkdtemp(prefix="prop-chaos-"))
    yield made
    shutil.rmtree(made)


@pytest.mark.timeout(300)
def test_nothing_acknowledged_is_lost_and_nothing_is_done_twice(folder: Path) -> None:
    said: list[str] = []
    report = run(folder, seed=1, seconds=SECONDS, kinds=QUICK, say=said.append)
    assert not report.violations, "\n".join([*said, str(report)])
    assert report.outcomes["ok"] > 100
    assert len(report.faults) >= len(QUICK) - 2, f"most faults struck in vain: {report}"
