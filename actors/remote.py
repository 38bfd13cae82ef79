"""The ports over Ray: every `.remote` to an actor of ours, but for those that `cluster` keeps alive."""

import asyncio
import contextlib
import time
from collections.abc import Callable, Sequence
from typing import Any, Final

import msgspec
import ray
import structlog

from actors.calling import (
    CLOSE_DEADLINE_S,
    CONTROL_DEADLINE_S,
    FIGURES_DEADLINE_S,
    SPAWN_DEADLINE_S,
    WELLNESS_DEADLINE_S,
    answer,
    end,
    end_some_time,
    found,
    off_loop,
)
from actors.figures import Figures, SupervisorFigures
from actors.messages import PassReport, Reply, Request, Unserved, Wellness, packed, replies
from actors.options import HOST_PREFIX, PERSISTER_PREFIX, host_options
from actors.placement import hosts_max
from actors.ports import Activation, Host, Location, Lost, Pulse, Room, Tally
from actors.roads import Road
from actors.runtime import RuntimeConfig, packed_config
from engine.quotes import Quote
from persistence.committer import AppendVerdict
from persistence.counts import CommitterFigures
from persistence.store import Append

log = structlog.get_logger(__name__)

RESEND_PAUSE_S: Final = 0.1

_ENCODE: Final = msgspec.msgpack.encode


class RayHost:
    """`Host` over an account actor, which is looked up with the first call where it is not given."""

    def __init__(self, name: str, config: RuntimeConfig, actor: Any = None) -> None:
        self.name = name
        self._actor = actor
        self._namespace = config.namespace
        self._limits = config.supervisor
        self._attempt_s = config.client.attempt_ms / 1000
        self._requests = Road(self.actor, "handle", direct=config.direct_lines)

    async def actor(self) -> Any:
        """The handle. Raises `Lost`."""
        if self._actor is None:
            self._actor = await found(self.name, self._namespace, CONTROL_DEADLINE_S)
        return self._actor

    async def open(self) -> None:
        await self._asked("open", deadline_s=SPAWN_DEADLINE_S)

    async def activate(self, account_ids: Sequence[str]) -> Activation:
        deadline_s = self._limits.activation_deadline_ms / 1000
        data = await self._asked("activate", list(account_ids), deadline_s=deadline_s)
        return msgspec.msgpack.decode(data, type=Activation)

    async def handle(self, requests: tuple[Request, ...]) -> tuple[Reply, ...]:
        return replies(await self._requests.call(packed(requests), self._attempt_s))

    async def see(self, version: int, quotes: dict[str, Quote]) -> int:
        return int(await self._asked("see", version, _ENCODE(quotes)))

    async def mark(self, pass_id: str, quotes: dict[str, Quote]) -> Tally:
        deadline_s = self._limits.pass_deadline_ms / 1000
        data = await self._asked("mark", pass_id, _ENCODE(quotes), deadline_s=deadline_s)
        return msgspec.msgpack.decode(data, type=Tally)

    async def passivate(self, account_ids: Sequence[str]) -> tuple[str, ...]:
        return tuple(await self._asked("passivate", list(account_ids)))

    async def hand_over(self, account_ids: Sequence[str]) -> tuple[str, ...]:
        return tuple(await self._asked("hand_over", list(account_ids)))

    async def pulse(self) -> Pulse:
        return msgspec.msgpack.decode(await self._asked("pulse"), type=Pulse)

    async def roster(self) -> tuple[str, ...]:
        return tuple(await self._asked("roster"))

    async def close(self) -> None:
        await self._asked("close", deadline_s=CLOSE_DEADLINE_S)

    def hang_up(self) -> None:
        self._requests.close()

    async def _asked(self, method: str, *args: object, deadline_s: float = CONTROL_DEADLINE_S) -> Any:
        actor = await self.actor()
        return await answer(getattr(actor, method).remote(*args), deadline_s)


