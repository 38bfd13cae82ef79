"""Ray nodes on this machine, each in a process tree of its own, to be added, stopped and killed."""

import contextlib
import json
import os
import secrets
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import psutil

from tests.support.served import eventually

HEALTH_CHECK: Final = {
    "health_check_initial_delay_ms": 1_000,
    "health_check_period_ms": 500,
    "health_check_timeout_ms": 1_000,
    "health_check_failure_threshold": 3,
}
"""What `docs/reliability.md` tells operators to set: a dead node is found in about 5 s, not in up to 65 s."""
ENVIRONMENT: Final = {
    "RAY_AUTH_MODE": "token",
    "RAY_AUTH_TOKEN": secrets.token_hex(32),
    "RAY_worker_niceness": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
}
SIZE: Final = ("--num-cpus", "1", "--object-store-memory", str(80 * 1024 * 1024), "--dashboard-agent-listen-port", "0")
STARTED_S: Final = 30.0


class Node:
    """`ray start --block` and all that it started."""

    def __init__(self, *options: str) -> None:
        self._process = psutil.Popen(
            [sys.executable, "-m", "ray.scripts.scripts", "start", "--block", *SIZE, *options],
            env=os.environ | ENVIRONMENT,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        self._stopped: list[psutil.Process] = []

    def account_actors(self) -> list[psutil.Process]:
        return [each for each in self._tree() if "ray::AccountActor" in _command(each)]

    def stop(self) -> None:
        """SIGSTOP of all of it, as a frozen machine."""
        self._stopped = self._tree()
        for process in self._stopped:
            process.suspend()

    def go_on(self) -> None:
        """SIGCONT, the workers first: they have a moment before the raylet learns that it was declared dead."""
        for process in reversed(self._stopped):
            with contextlib.suppress(psutil.NoSuchProcess):
                process.resume()

    def kill(self) -> None:
        """kill -9 of all of it."""
        doomed = self._tree()
        for process in doomed:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        psutil.wait_procs(doomed, timeout=10)

    def _tree(self) -> list[psutil.Process]:
        try:
            return [self._process, *self._process.children(recursive=True)]
        except psutil.NoSuchProcess:
            return []


class Nodes:
    """A cluster that begins with its head alone."""

    def __init__(self, folder: Path) -> None:
        host, port = socket.gethostbyname(socket.gethostname()), _free_port()
        self.address = f"{host}:{port}"
        self._all: list[Node] = []
        self._folder = folder
        self.head = self._started(
            "--head",
            f"--port={port}",
            f"--node-ip-address={host}",
            "--include-dashboard=false",
            f"--temp-dir={folder / 'ray'}",  # not where `auto` looks
            f"--system-config={json.dumps(HEALTH_CHECK)}",
        )
        eventually(lambda: _answers(host, port), "the head", seconds_max=STARTED_S)

    def add(self, number: int) -> list[Node]:
        """So many more nodes, on their way."""
        return [self._joining(len(self._all)) for _ in range(number)]

    def end(self) -> None:
        for node in reversed(self._all):
            node.kill()

    def _joining(self, place: int) -> Node:
        """A folder of its own: nodes that start at once pick the same name for their sockets, and one ends at that."""
        return self._started(f"--address={self.address}", f"--temp-dir={self._folder / f'ray-{place}'}")

    def _started(self, *options: str) -> Node:
        node = Node(*options)
        self._all.append(node)
        return node


@contextlib.contextmanager
def nodes(folder: Path) -> Iterator[Nodes]:
    """A cluster with its sessions in `folder`, ended at the end whatever happened."""
    made = Nodes(folder)
    try:
        yield made
    finally:
        made.end()


def _answers(host: str, port: int) -> bool:
    try:
        socket.create_connection((host, port), timeout=1).close()
    except OSError:
        return False
    return True


def _free_port() -> int:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return int(listening.getsockname()[1])


def _command(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.NoSuchProcess:
        return ""
