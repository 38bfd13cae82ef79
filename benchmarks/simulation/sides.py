"""Sides: each engine in a process of its own, so that memory is told apart, each peer in its own environment.

A side is started with the size of its task, prepares it, and then does one round for each line it is sent: the task as
often as the line says. It answers with one JSON line: what doing it once took, and the peak of its memory so far.
"""

import json
import subprocess
import sys
import venv
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, NamedTuple

HERE: Final = Path(__file__).parent
ROOT: Final = HERE.parent.parent
ENVIRONMENTS: Final = ROOT / ".venv-peers"


class Round(NamedTuple):
    """One round of a side: seconds on the clock and of CPU, each for doing its task once."""

    seconds: float
    cpu_s: float
    peak_mb: float


class Side:
    """A running side."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process

    def round(self, times: int = 1) -> Round:
        """Do the task so many times. Raises `RuntimeError` where the side has ended; why stands on the terminal."""
        if self._process.stdin is None or self._process.stdout is None:
            raise RuntimeError("a side is spoken to through pipes")
        self._process.stdin.write(f"{times}\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        if not answer:
            raise RuntimeError(f"{self._process.args!r} ended with {self._process.wait()}")
        return Round(**json.loads(answer))


@contextmanager
def side(module: str, *arguments: object, python: Path | None = None) -> Iterator[Side]:
    """A side, from `benchmarks.simulation`, until the end of the block. `python`: of the peer's environment."""
    command = [str(python or sys.executable), "-m", f"benchmarks.simulation.{module}", *map(str, arguments)]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield Side(process)
        finally:
            process.kill()


def environment(peer: str) -> Path:
    """The python of a peer's virtual environment, which is made when it is missing or its requirements have changed."""
    requirements, folder = HERE / f"{peer}.txt", ENVIRONMENTS / peer
    python, stamp = folder / "bin" / "python", folder / "requirements.txt"
    if not stamp.exists() or stamp.read_text() != requirements.read_text():
        print(f"making an environment for {peer}, once", file=sys.stderr, flush=True)
        venv.create(folder, clear=True, with_pip=True)
        installs = [
            str(python),
            "-m",
            "pip",
            "install",
            "--quiet",
            "--disable-pip-version-check",
            "-r",
            str(requirements),
        ]
        subprocess.run(installs, check=True, stdout=sys.stderr)
        stamp.write_text(requirements.read_text())
    return python
