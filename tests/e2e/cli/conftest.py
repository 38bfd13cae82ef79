"""Data folders for programs."""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture
def data_dir() -> Iterator[Path]:
    """Not there yet, and not below pytest's folder, which locks the user of the server out when a session starts."""
    folder = Path(tempfile.mkdtemp(prefix="prop-cli-"))  # short, so that the unix socket fits
    yield folder / "state"
    shutil.rmtree(folder)
