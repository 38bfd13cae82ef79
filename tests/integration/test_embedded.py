"""The bundled PostgreSQL: first start, adoption, kill -9, strangers, and what is refused. A real server each time."""

import contextlib
import os
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import psycopg
import pytest

from persistence import embedded
from persistence.embedded import EmbeddedPostgres, EmbeddedPostgresError
from tests.support.scratch import scratch

pytestmark = pytest.mark.postgres


@pytest.fixture
def folder() -> Iterator[Path]:
    """Not there yet."""
    with scratch() as path:
        yield path / "data"


@pytest.fixture
def server(folder: Path) -> Iterator[EmbeddedPostgres]:
    with EmbeddedPostgres(folder) as running:
        yield running


def answer(url: str, query: str) -> Any:
    with psycopg.connect(url) as connection:
        row = connection.execute(query.encode()).fetchone()
        assert row is not None
        return row[0]


def is_gone(pid: int | None) -> bool:
    """Ended; in a container whose first process reaps nothing it may stay as a zombie."""
    assert pid is not None
    return not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


def kill_9(server: EmbeddedPostgres) -> None:
    assert server.pid is not None
    psutil.Process(server.pid).kill()
    while not is_gone(server.pid):
        time.sleep(0.01)


def test_first_start_makes_what_we_rely_on(server: EmbeddedPostgres):
    assert not server.adopted
    assert server.url.endswith(f"@127.0.0.1:{server.port}/prop")
    settings = {
        "fsync": "on",
        "synchronous_commit": "on",
        "full_page_writes": "on",
        "data_checksums": "on",
        "server_encoding": "UTF8",
        "password_encryption": "scram-sha-256",
        "listen_addresses": "127.0.0.1",
        "max_connections": "100",
        "shared_buffers": "256MB",
        "lock_timeout": "30s",
        "idle_in_transaction_session_timeout": "1min",
        "TimeZone": "UTC",
    }
    assert {name: answer(server.url, f"SHOW {name}") for name in settings} == settings
    assert answer(server.url, "SELECT 'É' < 'Z'") is False  # order of code points, on every machine


def test_password_is_needed_and_private(server: EmbeddedPostgres):
    assert stat.S_IMODE((server.folder / "password").stat().st_mode) == 0o600
    for host in ("127.0.0.1", str(server.cluster)):
        with pytest.raises(psycopg.OperationalError, match="password"):
            psycopg.connect(host=host, port=server.port, user="prop", dbname="prop", password="guess")


def test_socket_answers_too(server: EmbeddedPostgres):
    password = (server.folder / "password").read_text().strip()
    where = {"host": str(server.cluster), "port": server.port, "user": "prop", "password": password, "dbname": "prop"}
    with psycopg.connect(**where) as connection:  # type: ignore[arg-type]  # a mixed dictionary
        assert connection.execute("SELECT 1").fetchone() == (1,)


def test_stop_and_start_keeps_port_password_and_rows(folder: Path):
    with EmbeddedPostgres(folder) as first:
        url = first.url
        with psycopg.connect(url) as connection:
            connection.execute("CREATE TABLE kept AS SELECT 42 AS answer")
        pid = first.pid
    assert is_gone(pid)
    with EmbeddedPostgres(folder) as second:
        assert second.url == url
        assert answer(url, "SELECT answer FROM kept") == 42


def test_another_port_when_the_remembered_one_is_taken(folder: Path):
    with EmbeddedPostgres(folder) as first:
        port = first.port
    assert port is not None
    with socket.socket() as squatter:
        squatter.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        squatter.bind(("127.0.0.1", port))
        squatter.listen()
        with EmbeddedPostgres(folder) as second:
            assert second.port != port
            assert answer(second.url, "SELECT 1") == 1


