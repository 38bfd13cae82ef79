"""A host that is merely slow costs nobody a recovery; one that is gone is replaced, and nobody waits for either."""

import asyncio
import time
from collections.abc import Sequence
from typing import Any

import pytest

from actors.hosting import AccountHost
from actors.messages import Submit, Submitted, Taken, Unserved
from actors.ports import Activation, Location, Lost, Pulse, Silent
from engine.commands import CreateAccount, StartAccount
from tests.support.appenders import SteeredAppender
from tests.support.floor import Floor, eventually, floor

SLOW = {"pulse_deadline_ms": 20, "silence_ms": 60_000, "balance_ms": 60_000}
"""A host is known to be silent in no time, and given up in a minute."""


async def lost_on_the_way(*_: object) -> Any:
    raise Silent("the call was lost")


async def never(*_: object) -> Any:
    return await asyncio.get_running_loop().create_future()


def hung(host: AccountHost) -> None:
    """SIGSTOP: nothing that it is asked has an answer any more."""
    for call in ("pulse", "handle", "mark", "activate", "hand_over", "passivate", "roster", "see"):
        setattr(host, call, never)


def goes_on(host: AccountHost) -> None:
    """SIGCONT."""
    for call in ("pulse", "handle", "mark", "activate", "hand_over", "passivate", "roster", "see"):
        delattr(host, call)


async def host_of(desk: Floor, account: str) -> AccountHost:
    place = await desk.supervisor.locate(account, None)
    assert isinstance(place, Location)
    return desk.fleet.hosts[place.host]


@pytest.mark.parametrize("silence", [lost_on_the_way, never])
async def test_a_host_that_was_silent_for_a_while_keeps_its_accounts(silence: Any) -> None:
    async with floor(**SLOW) as desk:
        account = await desk.trading("a")
        host = await host_of(desk, account)
        host.pulse = silence  # type: ignore[method-assign]  # in place of its own
        await eventually(lambda: desk.supervisor._hosts.is_silent(host.name))
        del host.pulse
        await eventually(lambda: not desk.supervisor._hosts.is_silent(host.name))
        assert isinstance(await desk.buy(account, "1"), Taken)
        assert await host_of(desk, account) is host
        assert desk.store.heads[account].epoch == 1


async def test_a_pulse_that_was_lost_on_the_way_is_asked_for_again_before_anybody_calls_it_silence() -> None:
    async with floor(pulse_ms=60_000) as desk:
        account = await desk.trading("a")
        host = await host_of(desk, account)

        async def lost_once() -> Pulse:
            del host.pulse
            raise Silent("the call was lost")

        host.pulse = lost_once  # type: ignore[method-assign]  # in place of its own
        assert await desk.supervisor.locate(account, host.name) == Location(host.name)
        assert desk.store.heads[account].epoch == 1


async def test_a_host_that_stays_silent_is_replaced() -> None:
    async with floor(pulse_deadline_ms=20, silence_ms=50) as desk:
        account = await desk.trading("a")
        host = await host_of(desk, account)
        hung(host)
        await eventually(lambda: host.name not in desk.fleet.hosts)
        assert isinstance(await desk.buy(account, "1"), Taken)
        assert desk.store.heads[account].epoch == 2


async def test_who_asks_for_an_account_of_a_silent_host_finds_it_on_another_and_its_neighbours_stay() -> None:
    async with floor(account_actors_max=2, **SLOW) as desk:
        accounts = [await desk.trading(str(number)) for number in range(4)]
        host = await host_of(desk, accounts[0])
        neighbours = [each for each in accounts[1:] if await host_of(desk, each) is host]
        hung(host)
        assert isinstance(await desk.buy(accounts[0], "1"), Taken)  # within the client's deadline
        elsewhere = await host_of(desk, accounts[0])
        assert elsewhere is not host
        goes_on(host)
        await eventually(lambda: accounts[0] not in host._hosted)
        assert [await host_of(desk, each) for each in neighbours] == [host]
        assert [desk.store.heads[each].epoch for each in neighbours] == [1]
        for _ in range(2):
            report = await desk.supervisor.mark_all("r")
            assert (report.accounts, report.failed) == (4, 0), "what was left over there was marked, or taken for lost"
        assert await host_of(desk, accounts[0]) is elsewhere
        assert desk.store.heads[accounts[0]].epoch == 2


async def test_what_a_silent_host_has_left_over_stands_in_nobodys_way_when_it_is_let_go() -> None:
    """Its idle account lives elsewhere by now: letting it go there must not take its place away."""
    async with floor(account_actors_max=2, **SLOW) as desk:
        account = await desk.trading("a")
        host = await host_of(desk, account)
        host.pulse = never  # type: ignore[method-assign]  # in place of its own
        await eventually(lambda: desk.supervisor._hosts.is_silent(host.name))
        await desk.supervisor.locate(account, None)

        async def idle() -> Pulse:
            return Pulse(1, (account,))

        host.pulse = idle  # type: ignore[method-assign]  # in place of its own
        await eventually(lambda: account not in host._hosted)
        await asyncio.sleep(0)
        assert await desk.supervisor.whereabouts(account) not in (None, Location(host.name))


async def test_a_silent_host_keeps_nobody_from_seeing_that_another_is_dead() -> None:
    async with floor(account_actors_max=2, pulse_deadline_ms=60_000, silence_ms=60_000) as desk:
        first, second = await desk.trading("a"), await desk.trading("b")
        (await host_of(desk, first)).pulse = never  # type: ignore[method-assign]  # in place of its own
        dead = await host_of(desk, second)
        await asyncio.sleep(0.05)

        async def killed() -> Pulse:
            raise Lost("killed")

        dead.pulse = killed  # type: ignore[method-assign]  # in place of its own
        await eventually(lambda: dead.name not in desk.fleet.hosts)


