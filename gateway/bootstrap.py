"""Bootstrap: the composition root. Reads the settings, starts what is missing, hands every part its parts.

Owns the order of starting and of stopping. Guarantee: whatever it started (Postgres, Ray, actors, the HTTP server) is
stopped when the block ends, also when a later step failed; what it found running or was pointed at is left running.
"""

import asyncio
import json
import os
import secrets
import socket
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

import structlog

from actors import cluster
from actors.client import RoutedClient
from actors.limits import ClientLimits, DatabaseLimits, HostLimits, PersisterLimits, SupervisorLimits
from actors.logs import configure
from actors.messages import Wellness
from actors.options import SUPERVISOR
from actors.remote import RayOverseer, reach, room_for_hosts
from actors.runtime import RuntimeConfig, connected
from configs.settings import DEFAULTS, Settings
from gateway.app import build_app
from gateway.blocking import alongside, started, to_its_end
from gateway.json_body import BodyLimits
from gateway.parts import GatewayLimits, GatewayParts
from gateway.rates import RateLimit
from gateway.server import ServerLimits, serving_app
from gateway.streaming import StreamLimits
from persistence.embedded import EmbeddedPostgres, EmbeddedPostgresError
from persistence.event_log import EventLog
from persistence.heartbeats import Heartbeats
from persistence.migrations.run import head, upgrade
from persistence.performance import Performance
from persistence.pools import connection_pool
from persistence.preflight import preflight
from persistence.queries import Queries
from persistence.quotes import QuoteReader
from persistence.tokens import Tokens

RUN_FILE = "run.json"
PORTS_TRIED = 50
HEARTBEATS_MISSED_MAX = 5
READY_POLL_S = 0.05
ENDING_MS = 4_000
"""Of a shutdown's time: what Ray and Postgres take to end once the actors have."""
POSTGRES_WATCH_S = 0.5
CORE_CONNECTIONS = 12
"""To Postgres, beside the gateway's: supervisor, persister, a first few account actors, and an operator."""
WAITING_SAID_EVERY_S = 5.0

log = structlog.get_logger(__name__)


class Stage(NamedTuple):
    """One finished step of a start-up."""

    name: str
    detail: str
    seconds: float


class Engine(NamedTuple):
    """A running engine. `adopted`: the bundled Postgres was still running from before."""

    settings: Settings
    url: str
    database_url: str
    ray_address: str
    data_dir: Path
    bootstrap_token: str | None
    adopted: bool


@asynccontextmanager
async def running_engine(
    settings: Settings,
    *,
    report: Callable[[Stage], None] = lambda stage: None,
    bootstrap_token: str | None = None,
    log_to_driver: bool = True,
) -> AsyncIterator[Engine]:
    """Start everything, say when it is ready (`run.json`), and stop everything it started when the block ends."""
    configure(settings.log.level, settings.log.format)
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    async with AsyncExitStack() as stack:
        step = _Steps(report)
        async with alongside(_ray(settings, stack, log_to_driver)) as joining:  # neither needs the other
            database_url, adopted = await _database(settings, stack, step)
            await _fit(settings, database_url)
            await to_its_end(partial(upgrade, database_url))
            step.done("schema", f"at {head()} (head)")
            ray_address = await joining
        step.done("ray", ray_address)
        config = runtime_config(settings, database_url, room_for_hosts(settings.actors.account_actors_per_cpu))
        core = cluster.CoreActors(config)
        seconds_max = (settings.shutdown_timeout_ms - _drain_ms(settings) - ENDING_MS) / 1000
        stack.push_async_callback(core.close, end_actors=settings.ray.address is None, seconds_max=seconds_max)
        await core.start()
        step.done("actors", f"supervisor, {config.persister_placement} persister")
        parts = await _parts(settings, config, stack, bootstrap_token)
        server = await stack.enter_async_context(_serving(settings, parts))
        step.done("gateway", server)
        step.done("accounts", await _recovered(parts))
        engine = Engine(settings, server, database_url, ray_address, settings.data_dir, bootstrap_token, adopted)
        stack.callback(_announce(engine))
        yield engine