class RayFleet:
    """`Fleet` of account actors in one namespace. `actor_class` is the remote class of `account_actor`."""

    def __init__(self, actor_class: Any, config: RuntimeConfig) -> None:
        self._actor_class = actor_class
        self._config = config

    async def spawn(self, name: str, node: str | None) -> Host:
        options = host_options(name, self._config.namespace, node)
        made = self._actor_class.options(**options)
        actor = await off_loop(lambda: made.remote(name, packed_config(self._config)), CONTROL_DEADLINE_S, late=end)
        host = RayHost(name, self._config, actor)
        try:
            await host.open()
        except BaseException:
            end_some_time(actor)  # half open is not open
            raise
        return host

    async def existing(self) -> Sequence[Host]:
        namespace = self._config.namespace
        hosts = []
        for name in await off_loop(lambda: named(HOST_PREFIX, namespace), CONTROL_DEADLINE_S):
            with contextlib.suppress(Lost):  # it died since it was named
                hosts.append(RayHost(name, self._config, await found(name, namespace, CONTROL_DEADLINE_S)))
        return hosts

    async def room(self) -> Room:
        return await off_loop(lambda: _room(self._config), CONTROL_DEADLINE_S)

    async def discard(self, host: Host) -> None:
        if isinstance(host, RayHost):
            actor = await host.actor()
            await off_loop(lambda: end(actor), CONTROL_DEADLINE_S)


def room_for_hosts(per_cpu: int) -> int:
    """How many account actors this cluster has room for."""
    resources: dict[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call]  # ray leaves it untyped
    return hosts_max(cpus=resources.get("CPU", 1.0), memory_bytes=resources.get("memory", 0.0), per_cpu=per_cpu)


def _room(config: RuntimeConfig) -> Room:
    nodes: list[dict[str, Any]] = ray.nodes()  # type: ignore[no-untyped-call]  # as above
    fixed = config.account_actors_per_cpu is None
    return Room(
        config.supervisor.account_actors_max if fixed else room_for_hosts(config.account_actors_per_cpu or 1),
        tuple(sorted(each["NodeID"] for each in nodes if each["Alive"])),
    )


def named(prefix: str, namespace: str) -> list[str]:
    """Names of the live actors in our namespace that begin with `prefix`, sorted."""
    listed = ray.util.list_named_actors(all_namespaces=True)
    return sorted(each["name"] for each in listed if each["namespace"] == namespace and each["name"].startswith(prefix))


def reach(config: RuntimeConfig) -> Callable[[str], RayHost]:
    """How a client calls a host that the supervisor named."""
    return lambda name: RayHost(name, config)


class RayOverseer:
    """`Overseer` over the supervisor actor; its handle is looked up anew after it was lost."""

    def __init__(self, name: str, config: RuntimeConfig) -> None:
        self._name = name
        self._config = config
        self._actor: Any = None

    async def locate(self, account_id: str, tried: str | None) -> Location | Unserved:
        data = await self._call("locate", account_id, tried, deadline_s=self._config.client.deadline_ms / 1000)
        return msgspec.msgpack.decode(data, type=Location | Unserved)

    async def shelter(self, account_id: str) -> Location | Unserved:
        data = await self._call("shelter", account_id, deadline_s=self._config.client.deadline_ms / 1000)
        return msgspec.msgpack.decode(data, type=Location | Unserved)

    async def whereabouts(self, account_id: str) -> Location | None:
        data = await self._call("whereabouts", account_id)
        return msgspec.msgpack.decode(data, type=Location | None)

    async def mark_all(self, request_id: str) -> PassReport:
        data = await self._call("mark_all", request_id, deadline_s=self._config.supervisor.pass_deadline_ms / 1000)
        return msgspec.msgpack.decode(data, type=PassReport)

    async def quotes(self) -> dict[str, Quote]:
        return msgspec.msgpack.decode(await self._call("quotes"), type=dict[str, Quote])

    async def wellness(self) -> tuple[Wellness, ...]:
        data = await self._call("wellness", deadline_s=WELLNESS_DEADLINE_S)
        return msgspec.msgpack.decode(data, type=tuple[Wellness, ...])

    async def figures(self) -> SupervisorFigures:
        data = await self._call("figures", deadline_s=FIGURES_DEADLINE_S)
        return msgspec.msgpack.decode(data, type=SupervisorFigures)

    async def _call(self, method: str, *args: object, deadline_s: float = CONTROL_DEADLINE_S) -> bytes:
        if self._actor is None:
            self._actor = await found(self._name, self._config.namespace, deadline_s)
        try:
            data: bytes = await answer(getattr(self._actor, method).remote(*args), deadline_s)
        except Lost:
            self._actor = None
            raise
        return data


