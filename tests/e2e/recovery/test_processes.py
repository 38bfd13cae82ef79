"""Several gateway processes on one port: whichever answers, it is one engine, and one that is killed is replaced."""

import http.client
import json
import signal
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import psycopg
import pytest

from tests.support.served import TOKEN, Served, eventually, served

pytestmark = [pytest.mark.ray, pytest.mark.postgres, pytest.mark.slow]

API = "/api/v1/prop"
SIBLING = "gateway.commands.sibling"
CONNECTIONS_TRIED = 64
HEADERS = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"}


@pytest.fixture(scope="module")
def pair(engine_dir: Path) -> Iterator[Served]:
    with served(engine_dir, PROP_GATEWAY__PROCESSES="2") as engine:
        engine.observe("BTC-USD", "50000")
        yield engine


class Line:
    """A connection that one process has taken, and what is heard on it."""

    def __init__(self, engine: Served, process: psutil.Process) -> None:
        self._connection = _taken_by(engine, process)

    def send(self, method: str, path: str, body: dict[str, Any] | None = None) -> tuple[int, Any]:
        sent = None if body is None else json.dumps(body)
        self._connection.request(method, path, sent, HEADERS)
        answer = self._connection.getresponse()
        return answer.status, json.loads(answer.read())

    def act(self, account: str, key: str, quantity: str = "0.01") -> tuple[int, Any]:
        action = {"decisionActionId": key, "action": "open", "symbol": "BTC-USD", "side": "long", "quantity": quantity}
        path = f"{API}/accounts/{account}/decision-actions"
        return self.send("POST", path, {"decisionRunId": "run-1", "actions": [action]})

    def stream(self, path: str) -> Iterator[str]:
        """Lines of a stream of events, until it is closed."""
        self._connection.request("GET", path, headers={**HEADERS, "Accept": "text/event-stream"})
        answer = self._connection.getresponse()
        assert answer.status == 200
        while line := answer.readline():
            yield line.decode().rstrip("\n")

    def close(self) -> None:
        self._connection.close()


@contextmanager
def lines(engine: Served) -> Iterator[tuple[Line, Line]]:
    """One to the first gateway and one to its sibling."""
    first, other = Line(engine, engine.program()), Line(engine, sibling_of(engine))
    try:
        yield first, other
    finally:
        first.close()
        other.close()


def sibling_of(engine: Served) -> psutil.Process:
    (found,) = engine.processes(SIBLING)
    return found


def _taken_by(engine: Served, process: psutil.Process) -> http.client.HTTPConnection:
    """The kernel chooses, so connect until it chooses this one."""
    address = engine.url.removeprefix("http://")
    for _ in range(CONNECTIONS_TRIED):
        connection = http.client.HTTPConnection(address, timeout=30)
        connection.request("GET", "/livez")  # answered, so accepted
        connection.getresponse().read()
        port = connection.sock.getsockname()[1]
        if any(each.raddr and each.raddr.port == port for each in process.net_connections("tcp")):
            return connection
        connection.close()
    raise AssertionError(f"none of {CONNECTIONS_TRIED} connections came to {process.pid}")


def test_an_action_sent_to_both_at_once_is_judged_once(pair: Served) -> None:
    account = pair.trading_account("both-at-once")
    with lines(pair) as both:
        for number in range(20):
            heard: list[Any] = [None, None]

            def send(place: int, key: str = f"a{number}", heard: list[Any] = heard) -> None:
                heard[place] = both[place].act(account, key)

            senders = [threading.Thread(target=send, args=(place,)) for place in (0, 1)]
            for sender in senders:
                sender.start()
            for sender in senders:
                sender.join()
            assert [status for status, _ in heard] == [200, 200]
            results = [answer["results"][0] for _, answer in heard]
            assert sorted(each["replayed"] for each in results) == [False, True]
            assert len({each["fill"]["id"] for each in results}) == 1
        _, snapshot = both[1].send("GET", f"{API}/accounts/{account}/snapshot")
        assert [each["quantity"] for each in snapshot["positions"]] == ["0.20000000"]
        assert both[0].send("GET", f"{API}/accounts/{account}/snapshot")[1]["accountSeq"] == snapshot["accountSeq"]


