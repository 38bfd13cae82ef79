"""The data volume: a file system in memory that can be filled to its last byte."""

import contextlib
import errno
import os
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

SIZE_BYTES: Final = 1024**3
"""Holds a database of an hour of chaos, with a write-ahead log that is kept short."""
SETTINGS: Final = {"max_wal_size": "128MB", "min_wal_size": "32MB"}
STEP_BYTES: Final = (64 * 1024**2, 1024**2, 64 * 1024, 4096)


class Volume:
    """A mounted tmpfs at `folder`."""

    def __init__(self, folder: Path) -> None:
        self._ballast = folder / "ballast"

    @contextlib.contextmanager
    def full(self) -> Iterator[None]:
        """Not a page is free inside."""
        with self._ballast.open("wb") as ballast:
            size = 0
            for step in STEP_BYTES:
                while _grown(ballast.fileno(), size, step):
                    size += step
        try:
            yield
        finally:
            self._ballast.unlink()


@contextlib.contextmanager
def volume(folder: Path) -> Iterator[Volume]:
    """A new, empty volume mounted at `folder`, gone with all that is on it at the end."""
    folder.mkdir(parents=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={SIZE_BYTES},mode=700", "prop-chaos", folder], check=True)
    try:
        yield Volume(folder)
    finally:
        subprocess.run(["umount", folder], check=True)


def why_not() -> str | None:
    """Why there can be no volume here; None where there can."""
    with tempfile.TemporaryDirectory() as folder:
        try:
            with volume(Path(folder) / "volume"):
                return None
        except (OSError, subprocess.CalledProcessError):
            return "a tmpfs cannot be mounted: it takes root, with CAP_SYS_ADMIN"


def _grown(descriptor: int, size: int, step: int) -> bool:
    """Whether so many bytes more could be had."""
    try:
        os.posix_fallocate(descriptor, size, step)
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        return False
    return True
