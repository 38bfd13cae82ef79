"""One served engine for the tests that leave it running, and a folder for those that end it."""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.served import Served, served


def _folder() -> Iterator[Path]:
    """Not below pytest's own folder, which locks the database's user out whenever a session starts."""
    folder = Path(tempfile.mkdtemp(prefix="prop-e2e-"))  # short, so that the unix socket fits
    yield folder / "state"
    shutil.rmtree(folder)


@pytest.fixture
def data_dir() -> Iterator[Path]:
    yield from _folder()


@pytest.fixture(scope="module")
def engine_dir() -> Iterator[Path]:
    yield from _folder()


@pytest.fixture(scope="module")
def engine() -> Iterator[Served]:
    for folder in _folder():
        with served(folder) as engine:
            yield engine
