"""Folders for the databases of tests, in memory where there is room: waiting for a disk proves nothing here.

A kill -9 loses what a process had not handed to the kernel, on either kind of folder alike. Only a power cut tells them
apart, and no test can make one.
"""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import psutil

IN_MEMORY: Final = Path("/dev/shm")
ROOM_BYTES: Final = 4 * 1024**3
"""Of free memory that files may take: several databases, each with its write-ahead log."""


def place(in_memory: Path = IN_MEMORY) -> Path | None:
    """Where to make folders; None for the usual temporary folder, where the other is missing or small."""
    if not in_memory.is_dir():
        return None
    room = min(shutil.disk_usage(in_memory).free, psutil.virtual_memory().available)
    return in_memory if room >= ROOM_BYTES else None


@contextmanager
def scratch() -> Iterator[Path]:
    """A new, private folder, gone afterwards with all that is in it.

    Its path is short, so that a unix socket fits. It is not below pytest's own folder, which locks the database's user
    out whenever a session starts.
    """
    folder = Path(tempfile.mkdtemp(prefix="prop-", dir=place()))
    try:
        yield folder
    finally:
        shutil.rmtree(folder)
