"""The `prop` program as a process of its own: started, waited for, spoken to, stopped; and all that it started."""

import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil

STOP_SECONDS_MAX = 45


def environment(**more: str) -> dict[str, str]:
    """This one's, without what would change the program's settings."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("PROP_", "RAY_"))} | more


def prop(*arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
    """Run a command to its end."""
    return subprocess.run(
        [sys.executable, "-m", "gateway.cli", *arguments],
        env=environment(**more),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


class Program:
    """A command that goes on running, and what it has said."""

    def __init__(self, process: subprocess.Popen[str], data_dir: Path) -> None:
        self.process = process
        self.data_dir = data_dir
        self.said: list[str] = []
        self._lines: queue.Queue[str | None] = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        for line in self.process.stdout or ():
            self._lines.put(line.rstrip("\n"))
        self._lines.put(None)

    def read_until(self, enough: Callable[[str], bool], *, seconds: float) -> None:
        """Read what it says, line by line, until `enough` of the last."""
        give_up = time.monotonic() + seconds
        while True:
            try:
                line = self._lines.get(timeout=max(0.0, give_up - time.monotonic()))
            except queue.Empty:
                raise AssertionError(f"it did not come:\n{self._last_words()}") from None
            if line is None:
                raise AssertionError(f"it ended:\n{self._last_words()}")
            self.said.append(line)
            if enough(line):
                return

    def await_ready(self, *, seconds: float = 90) -> dict[str, Any]:
        """`run.json`, once it is there."""
        give_up = time.monotonic() + seconds
        while time.monotonic() < give_up and self.process.poll() is None:
            try:
                run: dict[str, Any] = json.loads((self.data_dir / "run.json").read_text())
            except FileNotFoundError:
                time.sleep(0.05)
            else:
                return run
        raise AssertionError(f"not ready, exit code {self.process.poll()}:\n{self._last_words()}")

    def _last_words(self) -> str:
        return "\n".join([*self.said[-50:], stderr_of(self.data_dir).read_text()[-4000:]])

    def token(self) -> str:
        return (self.data_dir / "token").read_text().strip()

    def call(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        """One request; the body of its answer."""
        url = json.loads((self.data_dir / "run.json").read_text())["url"] + path
        headers = {"Authorization": f"Bearer {self.token()}", "Content-Type": "application/json"}
        sent = None if body is None else json.dumps(body).encode()
        with urllib.request.urlopen(urllib.request.Request(url, sent, headers, method=method), timeout=30) as answer:
            return json.load(answer)

    def family(self) -> list[psutil.Process]:
        """Itself, whatever it started, and its PostgreSQL, which detaches itself."""
        found = psutil.Process(self.process.pid)
        postmaster = int((self.data_dir / "postgres" / "cluster" / "postmaster.pid").read_text().split()[0])
        return [found, *found.children(recursive=True), psutil.Process(postmaster)]

    def stop(self, number: signal.Signals) -> int:
        """Tell it to stop; its exit code."""
        self.process.send_signal(number)
        return self.process.wait(STOP_SECONDS_MAX)


def stderr_of(data_dir: Path) -> Path:
    """Where the standard error of a program on this folder goes."""
    return data_dir.parent / f"{data_dir.name}.stderr"


@contextmanager
def running(*arguments: str, data_dir: Path, **more: str) -> Iterator[Program]:
    """A command that is stopped at the end of the block, if it has not ended before."""
    with stderr_of(data_dir).open("w") as stderr:
        process = subprocess.Popen(
            [sys.executable, "-m", "gateway.cli", *arguments, "--data-dir", str(data_dir)],
            env=environment(**more),
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
            start_new_session=True,
        )
    try:
        yield Program(process, data_dir)
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
            try:
                process.wait(STOP_SECONDS_MAX)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def still_alive(family: list[psutil.Process], *, seconds: float = 10) -> list[str]:
    """Which of them outlive the wait."""
    _, alive = psutil.wait_procs(family, timeout=seconds)
    return [f"{process.pid} {process.name()}" for process in alive if process.status() != psutil.STATUS_ZOMBIE]
