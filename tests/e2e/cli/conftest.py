"""Data folders for programs."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.scratch import scratch


@pytest.fixture
def data_dir() -> Iterator[Path]:
    """Not there yet."""
    with scratch() as folder:
        yield folder / "state"