class _Steps:
    """Times the steps of a start-up."""

    def __init__(self, report: Callable[[Stage], None]) -> None:
        self._report = report
        self._since = time.monotonic()

    def done(self, name: str, detail: str) -> None:
        now = time.monotonic()
        self._report(Stage(name, detail, now - self._since))
        self._since = now


def runtime_config(settings: Settings, database_url: str, room: int) -> RuntimeConfig:
    """The runtime's limits as the settings have them; `room` is what the cluster's CPUs and memory allow."""
    actors, persister = settings.actors, settings.persister
    cpus = os.cpu_count() or 1
    return RuntimeConfig(
        database_url=database_url,
        namespace=settings.ray.namespace,
        quotes_query=settings.quotes.query,
        persister_placement=persister.placement,
        persister_actors=persister.shared_actors,
        account_actors_per_cpu=None if actors.max_account_actors else actors.account_actors_per_cpu,
        database=DatabaseLimits(
            connect_timeout_ms=settings.database.connect_timeout_ms,
            statement_timeout_ms=settings.database.statement_timeout_ms,
            lock_timeout_ms=settings.database.lock_timeout_ms,
        ),
        host=HostLimits(
            queued_batches_per_account_max=actors.queued_batches_per_account_max,
            receipts_in_memory_max=actors.receipts_in_memory_max,
            read_lease_ms=actors.read_lease_ms,
            snapshot_every_events=settings.recovery.snapshot_every_events,
            mark_ledger=settings.marking.mark_ledger,
            append_events_max=persister.commit_events_max,
            append_bytes_max=persister.queue_bytes_max // 4,
        ),
        supervisor=SupervisorLimits(
            account_actors_max=actors.max_account_actors or room,
            cold_activations_max=actors.activations_max(cpus),
            marking_cadence_ms=settings.marking.cadence_ms,
            quotes_poll_ms=settings.quotes.poll_interval_ms,
            heartbeat_ms=settings.supervisor.heartbeat_ms,
            lease_ms=HEARTBEATS_MISSED_MAX * settings.supervisor.heartbeat_ms,
            silence_ms=settings.supervisor.silence_ms,
            patience_ms=settings.supervisor.patience_ms,
        ),
        persister=PersisterLimits(
            queue_events_max=persister.queue_events_max,
            queue_bytes_max=persister.queue_bytes_max,
            commit_events_max=persister.commit_events_max,
        ),
        client=ClientLimits(
            deadline_ms=settings.gateway.deadline_ms,
            attempt_ms=min(actors.call_deadline_ms, settings.gateway.deadline_ms) // 2,
        ),
        log_level=settings.log.level,
        log_format=settings.log.format,
    )


async def _database(settings: Settings, stack: AsyncExitStack, step: _Steps) -> tuple[str, bool]:
    if settings.database.url is not None:
        step.done("postgres", "as configured")
        return settings.database.url, False
    postgres = EmbeddedPostgres(settings.data_dir / "postgres")
    await started(stack, postgres.start, stop=postgres.stop)
    keeping = asyncio.create_task(_keep(postgres))
    stack.push_async_callback(_ended, keeping)
    step.done(
        "postgres", f"bundled, port {postgres.port}" + (", still running from before" if postgres.adopted else "")
    )
    return postgres.url, postgres.adopted


async def _fit(settings: Settings, database_url: str) -> None:
    """Raises `UnfitDatabase`."""
    wanted = 2 * settings.database.pool_size_max + CORE_CONNECTIONS
    found = await to_its_end(partial(preflight, database_url, connections=wanted))
    for warning in found.warnings:
        log.warning("preflight", warning=warning)