class RayFigures:
    """What the supervisor and the shared persisters count, asked for at once; who does not answer in time is None."""

    def __init__(self, overseer: RayOverseer, config: RuntimeConfig) -> None:
        self._overseer = overseer
        self._namespace = config.namespace
        shared = range(config.persister_actors if config.persister_placement == "shared" else 0)
        self._persisters: dict[str, Any] = {f"{PERSISTER_PREFIX}{place}": None for place in shared}

    async def __call__(self) -> Figures:
        supervisor, persisters = await asyncio.gather(
            self._of_supervisor(), asyncio.gather(*(self._of_persister(name) for name in self._persisters))
        )
        return Figures(supervisor=supervisor, persisters=dict(zip(self._persisters, persisters, strict=True)))

    async def _of_supervisor(self) -> SupervisorFigures | None:
        try:
            return await self._overseer.figures()
        except Lost as lost:
            log.warning("not_in_metrics", actor="supervisor", why=str(lost))
            return None

    async def _of_persister(self, name: str) -> CommitterFigures | None:
        try:
            actor = self._persisters[name] or await found(name, self._namespace, FIGURES_DEADLINE_S)
            self._persisters[name] = actor
            data = await answer(actor.figures.remote(), FIGURES_DEADLINE_S)
        except Lost as lost:
            self._persisters[name] = None
            log.warning("not_in_metrics", actor=name, why=str(lost))
            return None
        return msgspec.msgpack.decode(data, type=CommitterFigures)


class RayAppender:
    """`Appender` over shared persister actors: an account always goes to the same one, so its appends keep order."""

    def __init__(self, config: RuntimeConfig, place: int) -> None:
        self._name = f"{PERSISTER_PREFIX}{place % config.persister_actors}"
        self._namespace = config.namespace
        self._deadline_s = config.persister.append_deadline_ms / 1000
        self._actor: Any = None
        self._appends = Road(self.actor, "append", direct=config.direct_lines)

    async def actor(self) -> Any:
        """The handle. Raises `Lost`."""
        if self._actor is None:
            self._actor = await found(self._name, self._namespace, CONTROL_DEADLINE_S)
        return self._actor

    async def append(self, appends: Sequence[Append]) -> Sequence[AppendVerdict]:
        """Send again through a lost persister: had the first been committed, the heads have moved and the second is
        fenced, which has the account rebuilt. Raises `Lost` when there is no persister within the deadline."""
        data = _ENCODE(appends)
        until = time.monotonic() + self._deadline_s
        while True:
            try:
                return await self._send(data, until - time.monotonic())
            except Lost as lost:
                self._actor = None
                if time.monotonic() + RESEND_PAUSE_S >= until:
                    raise
                log.warning("append_sent_again", persister=self._name, appends=len(appends), why=str(lost))
                await asyncio.sleep(RESEND_PAUSE_S)

    async def _send(self, data: bytes, deadline_s: float) -> Sequence[AppendVerdict]:
        answered = await self._appends.call(data, deadline_s)
        return msgspec.msgpack.decode(answered, type=tuple[AppendVerdict, ...])
