"""Accounts that have lost their place come back, whatever becomes of the hosts that are made for them (G8)."""

import asyncio
from secrets import token_bytes
from typing import Any

import pytest

from actors import schedules
from actors.limits import HostLimits, SupervisorLimits
from actors.local_client import LocalFleet
from actors.messages import Taken
from actors.ports import Activation, Host, Location, Lost
from actors.supervisor import Supervisor
from tests.support.appenders import SteeredAppender
from tests.support.floor import Floor, eventually, floor, no_beat


async def nowhere(*_: Any, **__: Any) -> Any:
    raise Lost("no room for a process")


async def for_ever(*_: Any, **__: Any) -> Any:
    return await asyncio.get_running_loop().create_future()


async def lost_host_of(desk: Floor, account: str) -> None:
    place = await desk.supervisor.locate(account, None)
    assert isinstance(place, Location)
    desk.fleet.hosts[place.host].pulse = nowhere  # type: ignore[method-assign]  # in place of its own
    await desk.supervisor._watch.examine(desk.supervisor._hosts[place.host])


async def test_accounts_without_a_place_wait_for_one_where_there_is_no_host_at_all() -> None:
    async with floor(pulse_ms=60_000, account_actors_max=1) as desk:
        account, spawn = await desk.trading("a"), desk.fleet.spawn
        await desk.buy(account, "1")
        desk.fleet.spawn = nowhere  # type: ignore[method-assign]  # in place of its own
        await lost_host_of(desk, account)
        report = await desk.supervisor.mark_all("r")
        assert (report.marked, report.failed) == (0, 1)
        desk.fleet.spawn = spawn  # type: ignore[method-assign]  # in place of its own
        report = await desk.supervisor.mark_all("r")
        assert (report.marked, report.failed) == (1, 0)


async def test_a_host_that_cannot_be_made_keeps_nobody_from_those_that_there_are() -> None:
    async with floor(pulse_ms=60_000, account_actors_max=2) as desk:
        account, other = await desk.trading("a"), await desk.trading("b")
        await desk.buy(account, "1")
        await desk.buy(other, "1")
        desk.fleet.spawn = nowhere  # type: ignore[method-assign]  # in place of its own
        await lost_host_of(desk, account)
        report = await desk.supervisor.mark_all("r")
        assert (report.marked, report.failed) == (2, 0)
        assert await desk.supervisor.locate(account, None) == await desk.supervisor.locate(other, None)


async def test_a_host_that_is_never_ready_is_waited_for_no_longer_than_patience_lasts() -> None:
    async with floor(account_actors_max=4, patience_ms=50) as desk:
        account = await desk.trading("a")
        desk.fleet.spawn = for_ever  # type: ignore[method-assign]  # in place of its own
        async with asyncio.timeout(5):
            cold = await desk.trading("b")
        assert await desk.supervisor.locate(cold, None) == await desk.supervisor.locate(account, None)


async def test_the_first_host_is_waited_for_beyond_all_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schedules, "RETRY_MS", 60_000)  # a start that begins anew ends too late
    async with floor(account_actors_max=2) as desk:
        account = await desk.trading("a")
        store, prices = desk.store, desk.prices
    fleet = LocalFleet(store, SteeredAppender(store), HostLimits(), hosts_max=2)
    spawn = fleet.spawn

    async def slowly(name: str, node: str | None) -> Host:
        await asyncio.sleep(0.1)
        return await spawn(name, node)

    fleet.spawn = slowly  # type: ignore[method-assign]  # in place of its own
    limits = SupervisorLimits(spare_hosts=0, marking_cadence_ms=0, patience_ms=10)
    supervisor = Supervisor(fleet, store, prices, limits, beat=no_beat, entropy=token_bytes)
    async with asyncio.timeout(5):
        await supervisor.start()
    assert await supervisor.whereabouts(account) is not None
    await supervisor.close()


async def test_one_host_lost_on_the_way_delays_nobody_of_a_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schedules, "RETRY_MS", 60_000)  # a start that begins anew ends too late
    async with floor(account_actors_max=3) as desk:
        accounts = [await desk.trading(str(number)) for number in range(6)]
        store, prices = desk.store, desk.prices
    fleet, made = LocalFleet(store, SteeredAppender(store), HostLimits(), hosts_max=3), []
    spawn = fleet.spawn

    async def one_lost(name: str, node: str | None) -> Host:
        made.append(name)
        if len(made) == 2:
            raise Lost("its opening was lost")
        return await spawn(name, node)

    fleet.spawn = one_lost  # type: ignore[method-assign]  # in place of its own
    limits = SupervisorLimits(spare_hosts=0, marking_cadence_ms=0)
    supervisor = Supervisor(fleet, store, prices, limits, beat=no_beat, entropy=token_bytes)
    async with asyncio.timeout(5):
        await supervisor.start()
    assert [await supervisor.whereabouts(account) is not None for account in accounts] == [True] * 6
    assert {store.heads[account].epoch for account in accounts} == {2}
    await supervisor.close()


async def test_who_went_to_a_host_that_was_lost_on_the_way_goes_to_another_and_nobody_else_moves() -> None:
    async with floor(pulse_ms=60_000, account_actors_max=2) as desk:
        accounts = [await desk.trading(str(number)) for number in range(4)]
        first, second = desk.fleet.hosts.values()
        stranded = [*await first.roster(), *await second.roster()]
        for host in (first, second):
            await host.hand_over(stranded)
        activate = first.activate

        async def lost(account_ids: list[str]) -> Activation:
            first.activate = activate  # type: ignore[method-assign]  # its own
            raise Lost("the call was lost")

        first.activate = lost  # type: ignore[method-assign, assignment]  # in place of its own
        desk.supervisor._homecoming.lost(stranded)
        await desk.supervisor._homecoming.round()
        assert desk.supervisor._homecoming.waiting == 2
        await desk.supervisor._homecoming.round()
        assert desk.supervisor._homecoming.waiting == 0
        assert {desk.store.heads[account].epoch for account in accounts} == {2}
        for account in accounts:
            assert isinstance(await desk.buy(account, "1"), Taken)


async def test_a_round_that_hangs_keeps_nobody_from_being_watched() -> None:
    async with floor(account_actors_max=2, pulse_deadline_ms=20, silence_ms=20) as desk:
        account, other = await desk.trading("a"), await desk.trading("b")
        first, second = desk.fleet.hosts.values()
        (lost,) = await first.roster()
        await first.hand_over([lost])
        first.activate = for_ever  # type: ignore[method-assign]  # in place of its own
        desk.supervisor._homecoming.lost([lost])
        await eventually(lambda: desk.supervisor._homecoming.waiting == 0)
        second.pulse = second.handle = nowhere  # type: ignore[method-assign]  # in place of its own
        await eventually(lambda: second.name not in desk.supervisor._hosts)
        first.pulse = for_ever  # type: ignore[method-assign]  # in place of its own
        await eventually(lambda: first.name not in desk.supervisor._hosts)
        for each in (account, other):
            assert isinstance(await desk.buy(each, "1"), Taken)