async def _keep(postgres: EmbeddedPostgres) -> None:
    """Start the bundled Postgres again when it was killed: what was committed is in its files."""
    while True:
        await asyncio.sleep(POSTGRES_WATCH_S)
        try:
            if not postgres.is_running:
                log.error("postgres_gone", folder=str(postgres.folder))
                await to_its_end(postgres.start)
                log.info("postgres_started_again", port=postgres.port)
        except EmbeddedPostgresError as error:
            log.error("postgres_not_started", why=str(error))


async def _ended(task: "asyncio.Task[None]") -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def _ray(settings: Settings, stack: AsyncExitStack, log_to_driver: bool) -> str:
    namespace, address = settings.ray.namespace, settings.ray.address
    if address is None:
        start = partial(cluster.start_local, namespace=namespace, log_to_driver=log_to_driver)
    else:
        start = partial(cluster.join, address, namespace=namespace)
    return await started(stack, start, stop=cluster.leave)


async def _parts(
    settings: Settings, config: RuntimeConfig, stack: AsyncExitStack, bootstrap_token: str | None
) -> GatewayParts:
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
    client = RoutedClient(
        RayOverseer(SUPERVISOR, config), store, reach(config), config.client, entropy=secrets.token_bytes
    )

    async def postgres() -> Wellness:
        await heartbeats.read(SUPERVISOR)
        return Wellness("postgres", True, "answers")

    async def heartbeat() -> Wellness:
        beat = await heartbeats.read(SUPERVISOR)
        if beat is None:
            return Wellness("heartbeat", False, "the supervisor never beat")
        return Wellness("heartbeat", beat.age_ms <= config.supervisor.lease_ms, f"{beat.age_ms} ms old")

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
    )


async def _recovered(parts: GatewayParts) -> str:
    """Wait until everything is well, saying every few seconds what is not yet; returns how recovery ended."""
    said_at = time.monotonic()
    while True:
        components = [*await parts.client.wellness(), *[await check() for check in parts.checks]]
        unwell = [each for each in components if not each.well]
        if not unwell:
            return next(each.detail for each in components if each.component == "recovery")
        if time.monotonic() - said_at > WAITING_SAID_EVERY_S:
            said_at = time.monotonic()
            log.info("waiting", **{each.component: each.detail for each in unwell})
        await asyncio.sleep(READY_POLL_S)


@asynccontextmanager
async def _serving(settings: Settings, parts: GatewayParts) -> AsyncIterator[str]:
    """The gateway on its port; the default port, when taken, gives way to the next free one."""
    gateway = settings.gateway
    limits = ServerLimits(
        header_timeout_ms=gateway.header_timeout_ms,
        idle_timeout_ms=gateway.idle_timeout_ms,
        connections_max=gateway.connections_max,
        drain_timeout_ms=_drain_ms(settings),
    )
    port = gateway.port
    if settings.source_of("gateway.port") == DEFAULTS:
        port = _free_port(gateway.host, gateway.port)
    async with serving_app(build_app(parts), host=gateway.host, port=port, limits=limits) as server:
        yield server.url


def _drain_ms(settings: Settings) -> int:
    """How long requests that are in flight at the end may take: all of their time, if half of the shutdown's allows."""
    return min(settings.gateway.deadline_ms + 2_000, settings.shutdown_timeout_ms // 2)


def _free_port(host: str, preferred: int) -> int:
    for port in range(preferred, preferred + PORTS_TRIED):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((host, port))
            except OSError:
                continue
            return port
    raise OSError(f"no free port from {preferred} to {preferred + PORTS_TRIED - 1}: say one with --port")


def _announce(engine: Engine) -> Callable[[], None]:
    """Write `run.json`, for whoever waits for the engine; returns how to take it back."""
    path = engine.data_dir / RUN_FILE
    run = {
        "pid": os.getpid(),
        "url": engine.url,
        "databaseUrl": engine.database_url,
        "rayAddress": engine.ray_address,
    }
    fresh = path.with_suffix(".new")
    fresh.unlink(missing_ok=True)
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        json.dump(run, file)
    fresh.replace(path)  # a reader sees all of it or none
    return lambda: path.unlink(missing_ok=True)