def test_what_one_gateway_gives_the_other_takes(pair: Served) -> None:
    account = pair.trading_account("given-and-taken")
    fills = f"{API}/accounts/{account}/fills?limit=2"
    with lines(pair) as (first, other):
        seq = [first.act(account, f"a{number}")[1]["accountSeq"] for number in range(3)][-1]
        waiting = f"{API}/accounts/{account}/snapshot?minSeq={seq}&waitMs=5000"
        assert other.send("GET", waiting)[1]["accountSeq"] == seq
        _, page = other.send("GET", fills)
        status, rest = first.send("GET", f"{fills}&cursor={page['nextCursor']}")
        assert (status, len(rest["data"]), rest["hasMore"]) == (200, 1, False)

        for line in (first, other):
            status, readiness = line.send("GET", "/readyz?verbose")
            assert (status, readiness["ready"]) == (200, True)

        streamed = other.stream(f"{API}/accounts/{account}/ledger?afterSeq={seq}")
        assert next(streamed).startswith("retry:")
        assert first.act(account, "live")[0] == 200
        assert next(line for line in streamed if line.startswith("event:")) == "event: order_validated"


def test_metrics_hold_the_figures_of_both_whoever_is_asked(pair: Served) -> None:
    account = pair.trading_account("measured")
    with lines(pair) as both:
        before = requests(pair, both)
        for place, times in enumerate((3, 5)):
            for number in range(times):
                both[place].act(account, f"{place}-{number}")
        after = requests(pair, both)
    assert [after[place] - before[place] for place in (0, 1)] == [3, 5]


def test_metrics_tell_the_engine_once_and_who_of_it_is_silent(pair: Served) -> None:
    account = pair.trading_account("engine")
    before = executed(pair)
    pair.act(account, "1", quantity="0.1")
    eventually(lambda: executed(pair) == before + 1, "the action, with a pulse")
    assert 'prop_up{component="persister-0"} 1.0' in pair.text("/metrics")
    (persister,) = pair.processes("ray::PersisterActor")
    persister.suspend()
    try:
        eventually(lambda: 'prop_up{component="persister-0"} 0.0' in pair.text("/metrics"), "its silence")
        asked_at = time.monotonic()
        assert 'prop_up{component="supervisor"} 1.0' in pair.text("/metrics")
        assert time.monotonic() - asked_at < 5
    finally:
        persister.resume()
    eventually(lambda: 'prop_up{component="persister-0"} 1.0' in pair.text("/metrics"), "its answer")


def executed(engine: Served) -> float:
    """Actions executed, over all nodes: each series is there once, whoever tells it."""
    lines = [each for each in engine.text("/metrics").splitlines() if each.startswith("prop_actions_total{")]
    assert len(lines) == len({each.rsplit(" ", 1)[0] for each in lines})
    return sum(float(each.rsplit(" ", 1)[1]) for each in lines if 'outcome="executed"' in each)


def requests(engine: Served, both: tuple[Line, Line]) -> dict[int, float]:
    """Actions posted by gateway, which both of them say alike."""
    told = []
    for line in both:
        line._connection.request("GET", "/metrics")
        text = line._connection.getresponse().read().decode()
        assert "prop_gateways 2.0" in text
        told.append(
            {
                place: sum(
                    float(each.rsplit(" ", 1)[1])
                    for each in text.splitlines()
                    if each.startswith("prop_http_requests_total{")
                    and f'gateway="{place}"' in each
                    and "decision-actions" in each
                )
                for place in (0, 1)
            }
        )
    assert told[0] == told[1]
    return told[0]


def test_a_killed_sibling_is_replaced_and_nothing_acknowledged_is_lost(pair: Served) -> None:
    account = pair.trading_account("killed-sibling")
    doomed = sibling_of(pair)
    with lines(pair) as (first, other):
        answers = [other.act(account, f"a{number}")[1]["results"][0] for number in range(5)]
        doomed.kill()
        for number, answer in enumerate(answers):
            assert first.act(account, f"a{number}")[1]["results"][0] == answer | {"replayed": True}
        assert first.act(account, "after")[0] == 200
    eventually(lambda: {each.pid for each in pair.processes(SIBLING)} - {doomed.pid}, "another sibling")
    eventually(lambda: "prop_gateways 2.0" in pair.text("/metrics"), "its figures")
    with lines(pair) as (_, other):
        assert other.act(account, "a0")[1]["results"][0] == answers[0] | {"replayed": True}


