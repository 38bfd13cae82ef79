"""promtool: from PATH, or from Debian's package `prometheus`, unpacked beside this Python: no root, no install.

Guarantee: a machine that cannot have it is told what to install; no test is passed over.
"""

import fcntl
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

KEPT: Final = Path(sys.prefix) / "promtool"
"""In the virtual environment, so that it is fetched once, and goes with it."""
SECONDS_MAX: Final = 100
MISSING: Final = (
    "promtool is needed to test the alert rules, is not on PATH and could not be fetched ({why})."
    " Install it: on Debian and Ubuntu `apt-get install prometheus`, elsewhere from the Prometheus release archive."
)


class NoPromtool(Exception):
    """There is none, and none to be had."""


def promtool() -> str:
    """Where it is. Raises `NoPromtool`."""
    found = shutil.which("promtool")
    if found is not None:
        return found
    with KEPT.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # workers of one run ask at once
        if not KEPT.exists():
            try:
                _fetch(KEPT)
            except (OSError, subprocess.SubprocessError, StopIteration) as error:
                raise NoPromtool(MISSING.format(why=error)) from error
    return str(KEPT)


def _fetch(target: Path) -> None:
    with tempfile.TemporaryDirectory(prefix="promtool-") as name:
        folder = Path(name)
        for part in ("lists/partial", "cache/archives/partial", "unpacked"):
            (folder / part).mkdir(parents=True)
        own = [f"Dir::State::lists={folder}/lists", f"Dir::Cache={folder}/cache", "Debug::NoLocking=1"]
        apt = ["apt-get", "--quiet", *(f"-o{each}" for each in (*own, "APT::Sandbox::User="))]
        _run([*apt, "update"], folder)
        _run([*apt, "download", "prometheus"], folder)
        _run(["dpkg-deb", "--extract", str(next(folder.glob("*.deb"))), str(folder / "unpacked")], folder)
        fresh = target.with_suffix(".new")
        shutil.copy2(folder / "unpacked/usr/bin/promtool", fresh)
        os.replace(fresh, target)


def _run(command: list[str], folder: Path) -> None:
    subprocess.run(command, cwd=folder, check=True, timeout=SECONDS_MAX, capture_output=True)
