"""Assembly: one gateway of an engine, put together from the settings: its parts, its limits, its port.

For the first gateway of a program (`bootstrap`) and for the further ones on its port (`commands.sibling`). All that is
not here is not a gateway's: Postgres, Ray and the core actors are there before it and stay after it.
"""

import asyncio
import secrets
import socket
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from importlib.metadata import version

import structlog

from actors.client import RoutedClient
from actors.messages import Wellness
from actors.options import SUPERVISOR
from actors.remote import RayFigures, RayOverseer, reach
from actors.runtime import RuntimeConfig, connected
from configs.settings import DEFAULTS, Settings
from gateway.app import build_app
from gateway.exposition import Beside
from gateway.json_body import BodyLimits
from gateway.measuring import Sources
from gateway.parts import GatewayLimits, GatewayParts
from gateway.rates import RateLimit
from gateway.server import ServerLimits, serving_app
from gateway.streaming import StreamLimits
from persistence.event_log import EventLog
from persistence.heartbeats import Heartbeats
from persistence.performance import Performance
from persistence.pools import connection_pool
from persistence.queries import Queries
from persistence.quotes import QuoteReader
from persistence.tokens import Tokens
from persistence.vitals import vitals

POOLS = 2
"""Of `database.pool_size_max` connections each, in every gateway."""
PORTS_TRIED = 50
READY_POLL_S = 0.05
WAITING_SAID_EVERY_S = 5.0

log = structlog.get_logger(__name__)


async def assembled(
    settings: Settings,
    config: RuntimeConfig,
    stack: AsyncExitStack,
    *,
    bootstrap_token: str | None = None,
    beside: Beside | None = None,
) -> GatewayParts:
    """The parts of a gateway, on a Ray that was joined; what they hold is closed at the end of the stack. `beside`: its
    place among the gateways that share its port."""
    url = config.database_url
    connections, enter = settings.database.pool_size_max, stack.enter_async_context
    store = await enter(connected(config, connections_max=connections, application_name="prop-gateway"))
    reading = await enter(connection_pool(url, connections_max=connections, read_only=True))
    writing = await enter(connection_pool(url, connections_max=1, read_only=False))
    reader = QuoteReader(reading, query=config.quotes_query)
    await reader.check()
    tokens = Tokens(writing)
    if bootstrap_token is not None:
        await tokens.install_bootstrap(bootstrap_token)
    heartbeats = Heartbeats(reading)
    events = EventLog(reading)
    overseer = RayOverseer(SUPERVISOR, config)
    client = RoutedClient(overseer, store, reach(config), config.client, entropy=secrets.token_bytes)

    async def postgres() -> Wellness:
        await heartbeats.read(SUPERVISOR)
        return Wellness("postgres", True, "answers")

    async def heartbeat() -> Wellness:
        beat = await heartbeats.read(SUPERVISOR)
        if beat is None:
            return Wellness("heartbeat", False, "the supervisor never beat")
        return Wellness("heartbeat", beat.age_ms <= config.supervisor.lease_ms, f"{beat.age_ms} ms old")

    async def beat_seconds() -> float | None:
        beat = await heartbeats.read(SUPERVISOR)
        return None if beat is None else beat.age_ms / 1000

    return GatewayParts(
        client=client,
        queries=Queries(reading),
        events=events,
        performance=Performance(reading),
        tokens=tokens,
        secret=await events.secret(),
        version=version("prop-engine"),
        limits=GatewayLimits(
            in_flight_max=settings.gateway.in_flight_max,
            in_flight_per_token_max=settings.gateway.in_flight_per_token_max,
            rate_per_token=RateLimit(
                per_second=settings.gateway.rate_per_token, burst=settings.gateway.rate_burst_per_token
            ),
            actions_per_batch_max=settings.gateway.actions_per_batch_max,
            body=BodyLimits(
                bytes_max=settings.gateway.body_bytes_max,
                timeout_ms=settings.gateway.body_timeout_ms,
                depth_max=settings.gateway.json_depth_max,
                values_max=settings.gateway.json_values_max,
            ),
            streams=StreamLimits(
                streams_max=settings.gateway.streams_max,
                streams_per_token_max=settings.gateway.streams_per_token_max,
                heartbeat_ms=settings.gateway.stream_heartbeat_ms,
                poll_ms=settings.gateway.stream_poll_ms,
                buffer_bytes_max=settings.gateway.stream_buffer_bytes_max,
                stall_ms=settings.gateway.stream_stall_ms,
            ),
        ),
        checks=(postgres, heartbeat),
        beside=beside,
        measured=Sources(
            figures=RayFigures(overseer, config),
            beat_seconds=beat_seconds,
            vitals=partial(vitals, reading),
        ),
    )


async def recovered(parts: GatewayParts) -> str:
    """Wait until everything is well, saying every few seconds what is not yet; returns how recovery ended."""
    said_at = time.monotonic()
    while True:
        components = [*await parts.client.wellness(), *[await check() for check in parts.checks]]
        unwell = [each for each in components if not each.well]
        if not unwell:
            return next(each.detail for each in components if each.component == "recovery")
        if time.monotonic() - said_at > WAITING_SAID_EVERY_S:
            said_at = time.monotonic()
            log.info("waiting", unwell={each.component: each.detail for each in unwell})
        await asyncio.sleep(READY_POLL_S)


@asynccontextmanager
async def serving(settings: Settings, parts: GatewayParts, *, port: int | None = None) -> AsyncIterator[str]:
    """A gateway where it is reached: on the `port` of another one of this program, else on that of the settings. The
    default port, when taken, gives way to the next free one. Raises `OSError` where there is none."""
    gateway = settings.gateway
    limits = ServerLimits(
        header_timeout_ms=gateway.header_timeout_ms,
        idle_timeout_ms=gateway.idle_timeout_ms,
        connections_max=gateway.connections_max,
        farewell_ms=gateway.farewell_ms,
        drain_timeout_ms=drain_ms(settings),
    )
    shared = gateway.processes > 1
    if port is None:
        gives_way = settings.source_of("gateway.port") == DEFAULTS
        port = gateway.port
        if gives_way or shared:
            port = _free_port(gateway.host, port, tried=PORTS_TRIED if gives_way else 1)
    app = build_app(parts)
    async with serving_app(app, host=gateway.host, port=port, limits=limits, shared=shared) as server:
        yield server.url


def drain_ms(settings: Settings) -> int:
    """How long requests that are in flight at the end may take: all of their time, if half of the shutdown's allows."""
    return min(settings.gateway.deadline_ms + 2_000, settings.shutdown_timeout_ms // 2)


def _free_port(host: str, preferred: int, *, tried: int) -> int:
    """A port that nobody listens on. Looked for also where one was asked for and is to be shared: the kernel would let
    two engines of one user share it, and each would get some of the other's requests."""
    for port in range(preferred, preferred + tried):
        with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((host, port))
            except OSError:
                continue
            return port
    if tried == 1:
        raise OSError(f"port {preferred} of {host} is taken")
    raise OSError(f"no free port from {preferred} to {preferred + tried - 1}: say one with --port")
