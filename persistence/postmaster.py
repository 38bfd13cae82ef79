"""What the lock files in a PostgreSQL data directory say of its server, and whether that is still true.

The first line of ``postmaster.pid`` is a process number, the fourth a port. After a kill -9 the files stay, and the
number may since belong to another program.
"""

from pathlib import Path

import psutil

IMPOSSIBLE_PID = str(2**22)  # the kernel numbers processes below this


def running_pid(cluster: Path) -> int | None:
    """The process that ``postmaster.pid`` names, if it lives and is a server of this cluster."""
    pid = _number(cluster, line=0)
    if pid is None:
        return None
    try:
        process = psutil.Process(pid)
        ours = process.name().startswith("postgres") and str(cluster) in process.cmdline()
    except psutil.Error:  # gone, or a zombie
        return None
    return pid if ours else None


def port(cluster: Path) -> int | None:
    """The port it listens on, once it does."""
    return _number(cluster, line=3)


def clear_traces(cluster: Path) -> None:
    """Correct lock files of a server that is gone. Only where :func:`running_pid` is None.

    A server would take another program (or a zombie) with the number in them for its predecessor, and refuse to start.
    The other lines of ``postmaster.pid`` stay: by them it finds backends that outlived a killed predecessor, and waits.
    """
    pid = _number(cluster, line=0)
    if pid is not None and psutil.pid_exists(pid):
        rest = _lines(cluster)[1:]
        (cluster / "postmaster.pid").write_text("\n".join([IMPOSSIBLE_PID, *rest]) + "\n")
    for path in cluster.glob(".s.PGSQL.*"):  # the socket and its lock
        path.unlink()


def _number(cluster: Path, line: int) -> int | None:
    lines = _lines(cluster)
    return int(lines[line]) if len(lines) > line and lines[line].isdigit() else None


def _lines(cluster: Path) -> list[str]:
    try:
        return [line.strip() for line in (cluster / "postmaster.pid").read_text().splitlines()]
    except FileNotFoundError:
        return []
