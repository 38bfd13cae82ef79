"""Measuring: sources that hang, fail or are asked often; an answer comes in time and never lies."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from actors.figures import Figures
from gateway import measuring
from gateway.measuring import KEPT_SECONDS, VITALS_KEPT_SECONDS, Measuring, Sources
from persistence.store import StoreUnavailable
from persistence.vitals import Vitals

VITALS = Vitals(accounts={}, connections=1, connections_max=9, database_bytes=1, transaction_seconds=0.0)


class Asked:
    """Sources that count how often they are asked, on a clock that the test moves."""

    def __init__(self, **instead: Callable[[], Awaitable[object]]) -> None:
        self.times = {"figures": 0, "beat_seconds": 0, "vitals": 0}
        self.now = 0.0
        self._instead = instead
        sources = Sources(
            figures=self._source("figures", Figures(supervisor=None, persisters={})),
            beat_seconds=self._source("beat_seconds", 0.3),
            vitals=self._source("vitals", VITALS),
        )
        self.measuring = Measuring(sources, monotonic=lambda: self.now)

    def _source(self, name: str, answer: Any) -> Callable[[], Awaitable[Any]]:
        async def asked() -> Any:
            self.times[name] += 1
            return await self._instead[name]() if name in self._instead else answer

        return asked

    async def told(self) -> dict[str, float]:
        found = await self.measuring.families()
        return {"".join([each.name, *each.labels.values()]): each.value for family in found for each in family.samples}


async def hangs() -> object:
    await asyncio.Event().wait()
    return None


async def is_away() -> object:
    raise StoreUnavailable("away")


async def is_broken() -> object:
    raise TypeError("a defect")


async def test_many_askers_cost_one_question() -> None:
    asked = Asked()
    await asyncio.gather(*(asked.told() for _ in range(10)))
    assert asked.times == {"figures": 1, "beat_seconds": 1, "vitals": 1}
    asked.now += KEPT_SECONDS + 0.1
    await asked.told()
    assert asked.times == {"figures": 2, "beat_seconds": 2, "vitals": 1}
    asked.now += VITALS_KEPT_SECONDS
    await asked.told()
    assert asked.times == {"figures": 3, "beat_seconds": 3, "vitals": 2}


@pytest.mark.parametrize("fault", [hangs, is_away, is_broken])
@pytest.mark.parametrize(
    ("source", "missing"),
    [
        ("figures", set()),
        ("beat_seconds", {"prop_supervisor_heartbeat_seconds"}),
        ("vitals", {"prop_postgres_connections", "prop_postgres_connections_max"}),
    ],
)
async def test_a_source_that_does_not_answer_keeps_no_other_from_being_told(
    monkeypatch: pytest.MonkeyPatch, source: str, missing: set[str], fault: Callable[[], Awaitable[object]]
) -> None:
    monkeypatch.setattr(measuring, "ANSWERED_SECONDS_MAX", 0.02)
    whole, told = await Asked().told(), await Asked(**{source: fault}).told()
    assert missing <= set(whole) - set(told)
    assert told["prop_uppostgres"] == (source != "beat_seconds")
    assert "prop_upsupervisor" in told
