"""RoutedClient: what a client is told when answers get lost on the way, or do not come."""

import asyncio
import math
from functools import partial
from typing import cast

import pytest

from actors import client
from actors.client import Lane, RoutedClient
from actors.limits import ClientLimits
from actors.messages import Read, Reply, Request, Submit, Unserved, UnservedReason
from actors.ports import Host, Lost
from engine.commands import CompleteAccount, Lifecycle, LiquidateAccount
from tests.support.floor import eventually, floor


@pytest.mark.parametrize("reason", ["overloaded", "quarantined"])
async def test_after_a_lost_answer_nobody_is_told_that_nothing_was_done(reason: UnservedReason) -> None:
    """Whoever is told so may give up and ask again under new ids, which would do it twice."""
    async with floor() as desk:
        account = await desk.trading("a")
        (host,) = desk.fleet.hosts.values()
        handle = host.handle

        async def refused(requests: tuple[Request, ...]) -> tuple[Reply, ...]:
            return tuple(Unserved(reason, "storage is away") for _ in requests)

        async def answer_lost(requests: tuple[Request, ...]) -> tuple[Reply, ...]:
            await handle(requests)
            host.handle = refused  # type: ignore[method-assign]  # in place of its own
            raise Lost("the answer was lost")

        host.handle = answer_lost  # type: ignore[method-assign]  # in place of its own
        reply = await desk.buy(account, "1")
        assert desk.store.positions, "it was done"
        assert isinstance(reply, Unserved)
        assert reply.reason == "outcome_unknown"


@pytest.mark.parametrize("command", [CompleteAccount(), LiquidateAccount(reason="asked for")])
async def test_an_end_whose_answer_was_lost_is_not_asked_for_again(command: Lifecycle) -> None:
    """Or the account would say that it has ended already, which sounds as if somebody else had ended it."""
    async with floor() as desk:
        account = await desk.trading("a")
        (host,) = desk.fleet.hosts.values()
        handle = host.handle

        async def answer_lost(requests: tuple[Request, ...]) -> tuple[Reply, ...]:
            host.handle = handle  # type: ignore[method-assign]  # its own
            await handle(requests)
            raise Lost("the answer was lost")

        host.handle = answer_lost  # type: ignore[method-assign]  # in place of its own
        reply = await desk.client.call(Submit(account, command, "r"))
        assert desk.store.accounts[account].ended_at is not None, "it was done"
        assert isinstance(reply, Unserved)
        assert reply.reason == "outcome_unknown"


class SilentHost:
    name = "silent"

    async def handle(self, requests: tuple[Request, ...]) -> tuple[Reply, ...]:
        return await asyncio.Future[tuple[Reply, ...]]()


async def test_nobody_waits_in_a_lane_for_longer_than_asked() -> None:
    """Neither whose call is on its way nor who waits for a call to come back."""
    lane = Lane(cast(Host, SilentHost()), ClientLimits(attempt_ms=60_000, calls_in_flight=1))
    until = asyncio.get_running_loop().time() + 0.05
    waiting = [lane.send(Read(account, "r"), until=until) for account in "abc"]
    async with asyncio.timeout(5):
        ended = await asyncio.gather(*waiting, return_exceptions=True)
    assert [type(each) for each in ended] == [TimeoutError] * 3


async def test_a_read_waits_for_a_silent_host_no_longer_than_one_attempt() -> None:
    """Not first for the calls before it and then for its own: what storage knows is the answer, too."""
    async with floor() as desk:
        account = await desk.trading("a")
        desk.client._places[account] = "silent"
        desk.client._limits = ClientLimits(attempt_ms=100)
        desk.client._lanes["silent"] = lane = Lane(cast(Host, SilentHost()), ClientLimits(calls_in_flight=1))
        in_flight = asyncio.create_task(lane.send(Read("b", "r")))
        await eventually(lambda: bool(lane._in_flight))
        async with asyncio.timeout(2):
            reading = await desk.client.read(account, request_id="r")
        assert reading is not None
        assert reading.account.status == "active"
        in_flight.cancel()


class Called:
    """A host far away: called, hung up on, and answering when it is told to."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.calls = 0
        self.hung_up = 0
        self.may_answer = asyncio.Event()
        self.may_answer.set()

    async def handle(self, requests: tuple[Request, ...]) -> tuple[Reply, ...]:
        self.calls += 1
        await self.may_answer.wait()
        return tuple(Unserved("unknown_account", "") for _ in requests)

    def hang_up(self) -> None:
        self.hung_up += 1


async def test_hosts_that_nobody_calls_any_more_are_let_go_of_when_others_come(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hosts come and go for as long as a gateway lives: what it holds for each must not pile up. One with a call in
    flight is in use, however long it takes."""
    hosts: dict[str, Called] = {}

    def reach(name: str) -> Called:
        return hosts.setdefault(name, Called(name))

    async with floor() as desk:
        routed = RoutedClient(desk.supervisor, desk.store, reach, ClientLimits(), entropy=bytes)  # type: ignore[arg-type]  # all that a lane calls
        monkeypatch.setattr(client, "LANE_IDLE_S", -1.0)  # what was used by now is idle
        lane = routed._lane("busy")
        hosts["busy"].may_answer.clear()
        in_flight = asyncio.create_task(lane.send(Read("a", "r")))
        await eventually(lambda: hosts["busy"].calls == 1)
        for name in ("gone", "new"):
            await routed._lane(name).send(Read("b", "r"))
            await eventually(partial(routed._lane(name).is_idle_since, math.inf))
        assert {name: host.hung_up for name, host in hosts.items()} == {"busy": 0, "gone": 1, "new": 0}
        hosts["busy"].may_answer.set()
        assert isinstance(await in_flight, Unserved)
        assert routed._lane("busy") is lane
        monkeypatch.setattr(client, "LANE_IDLE_S", 60.0)
        routed._lane("newer")
        assert set(routed._lanes) == {"busy", "new", "newer"}
