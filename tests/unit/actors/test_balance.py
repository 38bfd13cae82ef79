"""Balance: hosts over nodes and accounts over hosts, while the accounts trade (G2, G4)."""

import asyncio

from actors.messages import Taken
from actors.placement import Placement
from actors.ports import Host, Location, Lost, Room
from tests.support.floor import Floor, eventually, floor


def crowd(desk: Floor) -> dict[str, int]:
    return {name: len(host._hosted) for name, host in desk.fleet.hosts.items()}


async def test_accounts_move_to_hosts_that_there_is_room_for_and_no_client_sees_it() -> None:
    async with floor(account_actors_max=1, balance_ms=10, spare_hosts=1) as desk:
        accounts = [await desk.trading(str(number)) for number in range(8)]
        stopped = asyncio.Event()

        async def trade(account: str) -> int:
            number = 0
            while not stopped.is_set():
                number += 1
                reply = await desk.buy(account, str(number), "0.00100000")
                assert isinstance(reply, Taken), reply
                assert not reply.results[0].replayed, "a retry found its own answer: the first was lost"
                await asyncio.sleep(0.001)
            return number

        trading = [asyncio.create_task(trade(account)) for account in accounts]
        desk.fleet.held = Room(hosts_max=4)
        await eventually(lambda: sorted(crowd(desk).values()) == [2, 2, 2, 2] or any(each.done() for each in trading))
        stopped.set()
        traded = await asyncio.gather(*trading)
        receipts = dict.fromkeys(accounts, 0)
        for account, _ in desk.store.actions:
            receipts[account] += 1
        assert receipts == dict(zip(accounts, traded, strict=True))


async def test_an_account_that_cannot_finish_stays_where_it_is() -> None:
    async with floor(account_actors_max=1, balance_ms=60_000) as desk:
        account = await desk.trading("a")
        (host,) = desk.fleet.hosts.values()
        host._limits = type(host._limits)(hand_over_ms=20)
        with host._hosted[account].holding():
            assert await host.hand_over([account]) == ()
        assert isinstance(await desk.buy(account, "1"), Taken)
        assert desk.store.heads[account].epoch == 1
        assert await host.hand_over([account]) == (account,)


async def test_a_request_that_comes_while_an_account_moves_waits_for_its_new_host() -> None:
    async with floor(account_actors_max=2, balance_ms=60_000) as desk:
        account = await desk.trading("a")
        source = next(iter(desk.fleet.hosts))
        target = (await desk.supervisor._hosts.make()).name
        hand_over, may_go = desk.fleet.hosts[source].hand_over, asyncio.Event()

        async def slowly(account_ids):
            left = await hand_over(account_ids)
            await may_go.wait()
            return left

        desk.fleet.hosts[source].hand_over = slowly  # type: ignore[method-assign]  # in place of its own
        moving = asyncio.create_task(desk.supervisor._mover.move([account], source, target))
        await eventually(lambda: account not in desk.fleet.hosts[source]._hosted)
        asked = asyncio.create_task(desk.buy(account, "1"))
        await asyncio.sleep(0.05)
        assert not asked.done()
        may_go.set()
        assert await moving == 1
        assert isinstance(await asked, Taken)
        assert await desk.supervisor.locate(account, None) == Location(target)


async def test_a_move_that_breaks_off_leaves_an_account_that_comes_back() -> None:
    async with floor(account_actors_max=2, balance_ms=60_000) as desk:
        account = await desk.trading("a")
        source = next(iter(desk.fleet.hosts))
        target = (await desk.supervisor._hosts.make()).name

        async def lost(*_: object) -> None:
            raise Lost("killed while it took the account on")

        desk.fleet.hosts[target].activate = lost  # type: ignore[method-assign, assignment]  # in place of its own
        desk.fleet.hosts[target].pulse = lost  # type: ignore[method-assign, assignment]  # in place of its own
        assert await desk.supervisor._mover.move([account], source, target) == 0
        assert isinstance(await desk.buy(account, "1"), Taken)


