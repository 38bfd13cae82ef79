"""Calls across Ray: every `.remote` of the engine, each with a deadline, each failing as `Lost`.

What an actor raises of ours (`StoreUnavailable`, `Overloaded`, `Lost` of a call it made) arrives as itself; whatever
Ray raises, and silence past the deadline (a stopped process raises nothing), is `Lost`: the call may have run.
"""

import asyncio
import contextlib
import time
from collections.abc import Callable, Sequence
from typing import Any, Final

import msgspec
import ray
import structlog
from ray.exceptions import ActorUnavailableError, RayError, RayTaskError

from actors.messages import PassReport, Reply, Request, Unserved, Wellness, packed, replies
from actors.options import HOST_PREFIX, PERSISTER_PREFIX, host_options
from actors.placement import hosts_max
from actors.ports import Activation, Host, Location, Lost, Pulse, Room, Silent, Tally
from actors.runtime import RuntimeConfig, packed_config
from engine.quotes import Quote
from persistence.committer import AppendVerdict, Overloaded
from persistence.lease import DatabaseTaken
from persistence.store import Append, StoreUnavailable

log = structlog.get_logger(__name__)

OURS: Final = (StoreUnavailable, Overloaded, Lost, DatabaseTaken)
CONTROL_DEADLINE_S: Final = 10.0
CLOSE_DEADLINE_S: Final = 25.0
SPAWN_DEADLINE_S: Final = 60.0
WELLNESS_DEADLINE_S: Final = 2.0
RESEND_PAUSE_S: Final = 0.1

_ENCODE: Final = msgspec.msgpack.encode


async def answer(reference: Any, deadline_s: float) -> Any:
    """The result of a call already made."""
    try:
        return await asyncio.wait_for(asyncio.wrap_future(reference.future()), deadline_s)
    except TimeoutError as silent:
        raise Silent(f"no answer within {deadline_s:g} s") from silent
    except ActorUnavailableError as unreached:  # one call was lost, which says nothing of the next
        raise Silent(_first_line(unreached)) from unreached
    except RayTaskError as raised:
        cause = raised.cause
        if isinstance(cause, OURS):
            raise cause from raised
        raise
    except RayError as lost:
        raise Lost(_first_line(lost)) from lost


def _first_line(error: RayError) -> str:
    return f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"


def find(name: str, namespace: str) -> Any:
    """The handle of a named actor; raises `Lost` where there is none. Blocks for as long as Ray's head is away."""
    try:
        return ray.get_actor(name, namespace)
    except (ValueError, RayError) as absent:
        raise Lost(f"no actor {name}") from absent


class RayHost:
    """`Host` over an account actor."""

    def __init__(self, name: str, actor: Any, config: RuntimeConfig) -> None:
        self.name = name
        self.actor = actor
        self._limits = config.supervisor
        self._attempt_s = config.client.attempt_ms / 1000

    async def open(self) -> None:
        await answer(self.actor.open.remote(), SPAWN_DEADLINE_S)

    async def activate(self, account_ids: Sequence[str]) -> Activation:
        data = await answer(self.actor.activate.remote(list(account_ids)), self._limits.activation_deadline_ms / 1000)
        return msgspec.msgpack.decode(data, type=Activation)

    async def handle(self, requests: tuple[Request, ...]) -> tuple[Reply, ...]:
        return replies(await answer(self.actor.handle.remote(packed(requests)), self._attempt_s))

    async def see(self, version: int, quotes: dict[str, Quote]) -> int:
        return int(await answer(self.actor.see.remote(version, _ENCODE(quotes)), CONTROL_DEADLINE_S))

    async def mark(self, pass_id: str, quotes: dict[str, Quote]) -> Tally:
        data = await answer(self.actor.mark.remote(pass_id, _ENCODE(quotes)), self._limits.pass_deadline_ms / 1000)
        return msgspec.msgpack.decode(data, type=Tally)

    async def passivate(self, account_ids: Sequence[str]) -> tuple[str, ...]:
        return tuple(await answer(self.actor.passivate.remote(list(account_ids)), CONTROL_DEADLINE_S))

    async def hand_over(self, account_ids: Sequence[str]) -> tuple[str, ...]:
        return tuple(await answer(self.actor.hand_over.remote(list(account_ids)), CONTROL_DEADLINE_S))

    async def pulse(self) -> Pulse:
        data = await answer(self.actor.pulse.remote(), CONTROL_DEADLINE_S)
        return msgspec.msgpack.decode(data, type=Pulse)

    async def roster(self) -> tuple[str, ...]:
        return tuple(await answer(self.actor.roster.remote(), CONTROL_DEADLINE_S))

    async def close(self) -> None:
        await answer(self.actor.close.remote(), CLOSE_DEADLINE_S)


class RayFleet:
    """`Fleet` of account actors in one namespace. `actor_class` is the remote class of `account_actor`."""

    def __init__(self, actor_class: Any, config: RuntimeConfig) -> None:
        self._actor_class = actor_class
        self._config = config

    async def spawn(self, name: str, node: str | None) -> Host:
        options = host_options(name, self._config.namespace, node)
        actor = self._actor_class.options(**options).remote(name, packed_config(self._config))
        host = RayHost(name, actor, self._config)
        try:
            await host.open()
        except BaseException:
            ray.kill(actor)  # half open is not open
            raise
        return host

    async def existing(self) -> Sequence[Host]:
        hosts = []
        for name in named(HOST_PREFIX, self._config.namespace):
            with contextlib.suppress(Lost):  # it died since it was named
                hosts.append(RayHost(name, find(name, self._config.namespace), self._config))
        return hosts

    async def room(self) -> Room:
        try:
            return await asyncio.wait_for(asyncio.to_thread(_room, self._config), CONTROL_DEADLINE_S)
        except (TimeoutError, RayError) as silent:
            raise Lost(f"Ray does not say what nodes it has: {silent!r}") from silent

    async def discard(self, host: Host) -> None:
        if isinstance(host, RayHost):
            ray.kill(host.actor, no_restart=True)


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
    return lambda name: RayHost(name, find(name, config.namespace), config)


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

    async def _call(self, method: str, *args: object, deadline_s: float = CONTROL_DEADLINE_S) -> bytes:
        if self._actor is None:
            self._actor = await asyncio.to_thread(find, self._name, self._config.namespace)
        try:
            data: bytes = await answer(getattr(self._actor, method).remote(*args), deadline_s)
        except Lost:
            self._actor = None
            raise
        return data


class RayAppender:
    """`Appender` over shared persister actors: an account always goes to the same one, so its appends keep order."""

    def __init__(self, config: RuntimeConfig, place: int) -> None:
        self._name = f"{PERSISTER_PREFIX}{place % config.persister_actors}"
        self._namespace = config.namespace
        self._deadline_s = config.persister.append_deadline_ms / 1000
        self._actor: Any = None

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
        if self._actor is None:
            self._actor = await asyncio.to_thread(find, self._name, self._namespace)
        answered = await answer(self._actor.append.remote(data), deadline_s)
        return msgspec.msgpack.decode(answered, type=tuple[AppendVerdict, ...])
