"""What Ray raises arrives as `Lost`, and as `Silent` where the other side may well live, as when Ray's head is away."""

import asyncio
import threading
from collections.abc import Iterator
from concurrent.futures import Future

import pytest
import ray
from ray.exceptions import ActorDiedError, ActorUnavailableError

from actors import remote
from actors.calling import THREADS_MAX, answer, off_loop
from actors.ports import Lost, Silent
from actors.remote import RayFleet, RayHost, reach
from actors.runtime import RuntimeConfig
from tests.support.floor import eventually


class Reference:
    """A call that ended so, or has not ended."""

    def __init__(self, raised: Exception | None) -> None:
        self._raised = raised

    def future(self) -> Future[object]:
        made: Future[object] = Future()
        if self._raised is not None:
            made.set_exception(self._raised)
        return made


async def test_a_dead_actor_is_lost() -> None:
    with pytest.raises(Lost) as lost:
        await answer(Reference(ActorDiedError()), 1.0)
    assert not isinstance(lost.value, Silent)


@pytest.mark.parametrize("raised", [ActorUnavailableError("rpc_code: 14", None), None])
async def test_a_call_lost_on_the_way_and_a_hung_actor_say_nothing_of_its_life(raised: Exception | None) -> None:
    with pytest.raises(Silent):
        await answer(Reference(raised), 0.01)


CONFIG = RuntimeConfig(database_url="postgresql://nowhere")


class Head:
    """Ray's head, which answers nothing while it is away."""

    def __init__(self) -> None:
        self.is_back = threading.Event()
        self.killed: list[object] = []

    def waited_for(self, *_: object, **__: object) -> object:
        self.is_back.wait()
        return self

    def kill(self, actor: object, **_: object) -> None:
        self.is_back.wait()
        self.killed.append(actor)

    def options(self, **_: object) -> "Head":
        """As the class of an actor."""
        return self

    remote = waited_for


@pytest.fixture
def head(monkeypatch: pytest.MonkeyPatch) -> Iterator[Head]:
    head = Head()
    monkeypatch.setattr(remote, "CONTROL_DEADLINE_S", 0.05)
    monkeypatch.setattr(ray, "get_actor", head.waited_for)
    monkeypatch.setattr(ray, "kill", head.kill)
    yield head
    head.is_back.set()


async def test_a_head_that_is_away_stops_neither_the_loop_nor_the_caller(head: Head) -> None:
    ticks, fleet = 0, RayFleet(head, CONFIG)

    async def tick() -> None:
        nonlocal ticks
        while True:
            await asyncio.sleep(0.005)
            ticks += 1

    ticking = asyncio.create_task(tick())
    known = RayHost("known", CONFIG, object())
    for call in (fleet.spawn("new", None), reach(CONFIG)("named").pulse(), fleet.discard(known)):
        before = ticks
        with pytest.raises(Lost):
            await call
        assert ticks > before
    ticking.cancel()
    head.is_back.set()
    await eventually(lambda: len(head.killed) == 2)  # the late one, and the one to be ended


async def test_an_actor_that_was_made_too_late_is_ended(head: Head) -> None:
    with pytest.raises(Lost):
        await RayFleet(head, CONFIG).spawn("new", None)
    head.is_back.set()
    await eventually(lambda: head.killed == [head])


async def test_an_actor_whose_opening_was_lost_is_ended_without_waiting_for_the_head(
    head: Head, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def lost(_: RayHost) -> None:
        raise Lost("on the way")

    monkeypatch.setattr(RayHost, "open", lost)
    monkeypatch.setattr(Head, "remote", lambda *_: "made")
    async with asyncio.timeout(5):
        with pytest.raises(Lost, match="on the way"):
            await RayFleet(head, CONFIG).spawn("new", None)
    assert head.killed == []
    head.is_back.set()
    await eventually(lambda: head.killed == ["made"])


async def test_what_is_given_up_before_it_began_is_never_done(head: Head) -> None:
    done: list[str] = []
    blocked = [asyncio.create_task(off_loop(head.waited_for, 5)) for _ in range(THREADS_MAX)]
    await asyncio.sleep(0)
    with pytest.raises(Silent):
        await off_loop(lambda: done.append("x"), 0.01)
    head.is_back.set()
    await asyncio.gather(*blocked)
    await off_loop(lambda: None, 5)
    assert done == []