async def test_a_node_that_joins_gets_its_share_of_hosts_with_their_accounts() -> None:
    async with floor(account_actors_max=4, balance_ms=10) as desk:
        desk.fleet.held = Room(4, ("n1",))
        await eventually(lambda: desk.supervisor._placement.nodes == ("n1",))
        accounts = [await desk.trading(str(number)) for number in range(4)]
        desk.fleet.held = Room(4, ("n1", "n2"))
        await eventually(lambda: sorted(host._node for host in desk.fleet.hosts.values()) == ["n1", "n1", "n2", "n2"])
        await eventually(lambda: list(crowd(desk).values()) == [1, 1, 1, 1])
        for account in accounts:
            assert isinstance(await desk.buy(account, "1"), Taken)


async def test_a_host_that_changes_nodes_is_waited_for_by_nobody_and_leaves_none_too_many() -> None:
    async with floor(account_actors_max=4, balance_ms=10, pulse_ms=10) as desk:
        desk.fleet.held = Room(4, ("n1",))
        await eventually(lambda: desk.supervisor._placement.nodes == ("n1",))
        accounts = [await desk.trading(str(number)) for number in range(4)]
        spawn, may_come = desk.fleet.spawn, asyncio.Event()

        async def slowly(name: str, node: str | None) -> Host:
            await may_come.wait()
            return await spawn(name, "n1")  # and not where it was to be

        desk.fleet.spawn = slowly  # type: ignore[method-assign]  # in place of its own
        desk.fleet.held = Room(4, ("n1", "n2"))
        await eventually(lambda: desk.supervisor._hosts.coming == 1)
        async with asyncio.timeout(5):
            await desk.supervisor.mark_all("r")
        desk.fleet.spawn = spawn  # type: ignore[method-assign]  # its own
        may_come.set()
        await eventually(lambda: sorted(host._node for host in desk.fleet.hosts.values()) == ["n1", "n1", "n2", "n2"])
        await eventually(lambda: list(crowd(desk).values()) == [1, 1, 1, 1])
        for account in accounts:
            assert isinstance(await desk.buy(account, "1"), Taken)


async def test_hosts_that_there_is_no_room_for_any_more_are_given_up_and_their_accounts_trade_on() -> None:
    async with floor(account_actors_max=4, balance_ms=10) as desk:
        accounts = [await desk.trading(str(number)) for number in range(4)]
        desk.fleet.held = Room(hosts_max=2)
        await eventually(lambda: sorted(crowd(desk).values()) == [2, 2])
        for account in accounts:
            assert isinstance(await desk.buy(account, "1"), Taken)


async def test_nothing_new_is_put_on_a_node_that_lost_a_host_in_silence() -> None:
    async with floor(account_actors_max=4, balance_ms=60_000) as desk:
        desk.fleet.held = Room(4, ("n1", "n2"))
        await desk.supervisor._hosts.survey()
        await desk.trading("a")
        (host,) = desk.fleet.hosts.values()
        assert host._node == "n1"

        async def gone(*_: object) -> None:
            raise Lost("its node does not answer")

        host.pulse = gone  # type: ignore[method-assign, assignment]  # in place of its own
        await desk.supervisor._watch.examine(desk.supervisor._hosts[host.name])
        await desk.supervisor._hosts.survey()
        assert [(await desk.supervisor._hosts.make()).name for _ in range(2)]
        assert {each._node for each in desk.fleet.hosts.values()} == {"n2"}


def test_hosts_that_differ_by_little_are_left_alone() -> None:
    placement = Placement(2)
    placement.add_host("h0")
    placement.add_host("h1")
    for number in range(100):
        placement.assign(f"a{number}", "h0")
    for number in range(95):
        placement.assign(f"b{number}", "h1")
    assert placement.uneven(50) is None
    for number in range(40):
        placement.release([f"b{number}"])
    move = placement.uneven(10)
    assert move is not None
    assert (move.source, move.target, len(move.accounts)) == ("h0", "h1", 10)
