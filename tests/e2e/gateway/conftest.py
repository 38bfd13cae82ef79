"""The real gateway over the whole engine in this process, on a real Postgres and a real socket."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

import aiohttp
import pytest

from gateway.app import build_app
from gateway.measuring import Sources
from gateway.parts import GatewayLimits, GatewayParts
from gateway.server import ServerLimits, serving_app
from persistence.event_log import EventLog
from persistence.performance import Performance
from persistence.queries import Queries
from persistence.tokens import Tokens
from persistence.vitals import vitals
from tests.e2e.gateway.door import Door
from tests.support.desk import Desk, desk

BOOTSTRAP = "bootstrap-token-of-at-least-32-characters"


@asynccontextmanager
async def gateway_on(
    engine: Desk, limits: GatewayLimits | None = None, server_limits: ServerLimits | None = None, *, port: int = 0
) -> AsyncIterator[Door]:
    tokens = Tokens(engine.writing)
    await tokens.install_bootstrap(BOOTSTRAP)
    parts = GatewayParts(
        client=engine.client,
        queries=Queries(engine.reading),
        events=EventLog(engine.reading),
        performance=Performance(engine.reading),
        tokens=tokens,
        secret=b"one secret for all of an installation",
        version="0.0.test",
        limits=limits or GatewayLimits(),
        measured=Sources(figures=engine.figures, beat_seconds=no_beat, vitals=partial(vitals, engine.reading)),
    )
    async with (
        serving_app(build_app(parts), host="127.0.0.1", port=port, limits=server_limits) as server,
        aiohttp.ClientSession() as http,
    ):
        yield Door(server, http, BOOTSTRAP)


async def no_beat() -> float | None:
    """A desk has no supervisor in a process of its own."""
    return None


@pytest.fixture
async def engine(database_url: str) -> AsyncIterator[Desk]:
    async with desk(database_url) as running:
        await running.observe("BTC-USD", "50000")
        yield running


@pytest.fixture
async def door(engine: Desk) -> AsyncIterator[Door]:
    async with gateway_on(engine) as opened:
        yield opened
