"""Supervisor over in-process hosts and a memory store: placement, passes, prices, lost hosts (G4, G7, G8)."""

import asyncio
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from secrets import token_bytes
from typing import Any

import pytest

from actors.hosting import AccountHost
from actors.limits import HostLimits, SupervisorLimits
from actors.local_client import LocalFleet, local_runtime
from actors.messages import Submit, Submitted, Taken, Unserved
from actors.ports import Activation, Location, Lost
from actors.supervisor import Supervisor
from engine.book import AccountBook
from engine.commands import CreateAccount, LiquidateAccount, MarkToMarket, StartAccount
from engine.quotes import Quote
from persistence.memory_store import MemoryStore
from tests.support.appenders import SteeredAppender
from tests.support.floor import Floor, Prices, eventually, floor, no_beat


async def test_accounts_get_hosts_of_their_own_and_then_share() -> None:
    async with floor(account_actors_max=2) as desk:
        accounts = [await desk.trading(str(number)) for number in range(4)]
        places = [await desk.supervisor.locate(account, None) for account in accounts]
        assert [len([place for place in places if place == Location(host)]) for host in desk.fleet.hosts] == [2, 2]


async def test_a_lost_host_is_replaced_and_its_accounts_answer_from_the_ledger() -> None:
    async with floor(account_actors_max=2) as desk:
        account = await desk.trading("a")
        first = await desk.buy(account, "1")
        (name,) = desk.fleet.hosts

        async def gone(*_: object) -> None:
            raise Lost("killed")

        desk.fleet.hosts[name].handle = gone  # type: ignore[method-assign, assignment]  # in place of its own
        desk.fleet.hosts[name].pulse = gone  # type: ignore[method-assign, assignment]  # in place of its own
        again = await desk.buy(account, "1")
        assert isinstance(first, Taken)
        assert isinstance(again, Taken)
        assert again.results[0].replayed
        assert again.results[0].prop_action_id == first.results[0].prop_action_id
        assert name not in desk.fleet.hosts
        assert desk.store.heads[account].epoch == 2


async def test_a_spare_host_stands_ready_while_there_is_room() -> None:
    async with floor(account_actors_max=2, spare_hosts=1) as desk:
        (spare,) = desk.fleet.hosts
        account = await desk.trading("a")
        assert await desk.supervisor.locate(account, None) == Location(spare)
        await eventually(lambda: len(desk.fleet.hosts) == 2)
        await desk.trading("b")
        assert len(desk.fleet.hosts) == 2


async def test_concurrent_first_requests_share_one_activation() -> None:
    async with floor() as desk:
        created = await desk.client.create(CreateAccount(owner_id="o", clone_id="c"), request_id="r")
        await asyncio.gather(*(desk.client.call(Submit(created.account.id, StartAccount(), "r")) for _ in range(20)))
        assert desk.store.heads[created.account.id].epoch == 1