def test_server_outlives_a_killed_parent_and_is_adopted(folder: Path):
    start = "import os, sys, time; from persistence.embedded import EmbeddedPostgres as P; s = P(sys.argv[1]).start(); "
    parent = subprocess.Popen(
        [sys.executable, "-c", start + "print(s.pid, flush=True); time.sleep(100)", str(folder)],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert parent.stdout is not None
    pid = int(parent.stdout.readline())
    parent.kill()
    parent.wait()
    parent.stdout.close()
    with EmbeddedPostgres(folder) as server:
        assert server.adopted
        assert server.pid == pid
        assert answer(server.url, "SELECT 1") == 1
    assert is_gone(pid)


def test_killed_postmaster_loses_nothing_committed(folder: Path):
    server = EmbeddedPostgres(folder).start()
    with psycopg.connect(server.url) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 42 AS answer")
    busy = psycopg.connect(server.url)
    busy.execute("SELECT 1")
    kill_9(server)
    with EmbeddedPostgres(folder) as again:
        assert not again.adopted
        assert answer(again.url, "SELECT answer FROM kept") == 42
    busy.close()


def test_pid_file_that_names_a_stranger(folder: Path):
    server = EmbeddedPostgres(folder).start()
    kill_9(server)
    pid_file = server.cluster / "postmaster.pid"
    stranger = subprocess.Popen(["sleep", "60"], user=pid_file.stat().st_uid)
    try:
        lines = pid_file.read_text().splitlines()
        pid_file.write_text("\n".join([str(stranger.pid), *lines[1:]]) + "\n")
        with EmbeddedPostgres(folder) as again:
            assert not again.adopted
            assert answer(again.url, "SELECT 1") == 1
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()


def test_a_server_that_hangs_is_stopped_all_the_same(folder: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(embedded.STOP_SECONDS_MAX, "fast", 1)
    with EmbeddedPostgres(folder) as server, psycopg.connect(server.url, autocommit=True) as connection:
        connection.execute("create table kept as select 42 as answer")
        backend, pid = psutil.Process(connection.info.backend_pid), server.pid
        backend.suspend()
        server.stop()
        assert is_gone(pid)
        server.start()
        assert answer(server.url, "select answer from kept") == 42


def test_stop_leaves_a_successor_alone(folder: Path):
    first = EmbeddedPostgres(folder).start()
    kill_9(first)
    with EmbeddedPostgres(folder) as second:
        first.stop()
        assert answer(second.url, "SELECT 1") == 1


def test_half_made_cluster_is_made_again(folder: Path):
    (folder / "cluster.new").mkdir(parents=True)
    (folder / "cluster.new" / "PG_VERSION").write_text("18\n")
    with EmbeddedPostgres(folder) as server:
        assert answer(server.url, "SELECT 1") == 1


def test_databases_cloned_from_a_template(server: EmbeddedPostgres):
    with psycopg.connect(server.create_database("model")) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 42 AS answer")
    copy = server.create_database("copy", template="model")
    assert answer(copy, "SELECT answer FROM kept") == 42
    with psycopg.connect(copy):
        server.drop_database("copy")  # though something is connected
    server.drop_database("copy")
    with pytest.raises(psycopg.OperationalError, match="does not exist"):
        psycopg.connect(copy)


def test_start_twice_is_one_server(server: EmbeddedPostgres):
    with EmbeddedPostgres(server.folder).start() as other:
        assert other.adopted
        assert other.pid == server.pid


def test_other_major_version_is_refused(folder: Path):
    (folder / "cluster").mkdir(parents=True)
    (folder / "cluster" / "PG_VERSION").write_text("15\n")
    with pytest.raises(EmbeddedPostgresError, match="made by PostgreSQL 15 and this is 18"):
        EmbeddedPostgres(folder).start()


def test_lost_password_is_explained(folder: Path):
    with EmbeddedPostgres(folder):
        pass
    (folder / "password").unlink()
    with pytest.raises(EmbeddedPostgresError, match="password is missing"), EmbeddedPostgres(folder):
        pass


def test_not_started_has_no_url(folder: Path):
    with pytest.raises(EmbeddedPostgresError, match="has not been started"):
        _ = EmbeddedPostgres(folder).url


@pytest.mark.skipif(os.geteuid() != 0, reason="only root steps down to another user")
def test_below_a_private_home_only_postgres_may_pass():
    with scratch() as home:
        assert stat.S_IMODE(home.stat().st_mode) == 0o700
        with EmbeddedPostgres(home / "state" / "pg") as server:
            assert psutil.Process(server.pid).username() != "root"
        assert home.stat().st_mode & stat.S_IRWXO == 0
        nobody = subprocess.run(
            ["ls", str(home / "state")], user=65534, group=65534, extra_groups=[], capture_output=True
        )
        assert nobody.returncode != 0


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_ordinary_user_needs_nothing_special():
    with scratch() as home:
        os.chown(home, 65534, 65534)
        child = os.fork()  # not a new interpreter: it may lie where only root can run it
        if child == 0:
            with contextlib.suppress(BaseException):
                os.setgroups([])
                os.setgid(65534)
                os.setuid(65534)
                with EmbeddedPostgres(home / "pg") as server:
                    os._exit(answer(server.url, "SELECT 42"))
            os._exit(1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 42


def test_ctrl_c_does_not_reach_the_server(server: EmbeddedPostgres):
    """The terminal sends it to the whole foreground group: the server must not be in it."""
    assert server.pid is not None
    assert os.getpgid(server.pid) != os.getpgid(0)
