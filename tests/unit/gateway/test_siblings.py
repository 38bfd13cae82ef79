"""What a sibling is told, and the port it shares."""

import asyncio
import socket
import sys
from asyncio.subprocess import PIPE, Process

import msgspec
import pytest
import structlog

from actors.runtime import RuntimeConfig
from configs.settings import Settings, load_settings
from gateway.assembly import _free_port
from gateway.exposition import Beside
from gateway.siblings import Order, Siblings, order_of

ENVIRON = {"PROP_DATABASE_URL": "postgresql://prop:secret@db/prop", "PROP_GATEWAY__PROCESSES": "2"}


def order(**changed: object) -> Order:
    given: dict[str, object] = {
        "settings": load_settings(environ=ENVIRON).model_dump(mode="json"),
        "config": RuntimeConfig(database_url="postgresql://prop:secret@db/prop", persister_actors=3),
        "ray_address": "127.0.0.1:1",
        "port": 8080,
        "beside": Beside(folder="/nowhere", processes=2, place=1),
    }
    return Order(**(given | changed))  # type: ignore[arg-type]  # as the fields are


def test_an_order_arrives_as_it_was_given():
    line = msgspec.json.encode(order()) + b"\n"
    assert line.count(b"\n") == 1
    arrived = order_of(line)
    assert arrived == order()
    assert Settings.model_validate(arrived.settings).model_dump() == load_settings(environ=ENVIRON).model_dump()


async def test_a_sibling_that_cannot_start_ends_the_start(monkeypatch):
    async def bear(_: bytes) -> Process:
        return await asyncio.create_subprocess_exec(sys.executable, "-c", "exit(1)", stdin=PIPE, stdout=PIPE)

    monkeypatch.setattr("gateway.siblings._born", bear)
    monkeypatch.setattr("gateway.siblings.PAUSE_SECONDS", 0.01)
    siblings = Siblings(1, ending_ms=1_000)
    with pytest.raises(OSError, match="gateway 1 of this port cannot be started"):
        await siblings.start(lambda place: order())
    siblings.dismiss()
    await siblings.ended()


@pytest.mark.parametrize(
    ("child", "why"),
    [
        ("print('ready', flush=True); sys.stdin.read()", "it hung, exit code -9"),
        ("print('ready', flush=True); sys.exit(3)", "exit code 3"),
    ],
    ids=["hangs", "dies"],
)
async def test_a_sibling_that_serves_no_more_is_replaced(monkeypatch, child: str, why: str):
    born: list[Process] = []
    replaced = asyncio.Event()

    async def bear(_: bytes) -> Process:
        program = child if not born else "print('ready', flush=True); sys.stdin.read()"
        born.append(
            await asyncio.create_subprocess_exec(
                sys.executable, "-c", f"import sys; {program}", stdin=PIPE, stdout=PIPE
            )
        )
        if len(born) > 1:
            monkeypatch.setattr("gateway.siblings.SILENCE_SECONDS", 60)
            replaced.set()
        return born[-1]

    monkeypatch.setattr("gateway.siblings._born", bear)
    monkeypatch.setattr("gateway.siblings.PAUSE_SECONDS", 0.01)
    monkeypatch.setattr("gateway.siblings.SILENCE_SECONDS", 0.1)
    siblings = Siblings(1, ending_ms=10_000)
    with structlog.testing.capture_logs() as said:
        await siblings.start(lambda place: order())
        await asyncio.wait_for(replaced.wait(), 10)
        siblings.dismiss()
        await siblings.ended()
    assert [entry["why"] for entry in said if entry["event"] == "gateway_died"] == [why]
    assert [each.returncode is None for each in born] == [False, False]


async def test_a_sibling_that_does_not_end_is_killed(monkeypatch):
    async def bear(_: bytes) -> Process:
        program = "import time; print('ready', flush=True); time.sleep(600)"
        return await asyncio.create_subprocess_exec(sys.executable, "-c", program, stdin=PIPE, stdout=PIPE)

    monkeypatch.setattr("gateway.siblings._born", bear)
    siblings = Siblings(1, ending_ms=50)
    await siblings.start(lambda place: order())
    siblings.dismiss()
    await siblings.ended()
    assert [child.returncode for child in siblings._children.values()] == [-9]


def test_a_port_that_is_shared_by_others_already_is_not_taken():
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(OSError, match=f"port {port} of 127.0.0.1 is taken"):
            _free_port("127.0.0.1", port, tried=1)
        assert _free_port("127.0.0.1", port, tried=5) > port
