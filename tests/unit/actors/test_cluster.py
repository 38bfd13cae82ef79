"""The start of the core actors, where Ray loses calls, and their end, where they hang."""

import asyncio
from collections import Counter
from concurrent.futures import Future
from typing import Never

import pytest
from structlog.testing import capture_logs

from actors import cluster
from actors.cluster import OPENINGS_MAX, CoreActors
from actors.ports import Lost
from actors.runtime import RuntimeConfig
from persistence.store import StoreUnavailable


class LosesOpenings(CoreActors):
    """The first call to each actor is lost so many times."""

    def __init__(self, times: int) -> None:
        super().__init__(RuntimeConfig(database_url="postgresql://nowhere"))
        self.tries: Counter[str] = Counter()
        self._times = times

    async def _ensure(self, name: str) -> None:
        self.tries[name] += 1
        if self.tries[name] <= self._times:
            raise Lost("on the way")


async def test_an_opening_that_was_lost_is_made_again() -> None:
    core = LosesOpenings(OPENINGS_MAX - 1)
    await core.start()
    await core.close(end_actors=False, seconds_max=1)
    assert core.tries == {"persister-0": OPENINGS_MAX, "supervisor": OPENINGS_MAX}


async def test_a_start_that_loses_every_opening_ends() -> None:
    core = LosesOpenings(OPENINGS_MAX)
    with pytest.raises(Lost):
        await core.start()
    assert core.tries == {"persister-0": OPENINGS_MAX}


class HangsAtItsEnd(CoreActors):
    """No actor answers any more."""

    async def _end(self, name: str) -> Never:
        await asyncio.get_running_loop().create_future()
        raise AssertionError


async def test_actors_that_hang_do_not_keep_a_program_from_ending() -> None:
    core = HangsAtItsEnd(RuntimeConfig(database_url="postgresql://nowhere"))
    async with asyncio.timeout(5):
        await core.close(end_actors=True, seconds_max=0.05)


class Ending:
    """An actor whose `close` ends so."""

    def __init__(self, raised: Exception) -> None:
        self.raised = raised
        self.close = self

    def remote(self) -> "Ending":
        return self

    def future(self) -> "Future[None]":
        done: Future[None] = Future()
        done.set_exception(self.raised)
        return done


@pytest.mark.parametrize("raised", [Lost("it died"), StoreUnavailable("Postgres went first")])
async def test_an_actor_that_cannot_say_goodbye_keeps_no_program_from_ending(
    raised: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cluster, "find", lambda *_: Ending(raised))
    with capture_logs() as said:
        await CoreActors(RuntimeConfig(database_url="postgresql://nowhere")).close(end_actors=True, seconds_max=5)
    assert [(each["event"], each["actor"]) for each in said] == [
        ("core_actor_not_closed", "supervisor"),
        ("core_actor_not_closed", "persister-0"),
    ]