async def test_only_so_many_accounts_are_activated_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The others wait for their turn, and get it."""
    async with floor(cold_activations_max=2) as desk:
        created = [
            await desk.client.create(CreateAccount(owner_id="o", clone_id=str(n)), request_id="r") for n in range(5)
        ]
        running, most, may_go_on = 0, 0, asyncio.Event()
        activate = AccountHost.activate

        async def slow(host: AccountHost, account_ids: Sequence[str]) -> Activation:
            nonlocal running, most
            running += 1
            most = max(most, running)
            await may_go_on.wait()
            running -= 1
            return await activate(host, account_ids)

        monkeypatch.setattr(AccountHost, "activate", slow)
        asked = [asyncio.create_task(desk.supervisor.locate(each.account.id, None)) for each in created]
        await eventually(lambda: running == 2)
        may_go_on.set()
        assert all(isinstance(found, Location) for found in await asyncio.gather(*asked))
        assert most == 2


async def test_a_storm_of_cold_accounts_is_refused_where_too_many_wait(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with floor(cold_activations_max=1, cold_waiting_max=3) as desk:
        created = [
            await desk.client.create(CreateAccount(owner_id="o", clone_id=str(n)), request_id="r") for n in range(5)
        ]
        may_go_on, activate = asyncio.Event(), AccountHost.activate

        async def slow(host: AccountHost, account_ids: Sequence[str]) -> Activation:
            await may_go_on.wait()
            return await activate(host, account_ids)

        monkeypatch.setattr(AccountHost, "activate", slow)
        asked = [asyncio.create_task(desk.supervisor.locate(each.account.id, None)) for each in created]
        await eventually(lambda: sum(each.done() for each in asked) == 2)
        refused = [each.result() for each in asked if each.done()]
        assert [each.reason for each in refused if isinstance(each, Unserved)] == ["overloaded", "overloaded"]
        may_go_on.set()
        served = [await each for each in asked[:3]]
        assert all(isinstance(each, Location) for each in served)
        assert isinstance(await desk.supervisor.locate(created[4].account.id, None), Location)


async def test_an_unknown_account_is_nobody_to_activate() -> None:
    async with floor() as desk:
        reply = await desk.client.call(Submit("0198f1c2-0000-7000-8000-00000000dead", StartAccount(), "r"))
        assert reply == Unserved("unknown_account", "no such account")


async def test_a_pass_marks_every_trading_account_on_one_vector_and_counts_them() -> None:
    async with floor(account_actors_max=2) as desk:
        accounts = [await desk.trading(str(number)) for number in range(5)]
        for account in accounts[:3]:
            await desk.buy(account, "1")
        desk.prices.observe("BTC-USD", "51000")
        report = await desk.client.mark_all(request_id="r")
        assert (report.accounts, report.marked, report.flat, report.failed) == (5, 3, 2, 0)
        passes = {event.payload for event in desk.store.events.values() if event.type == "mark_to_market"}
        assert all(report.pass_id.encode() in payload for payload in passes)


async def test_one_account_failing_does_not_stop_the_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    async with floor(account_actors_max=1) as desk:
        accounts = [await desk.trading(str(number)) for number in range(3)]
        for account in accounts:
            await desk.buy(account, "1")
        (host,) = desk.fleet.hosts.values()
        broken, submit = host._hosted[accounts[1]].book, AccountBook.submit

        def defective(book: AccountBook, *args: Any, **kwargs: Any) -> Any:
            if book is broken:
                raise RuntimeError("a defect in one account")
            return submit(book, *args, **kwargs)

        monkeypatch.setattr(AccountBook, "submit", defective)
        report = await desk.client.mark_all(request_id="r")
        assert (report.marked, report.failed) == (2, 1)
        assert (await desk.client.mark_all(request_id="r")).marked == 3, "rebuilt, it is marked again"


async def test_a_price_is_shown_only_once_every_host_has_it() -> None:
    async with floor(quotes_push_ms=1_000) as desk:
        account = await desk.trading("a")
        (host,) = desk.fleet.hosts.values()
        see, arrived = host.see, asyncio.Event()

        async def late(version: int, quotes: dict[str, Quote]) -> int:
            await arrived.wait()
            return await see(version, quotes)

        host.see = late  # type: ignore[method-assign]  # in place of its own
        desk.prices.observe("BTC-USD", "60000")
        looking = asyncio.create_task(desk.supervisor.look())
        await asyncio.sleep(0.05)
        assert (await desk.client.quotes())["BTC-USD"].mid == Decimal(50000)
        arrived.set()
        await looking
        assert (await desk.client.quotes())["BTC-USD"].mid == Decimal(60000)
        taken = await desk.buy(account, "1")
        assert isinstance(taken, Taken)
        assert taken.results[0].fill is not None
        assert taken.results[0].fill.price == Decimal(60000)


async def test_prices_go_on_after_a_supervisor_whose_clock_was_ahead() -> None:
    async with floor() as desk:
        account = await desk.trading("a")
        (host,) = desk.fleet.hosts.values()
        tomorrow = (datetime.now(UTC) + timedelta(days=1)).timestamp() * 1e6
        await host.see(int(tomorrow), await desk.prices.read())
        desk.prices.observe("BTC-USD", "60000")
        await desk.supervisor.look()
        await desk.supervisor.look()
        taken = await desk.buy(account, "1")
        assert isinstance(taken, Taken)
        assert taken.results[0].fill is not None
        assert taken.results[0].fill.price == Decimal(60000)


async def test_prices_that_cannot_be_read_leave_readiness_and_nothing_else() -> None:
    async with floor() as desk:
        account = await desk.trading("a")
        desk.prices.away = True
        await asyncio.sleep(0.05)
        assert isinstance(await desk.buy(account, "1"), Taken)
        desk.prices.away = False
        desk.prices.observe("BTC-USD", "42000")
        async with asyncio.timeout(5):
            while (await desk.client.quotes())["BTC-USD"].mid != Decimal(42000):
                await asyncio.sleep(0.01)


async def test_an_ended_account_leaves_memory_and_is_read_from_storage() -> None:
    async with floor() as desk:
        account = await desk.trading("a")
        ended = await desk.client.call(Submit(account, LiquidateAccount("done"), "r"))
        assert isinstance(ended, Submitted)
        await eventually(lambda: not any(account in host._hosted for host in desk.fleet.hosts.values()))
        reading = await desk.client.read(account, request_id="r")
        assert reading is not None
        assert reading.account.status == "liquidated"
        assert reading.account.end_reason == "done"


async def test_marking_one_account_that_does_not_trade_is_refused() -> None:
    async with floor() as desk:
        created = await desk.client.create(CreateAccount(owner_id="o", clone_id="c"), request_id="r")
        reply = await desk.client.call(Submit(created.account.id, MarkToMarket("p"), "r"))
        assert reply.refusal.code == "account_not_active"  # type: ignore[union-attr]


async def test_after_a_new_start_every_account_is_back_with_the_same_state() -> None:
    store, prices = MemoryStore(), Prices()
    prices.observe("BTC-USD", "50000")
    limits = SupervisorLimits(marking_cadence_ms=0)
    async with local_runtime(store, SteeredAppender(store), prices, supervisor_limits=limits) as runtime:
        desk = Floor(runtime, store, prices)
        account = await desk.trading("a")
        await desk.buy(account, "1")
        before = await desk.client.read(account, request_id="r")
    async with local_runtime(store, SteeredAppender(store), prices, supervisor_limits=limits) as runtime:
        assert await runtime.supervisor.whereabouts(account), "recovery is done when the start is"
        assert await runtime.client.read(account, request_id="r") == before


@pytest.mark.parametrize("cadence_ms", [10])
async def test_the_cadence_marks_without_being_asked(cadence_ms: int) -> None:
    async with floor(marking_cadence_ms=cadence_ms) as desk:
        account = await desk.trading("a")
        await desk.buy(account, "1")
        await eventually(lambda: any(event.type == "mark_to_market" for event in desk.store.events.values()))


async def test_a_round_of_a_schedule_that_fails_in_a_way_nobody_foresaw_ends_no_schedule() -> None:
    async with floor() as desk:
        read = desk.prices.read

        async def altered() -> dict[str, Quote]:
            raise RuntimeError("the price table has another name for a while")

        desk.prices.read = altered  # type: ignore[method-assign]  # in place of its own
        await asyncio.sleep(0.05)
        desk.prices.read = read  # type: ignore[method-assign]  # in place of its own
        desk.prices.observe("BTC-USD", "51000")
        await eventually(lambda: desk.supervisor._board.shown["BTC-USD"].mid == Decimal(51_000))


async def test_an_actor_that_cannot_say_whom_it_hosts_is_ended_and_stops_no_start() -> None:
    store, prices = MemoryStore(), Prices()
    fleet = LocalFleet(store, SteeredAppender(store), HostLimits())
    await fleet.spawn("half-open", None)

    async def half_open() -> tuple[str, ...]:
        raise AttributeError("no host yet")

    fleet.hosts["half-open"].roster = half_open  # type: ignore[method-assign]  # in place of its own
    supervisor = Supervisor(fleet, store, prices, SupervisorLimits(spare_hosts=0), beat=no_beat, entropy=token_bytes)
    async with asyncio.timeout(5):
        await supervisor.start()
    assert fleet.hosts == {}
    await supervisor.close()


async def test_prices_go_on_while_accounts_come_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """A start may take a minute; who is back already must not be refused for a quote that nobody looked at again."""
    store, prices, listed = MemoryStore(), Prices(), asyncio.Event()

    async def slow() -> list[str]:
        await listed.wait()
        return []

    monkeypatch.setattr(store, "hostable", slow)
    fleet = LocalFleet(store, SteeredAppender(store), HostLimits())
    limits = SupervisorLimits(spare_hosts=0, quotes_poll_ms=10)
    supervisor = Supervisor(fleet, store, prices, limits, beat=no_beat, entropy=token_bytes)
    starting = asyncio.create_task(supervisor.start())
    await eventually(lambda: supervisor._board.wellness().well)
    prices.observe("BTC-USD", "51000")
    await eventually(lambda: "BTC-USD" in supervisor._board.shown)
    listed.set()
    await starting
    await supervisor.close()


async def test_a_host_that_is_lost_while_everything_closes_stops_no_other_from_closing() -> None:
    async with floor(account_actors_max=2) as desk:
        await desk.trading("a")
        await desk.trading("b")
        first = next(iter(desk.fleet.hosts.values()))

        async def lost_meanwhile() -> None:
            await desk.supervisor._watch.examine(first)
            raise Lost("killed")

        async def silent() -> None:
            raise Lost("killed")

        first.close = lost_meanwhile  # type: ignore[method-assign]  # in place of its own
        first.pulse = silent  # type: ignore[method-assign, assignment]  # in place of its own
    assert desk.fleet.hosts == {}


async def test_a_supervisor_passes_over_a_host_that_an_earlier_one_has_closed() -> None:
    async with floor(account_actors_max=1) as desk:
        account = await desk.trading("a")
        (closed,) = desk.fleet.hosts.values()
        await closed.close()
        answer = await desk.buy(account, "1")
        assert isinstance(answer, Taken)
        assert closed.name not in desk.fleet.hosts


async def test_a_host_that_fails_in_a_way_nobody_foresaw_leaves_nobody_waiting() -> None:
    async with floor() as desk:
        account = await desk.trading("a")
        (host,) = desk.fleet.hosts.values()

        async def broken(*_: object) -> None:
            raise RuntimeError("a defect")

        host.handle = broken  # type: ignore[method-assign, assignment]  # in place of its own
        async with asyncio.timeout(5):
            with pytest.raises(RuntimeError):
                await desk.buy(account, "1")


async def test_no_answer_takes_longer_than_the_deadline() -> None:
    async with floor() as desk:
        account = await desk.trading("a")

        async def silent(*_: object) -> None:
            await asyncio.sleep(60)

        desk.supervisor.locate = silent  # type: ignore[method-assign, assignment]  # in place of its own
        for host in desk.fleet.hosts.values():
            host.handle = silent  # type: ignore[method-assign, assignment]  # in place of its own
        began = time.monotonic()
        reply = await desk.buy(account, "1")
        assert isinstance(reply, Unserved)
        assert reply.reason == "outcome_unknown"
        assert time.monotonic() - began < 2.5


async def test_a_pass_that_finds_an_account_fenced_where_it_lives_no_more_leaves_it_where_it_lives() -> None:
    async with floor(account_actors_max=2, pulse_ms=60_000, balance_ms=60_000) as desk:
        account, *_ = [await desk.trading(name) for name in "abcd"]  # neighbours, so that there is a pass
        await desk.buy(account, "1")
        place = await desk.supervisor.locate(account, None)
        (other,) = [host for host in desk.fleet.hosts.values() if Location(host.name) != place]
        await other.activate([account])
        desk.supervisor._placement.assign(account, other.name)
        await desk.supervisor.mark_all("r")
        assert await desk.supervisor.whereabouts(account) == Location(other.name)
        assert desk.supervisor._homecoming.waiting == 0
        assert (await desk.supervisor.mark_all("r")).failed == 0
        assert desk.store.heads[account].epoch == 2


async def test_a_pass_leaves_alone_what_is_on_its_way_back() -> None:
    async with floor(pulse_ms=60_000, account_actors_max=2) as desk:
        account, other = await desk.trading("a"), await desk.trading("b")
        await desk.buy(account, "1")
        await desk.buy(other, "1")
        host = next(iter(desk.fleet.hosts.values()))
        (lost,) = await host.roster()
        await host.hand_over([lost])
        activate, go_on = host.activate, asyncio.Event()

        async def slow(account_ids: list[str]) -> Activation:
            await go_on.wait()
            return await activate(account_ids)

        host.activate = slow  # type: ignore[method-assign, assignment]  # in place of its own
        desk.supervisor._homecoming.lost([lost])
        returning = asyncio.create_task(desk.supervisor._homecoming.round())
        await asyncio.sleep(0.01)
        report = await desk.supervisor.mark_all("r")
        assert (report.marked, report.failed) == (1, 1)
        assert await desk.supervisor.whereabouts(lost) == Location(host.name), "it was taken from where it is going"
        go_on.set()
        await returning
        report = await desk.supervisor.mark_all("r")
        assert (report.marked, report.failed) == (2, 0)
        assert desk.store.heads[lost].epoch == 2
