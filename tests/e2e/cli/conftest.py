"""Data folders for programs."""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture
def data_dir() -> Iterator[Path]:
    """Not yet there. Not below pytest's own folder: that takes the server's user's rights away when a session starts."""
    folder = Path(tempfile.mkdtemp(prefix="prop-cli-"))  # short, so that the unix socket fits
    yield folder / "state"
    shutil.rmtree(folder)
