"""Bootstrap: the composition root. Reads the settings, starts what is missing, hands every part its parts.

Owns the order of starting and of stopping. Guarantee: whatever it started (Postgres, Ray, actors, the HTTP server) is
stopped when the block ends, also when a later step failed; what it found running or was pointed at is left running.
"""

import asyncio
import json
import os
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

import structlog
from msgspec.structs import replace

from actors import cluster
from actors.collecting import collect_seldom
from actors.limits import ClientLimits, DatabaseLimits, HostLimits, PersisterLimits, SupervisorLimits
from actors.logs import configure
from actors.remote import room_for_hosts
from actors.runtime import RuntimeConfig
from configs.settings import Settings
from gateway.assembly import POOLS, assembled, drain_ms, recovered, serving
from gateway.blocking import alongside, started, to_its_end
from gateway.exposition import Beside, meeting
from gateway.siblings import Order, Siblings
from persistence.embedded import EmbeddedPostgres, EmbeddedPostgresError
from persistence.migrations.run import head, upgrade
from persistence.preflight import preflight

RUN_FILE = "run.json"
HEARTBEATS_MISSED_MAX = 5
ENDING_MS = 4_000
"""Of a shutdown's time: what Ray and Postgres take to end once the actors have."""
SIBLING_ENDING_MS = 1_000
"""The same for what other gateways of this program take to end once they are drained."""
POSTGRES_WATCH_S = 0.5
CORE_CONNECTIONS = 12
"""To Postgres, beside the gateways': supervisor, persister, a first few account actors, and an operator."""

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
    collect_seldom()
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
        seconds_max = (settings.shutdown_timeout_ms - drain_ms(settings) - SIBLING_ENDING_MS - ENDING_MS) / 1000
        stack.push_async_callback(core.close, end_actors=settings.ray.address is None, seconds_max=seconds_max)
        await core.start()
        step.done("actors", f"supervisor, {config.persister_placement} persister")
        beside = stack.enter_context(meeting(settings.gateway.processes))
        parts = await assembled(settings, config, stack, bootstrap_token=bootstrap_token, beside=beside)
        siblings = Siblings(settings.gateway.processes - 1, ending_ms=drain_ms(settings) + SIBLING_ENDING_MS)
        stack.push_async_callback(siblings.ended)
        url = await stack.enter_async_context(serving(settings, parts))
        stack.callback(siblings.dismiss)  # before the drain of this gateway: all drain at once
        if beside is not None:
            await siblings.start(partial(_order, settings, config, ray_address, url, beside))
        step.done("gateway", url if beside is None else f"{url}, {beside.processes} processes")
        step.done("accounts", await recovered(parts))
        engine = Engine(settings, url, database_url, ray_address, settings.data_dir, bootstrap_token, adopted)
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
        direct_lines=actors.direct_lines,
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
    wanted = POOLS * settings.database.pool_size_max * settings.gateway.processes + CORE_CONNECTIONS
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


def _order(settings: Settings, config: RuntimeConfig, ray_address: str, url: str, beside: Beside, place: int) -> Order:
    """What the gateway in this place, beside the one at `url`, has to know."""
    return Order(
        settings=settings.model_dump(mode="json"),
        config=config,
        ray_address=ray_address,
        port=urlsplit(url).port or 0,
        beside=replace(beside, place=place),
    )


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
