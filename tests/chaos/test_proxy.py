"""The proxy cuts where it says: a commit that was cut before is not stored, one that was cut after is."""

from collections.abc import Iterator

import psycopg
import pytest

from tests.chaos.proxy import Cut, Proxy, proxy
from tests.support.served import eventually


@pytest.fixture
def line(empty_database_url: str) -> Iterator[Proxy]:
    with proxy() as made, psycopg.connect(empty_database_url, autocommit=True) as connection:
        connection.execute("create table sent (name text)")
        made.lead_to(connection.info.port)
        yield made


def _through(url: str, line: Proxy) -> psycopg.Connection[tuple[str]]:
    return psycopg.connect(psycopg.conninfo.make_conninfo(url, port=line.port))


@pytest.mark.parametrize(("how", "stored"), [("before", 0), ("after", 1)])
def test_a_commit_is_cut_before_it_arrives_or_after(
    line: Proxy, empty_database_url: str, how: Cut, stored: int
) -> None:
    connection = _through(empty_database_url, line)
    pid = connection.info.backend_pid
    connection.execute("insert into sent values (%s)", (how,))
    line.cutting = how
    with pytest.raises(psycopg.OperationalError):
        connection.commit()
    assert line.cuts == 1
    with psycopg.connect(empty_database_url, autocommit=True) as direct:
        ended = "select from pg_stat_activity where pid = %s"
        eventually(lambda: direct.execute(ended, (pid,)).fetchone() is None, "the end of the backend")
        assert direct.execute("select count(*) from sent").fetchone() == (stored,)


def test_every_connection_is_cut_at_once(line: Proxy, empty_database_url: str) -> None:
    connections = [_through(empty_database_url, line) for _ in range(3)]
    line.cut_all()
    for connection in connections:
        with pytest.raises(psycopg.OperationalError):
            connection.execute("select pg_sleep(10)")
