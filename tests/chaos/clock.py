"""A clock for the engine: `clock.c` preloaded into its processes, steered by a file. PostgreSQL keeps the true time."""

import shutil
import struct
import subprocess
import sys
from pathlib import Path
from typing import Final

SOURCE: Final = Path(__file__).with_name("clock.c")
AHEAD: Final = struct.Struct("q")


class Clock:
    """A clock for processes that start in `environment`. Lives in two files of `folder`."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / "clock"
        self._library = folder / "clock.so"
        self._file.write_bytes(AHEAD.pack(0))

    @property
    def environment(self) -> dict[str, str]:
        """Of a Python whose wall clock can be stepped, and of all that it starts."""
        if not self._library.exists():
            subprocess.run(["cc", "-shared", "-fPIC", "-O2", "-o", self._library, SOURCE, "-ldl"], check=True)
        return {"LD_PRELOAD": str(self._library), "CHAOS_CLOCK": str(self._file)}

    def step(self, ahead_s: int) -> None:
        """So far from the true time, at once."""
        with self._file.open("r+b") as file:  # the same file: it is mapped
            file.write(AHEAD.pack(ahead_s))


def why_not() -> str | None:
    """Why the clock cannot be stepped here; None where it can."""
    if sys.platform != "linux":
        return "the clock is stepped by a library for Linux"
    if shutil.which("cc") is None:
        return "no C compiler: cc makes the library that steps the clock"
    return None
