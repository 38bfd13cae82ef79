"""Cluster: starting or joining Ray, and keeping the engine's own actors alive on it.

A local Ray listens on loopback only and asks for a token; a given address is joined as it is. The supervisor and the
persisters are made where they are missing and made again when they die: they hold no truth, Postgres does.
What asks Ray's head (GCS) for something waits in a thread: with the head gone that takes a minute, and requests go on.
"""

import asyncio
import contextlib
import logging
import os
from collections.abc import Callable
from typing import Any, Final

import ray
import structlog
from ray._private import ray_constants
from ray.exceptions import RayError

from actors.calling import CLOSE_DEADLINE_S, CONTROL_DEADLINE_S, SPAWN_DEADLINE_S, answer, find
from actors.options import PERSISTER_PREFIX, SUPERVISOR, actor_options
from actors.persister import RemotePersisterActor
from actors.ports import Lost, Silent
from actors.runtime import RuntimeConfig, packed_config
from actors.supervisor_actor import RemoteSupervisorActor
from persistence.store import StoreUnavailable

log = structlog.get_logger(__name__)

OBJECT_STORE_BYTES: Final = 100 * 1024 * 1024
"""Nothing that serves requests goes through the object store: those calls stay under 100 KB."""
WATCH_S: Final = 0.5
LOST_AFTER: Final = 3
"""Silent probes in a row before a core actor is taken for hung and replaced."""
OPENINGS_MAX: Final = 3
"""How often a core actor is made at the start of the program before the start is given up."""

_LOCAL_ENVIRONMENT: Final = {
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # Ray's own switch for "one machine": every port on 127.0.0.1
    "RAY_worker_niceness": "0",  # hosts serve requests; at Ray's nice 15 any busy neighbour starves them
    "RAY_task_events_report_interval_ms": "0",  # a record of calls for a dashboard that is not there
    "RAY_DEDUP_LOGS": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
}


def start_local(
    *,
    namespace: str,
    cpus: int | None = None,
    log_to_driver: bool = True,
    object_store_bytes: int = OBJECT_STORE_BYTES,
) -> str:
    """A Ray of this machine alone, ended with this process; returns its address. Never joins a leftover one.

    It listens on loopback and, as Ray does for a local cluster unless `RAY_AUTH_MODE` says otherwise, asks for a token:
    its ports run code for whoever may talk to them.
    """
    for name, value in _LOCAL_ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    ray_constants.ENABLE_RAY_CLUSTER = False  # Ray read the first of these when it was imported
    ray.init(
        address="local",
        namespace=namespace,
        num_cpus=cpus,
        include_dashboard=False,
        log_to_driver=log_to_driver,
        logging_level=logging.ERROR,
        object_store_memory=object_store_bytes,
        _node_ip_address="127.0.0.1",
    )
    return str(ray.get_runtime_context().gcs_address)


def join(address: str, *, namespace: str, log_to_driver: bool = False) -> str:
    """Join the Ray at `address`; returns the address joined."""
    ray.init(address=address, namespace=namespace, log_to_driver=log_to_driver, logging_level=logging.ERROR)
    return str(ray.get_runtime_context().gcs_address)


def leave() -> None:
    """End the local Ray, or leave the joined one."""
    ray.shutdown()


class CoreActors:
    """The supervisor and the persisters of one namespace: made if missing, watched, made again."""

    def __init__(self, config: RuntimeConfig) -> None:
        self._config = config
        persisters = range(config.persister_actors if config.persister_placement == "shared" else 0)
        self._recipes: dict[str, Callable[[], Any]] = {
            f"{PERSISTER_PREFIX}{place}": self._persister(f"{PERSISTER_PREFIX}{place}") for place in persisters
        } | {SUPERVISOR: self._supervisor}
        self._silences = dict.fromkeys(self._recipes, 0)
        self._watch: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Make what is missing, persisters first, and keep it alive from now on."""
        for name in self._recipes:
            await self._opened(name)
        self._watch = asyncio.create_task(self._keep())

    async def close(self, *, end_actors: bool, seconds_max: float) -> None:
        """Stop watching; `end_actors` also drains and ends them, supervisor (and its hosts) first. What is not done in
        `seconds_max` is left: to be killed loses nothing that was acknowledged."""
        if self._watch is not None:
            self._watch.cancel()
            await asyncio.gather(self._watch, return_exceptions=True)
        if not end_actors:
            return
        try:
            async with asyncio.timeout(max(0.0, seconds_max)):
                for name in reversed(self._recipes):
                    await self._end(name)
        except TimeoutError:
            log.warning("core_actors_not_closed", seconds_max=seconds_max)

    async def _end(self, name: str) -> None:
        try:
            actor = await asyncio.to_thread(find, name, self._config.namespace)
            await answer(actor.close.remote(), CLOSE_DEADLINE_S)
            ray.kill(actor)
        except (Lost, StoreUnavailable) as lost:  # Postgres may go first: what it was to be told, it can do without
            log.warning("core_actor_not_closed", actor=name, why=str(lost))  # safe: recovery needs no farewell

    async def _opened(self, name: str) -> None:
        """The actor, made anew where its opening was lost on the way: there is no later round to make another yet."""
        for left in reversed(range(OPENINGS_MAX)):
            try:
                await self._ensure(name)
                return
            except Lost as lost:
                if not left:
                    raise
                log.warning("core_actor_not_opened", actor=name, why=str(lost))

    async def _ensure(self, name: str) -> None:
        """The actor as it is, or a new one. Two gateways may try at once: the name has one owner."""
        try:
            actor = await asyncio.to_thread(find, name, self._config.namespace)
        except Lost:
            try:
                actor = await asyncio.to_thread(self._recipes[name])
            except ValueError:  # another gateway was faster
                return
            try:
                await answer(actor.open.remote(), SPAWN_DEADLINE_S)
            except BaseException:
                ray.kill(actor)  # half open is not open; the next round makes another
                raise
            log.info("core_actor_started", actor=name)

    async def _keep(self) -> None:
        while True:
            await asyncio.sleep(WATCH_S)
            for name in self._recipes:
                try:
                    await self._probe(name)
                except Exception as failed:
                    log.error("core_actor_not_kept", actor=name, why=repr(failed))

    async def _probe(self, name: str) -> None:
        try:
            actor = await asyncio.to_thread(find, name, self._config.namespace)
            await answer(actor.alive.remote(), CONTROL_DEADLINE_S / LOST_AFTER)
            self._silences[name] = 0
            return
        except Lost as lost:
            self._silences[name] += 1
            log.warning("core_actor_silent", actor=name, times=self._silences[name], why=str(lost))
            may_live = isinstance(lost, Silent)
        if may_live and self._silences[name] < LOST_AFTER:
            return
        self._silences[name] = 0
        with contextlib.suppress(Lost, RayError):
            await asyncio.to_thread(lambda: ray.kill(find(name, self._config.namespace), no_restart=True))
        await self._ensure(name)

    def _persister(self, name: str) -> Callable[[], Any]:
        options = actor_options(name, self._config.namespace)
        return lambda: RemotePersisterActor.options(**options).remote(name, packed_config(self._config))

    def _supervisor(self) -> Any:
        options = actor_options(SUPERVISOR, self._config.namespace)
        return RemoteSupervisorActor.options(**options).remote(packed_config(self._config))
