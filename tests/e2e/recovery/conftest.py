"""One served engine for the tests that leave it running, and a folder for those that end it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.scratch import scratch
from tests.support.served import Served, served


@pytest.fixture
def data_dir() -> Iterator[Path]:
    with scratch() as folder:
        yield folder / "state"


@pytest.fixture(scope="module")
def engine_dir() -> Iterator[Path]:
    with scratch() as folder:
        yield folder / "state"


@pytest.fixture(scope="module")
def engine() -> Iterator[Served]:
    with scratch() as folder, served(folder / "state") as engine:
        yield engine