def test_a_sibling_that_is_told_to_stop_finishes_and_is_replaced(pair: Served) -> None:
    told = sibling_of(pair)
    told.send_signal(signal.SIGTERM)
    eventually(lambda: not told.is_running() or told.status() == psutil.STATUS_ZOMBIE, "its end")
    eventually(lambda: "prop_gateways 2.0" in pair.text("/metrics"), "another sibling")


class Caller(threading.Thread):
    """A client that acts without a pause, over connections that it keeps for as long as it may, until none is let in.
    `answered` are the keys of its actions that were done; `lost` is what befell a request on an open connection."""

    def __init__(self, engine: Served, name: str) -> None:
        super().__init__(name=name)
        self._address = engine.url.removeprefix("http://")
        self.account = engine.trading_account(name)
        self.answered: list[str] = []
        self.statuses: set[int] = set()
        self.lost: list[str] = []

    def run(self) -> None:
        number = 0
        while True:
            connection = http.client.HTTPConnection(self._address, timeout=30)
            try:
                connection.connect()
            except OSError:  # nobody listens any more
                return
            try:
                while connection.sock is not None:  # until an answer ends it
                    number += 1
                    self._act(connection, f"a{number}")
            except (OSError, http.client.HTTPException) as error:
                self.lost.append(repr(error))

    def _act(self, connection: http.client.HTTPConnection, key: str) -> None:
        action = {"decisionActionId": key, "action": "open", "symbol": "BTC-USD", "side": "long", "quantity": "0.001"}
        body = json.dumps({"decisionRunId": "run-1", "actions": [action]})
        connection.request("POST", f"{API}/accounts/{self.account}/decision-actions", body, HEADERS)
        answer = connection.getresponse()
        answer.read()
        self.statuses.add(answer.status)
        if answer.status == 200:
            self.answered.append(key)


def test_a_stop_under_load_loses_no_request_and_ends_all_of_them(data_dir: Path, database_url: str) -> None:
    """SIGTERM, as an orchestrator stops a program: not ready first, then everything that was let in is answered."""
    settings = {"PROP_GATEWAY__PROCESSES": "3", "PROP_GATEWAY__FAREWELL_MS": "1000", "PROP_DATABASE_URL": database_url}
    with served(data_dir, **settings) as engine:
        engine.observe("BTC-USD", "50000")
        family = [engine.program(), *engine.program().children(recursive=True)]
        assert len(engine.processes(SIBLING)) == 2
        callers = [Caller(engine, f"caller-{number}") for number in range(8)]
        for caller in callers:
            caller.start()
        eventually(lambda: all(len(each.answered) > 5 for each in callers), "actions of everybody")
        asked = threading.Timer(0.5, lambda: ready.append(_readiness(engine)))
        ready: list[int] = []
        asked.start()
        assert engine.stop(signal.SIGTERM) == 0
        gone, alive = psutil.wait_procs(family, timeout=10)
        for caller in callers:
            caller.join(timeout=30)
    assert [each.pid for each in alive if each.status() != psutil.STATUS_ZOMBIE] == []
    assert len(gone) == len(family)
    assert ready == [503]
    assert [each.lost for each in callers if each.lost] == []
    assert set().union(*(each.statuses for each in callers)) <= {200, 503}
    with psycopg.connect(database_url) as connection:
        for caller in callers:
            kept = connection.execute(
                "select decision_action_id from prop_decision_actions where account_id = %s", (caller.account,)
            )
            assert {key for (key,) in kept} >= set(caller.answered)


def _readiness(engine: Served) -> int:
    """Status of `/readyz`."""
    connection = http.client.HTTPConnection(engine.url.removeprefix("http://"), timeout=10)
    connection.request("GET", "/readyz")
    return connection.getresponse().status


def test_a_sibling_does_not_outlive_the_first(data_dir: Path, database_url: str) -> None:
    with served(data_dir, PROP_GATEWAY__PROCESSES="2", PROP_DATABASE_URL=database_url) as engine:
        other = sibling_of(engine)
        engine.kill_program()
        eventually(lambda: not listens(engine.url), "nobody on the port", seconds_max=5)
        assert psutil.wait_procs([other], timeout=20)[1] == []
        engine.end_orphans()


def listens(url: str) -> bool:
    host, _, port = url.removeprefix("http://").partition(":")
    try:
        socket.create_connection((host, int(port)), timeout=1).close()
    except OSError:
        return False
    return True