async def test_a_pass_goes_on_without_a_host_that_falls_silent() -> None:
    async with floor(account_actors_max=2, **SLOW) as desk:
        first, second = await desk.trading("a"), await desk.trading("b")
        for each in (first, second):
            await desk.buy(each, "1")
        hung(await host_of(desk, first))
        async with asyncio.timeout(5):
            report = await desk.supervisor.mark_all("r")
        assert (report.marked, report.failed) == (1, 1)


async def test_an_account_is_put_elsewhere_when_its_new_host_falls_silent() -> None:
    async with floor(account_actors_max=2, **SLOW) as desk:
        account = await desk.trading("a")
        host = await host_of(desk, account)
        await host.hand_over([account])
        hung(host)
        assert isinstance(await desk.buy(account, "1"), Taken)
        assert await host_of(desk, account) is not host


async def test_prices_are_shown_without_waiting_for_a_silent_host() -> None:
    async with floor(quotes_push_ms=60_000, **SLOW) as desk:
        account = await desk.trading("a")
        host = await host_of(desk, account)
        hung(host)
        await eventually(lambda: desk.supervisor._hosts.is_silent(host.name))
        desk.prices.observe("BTC-USD", "61000")
        async with asyncio.timeout(5):
            await desk.supervisor.look()
        goes_on(host)
        await eventually(lambda: host._quotes.get("BTC-USD") == desk.prices.quotes["BTC-USD"])


async def pending(desk: Floor) -> tuple[str, AccountHost]:
    """An account that does not trade yet, and the host that would let it go now."""
    created = await desk.client.create(CreateAccount(owner_id="o", clone_id="c"), request_id="r")
    account = created.account.id
    host = await host_of(desk, account)
    await eventually(lambda: host._hosted[account].touched_at < host._monotonic() - 0.05)
    return account, host


@pytest.mark.parametrize("when", ["before", "during", "after"])
async def test_an_account_that_is_started_as_it_is_let_go_is_marked_all_the_same(when: str) -> None:
    async with floor(pulse_ms=60_000, account_actors_max=1) as desk:
        account, host = await pending(desk)
        passivate, appender = host.passivate, host._outbox._appender
        assert isinstance(appender, SteeredAppender)

        async def crossed(account_ids: Sequence[str]) -> tuple[str, ...]:
            if when == "after":
                return await passivate(account_ids)
            if when == "before":
                await starting
            await eventually(lambda: host._hosted[account].book.account.status == "active")
            return await passivate(account_ids)

        host.passivate = crossed  # type: ignore[method-assign]  # in place of its own
        if when == "during":
            appender.hold()
        starting = asyncio.create_task(desk.client.call(Submit(account, StartAccount(), "r")))
        await desk.supervisor._watch._let_go(host, [account])
        appender.release()
        assert isinstance(await starting, Submitted)
        assert (await desk.supervisor.mark_all("r")).flat == 1


async def test_an_account_that_was_lost_while_it_was_brought_back_comes_back_by_itself() -> None:
    async with floor() as desk:
        account = await desk.trading("a")
        host = await host_of(desk, account)
        (gone,) = await host.hand_over([account])
        activate = host.activate

        async def poisoned(account_ids: Sequence[str]) -> Activation:
            host.activate = activate  # type: ignore[method-assign]  # its own
            return Activation(hosted=())

        host.activate = poisoned  # type: ignore[method-assign]  # in place of its own
        place = await desk.supervisor.locate(gone, host.name)
        assert isinstance(place, Unserved)
        await eventually(lambda: any(account in each._hosted for each in desk.fleet.hosts.values()))


async def test_a_shutdown_does_not_wait_for_a_silent_host() -> None:
    async with floor(account_actors_max=2, **SLOW) as desk:
        first, _ = await desk.trading("a"), await desk.trading("b")
        host = await host_of(desk, first)
        hung(host)
        host.close = never  # type: ignore[method-assign]  # in place of its own
        await eventually(lambda: desk.supervisor._hosts.is_silent(host.name))
        async with asyncio.timeout(5):
            await desk.supervisor.close()
        assert desk.fleet.hosts == {}


async def test_a_pause_of_the_supervisor_itself_says_nothing_of_its_hosts() -> None:
    async with floor(pulse_deadline_ms=200, silence_ms=0, pulse_ms=10) as desk:
        account = await desk.trading("a")
        host, asked, answered = await host_of(desk, account), asyncio.Event(), asyncio.Event()
        pulse = host.pulse

        async def on_its_way() -> Pulse:
            asked.set()
            await asyncio.sleep(0.02)
            answer = await pulse()
            answered.set()
            return answer

        host.pulse = on_its_way  # type: ignore[method-assign]  # in place of its own
        await asked.wait()
        answered.clear()
        time.sleep(0.6)  # SIGSTOP of the process with the supervisor: the deadline is long over when it goes on
        async with asyncio.timeout(5):
            await answered.wait()
        assert await host_of(desk, account) is host
        assert host.name in desk.fleet.hosts


async def test_reads_and_recomputes_do_not_wait_for_a_silent_host() -> None:
    async with floor(account_actors_max=2, **SLOW) as desk:
        account = await desk.trading("a")
        host = await host_of(desk, account)
        hung(host)
        await eventually(lambda: desk.supervisor._hosts.is_silent(host.name))
        assert await desk.supervisor.whereabouts(account) is None
        place = await desk.supervisor.shelter(account)
        assert isinstance(place, Location)
        assert place.host != host.name
