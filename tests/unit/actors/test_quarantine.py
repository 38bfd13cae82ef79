"""Quarantine: twice at one seq, wherever the account lives, told as often as hosts like (G8)."""

from actors.hosting import AccountHost
from actors.messages import Deed, Recompute, Recomputed, Taken, Unserved
from actors.ports import Break, Location
from actors.quarantine import SHOWN_MAX, Quarantine
from tests.support.floor import Floor, floor

STILL = {"account_actors_max": 2, "pulse_ms": 60_000, "balance_ms": 60_000}
"""Two hosts, and nothing happens by itself."""


async def hosts_of(desk: Floor, account: str) -> tuple[AccountHost, AccountHost]:
    """The account's host, and the other."""
    place = await desk.supervisor.locate(account, None)
    assert isinstance(place, Location)
    (other,) = [host for name, host in desk.fleet.hosts.items() if name != place.host]
    return desk.fleet.hosts[place.host], other


async def breaks(desk: Floor, account: str, key: str = "1") -> None:
    desk.appender.fail_with("refused")
    broken = await desk.buy(account, key)
    assert isinstance(broken, Unserved)
    assert broken.reason == "outcome_unknown"


async def moves(desk: Floor, account: str) -> None:
    """To the other host, back in life."""
    source, target = await hosts_of(desk, account)
    await desk.supervisor.locate(account, source.name)
    assert await desk.supervisor._mover.move([account], source.name, target.name)


async def test_the_count_follows_an_account_to_another_host() -> None:
    async with floor(**STILL) as desk:
        account, other = await desk.trading("a"), await desk.trading("b")
        await breaks(desk, account)
        await moves(desk, account)
        await breaks(desk, account)
        epoch = desk.store.heads[account].epoch
        refused = await desk.buy(account, "1")
        assert refused == Unserved("quarantined", f"account {account} broke twice at seq 2: append refused")
        assert desk.store.heads[account].epoch == epoch, "it was activated once more to be told"
        assert isinstance(await desk.buy(other, "1"), Taken)


async def test_what_breaks_in_a_pass_is_counted_before_it_comes_back_elsewhere() -> None:
    async with floor(**STILL) as desk:
        account, _ = await desk.trading("a"), await desk.trading("b")
        await desk.buy(account, "1")
        for price in ("51000", "52000"):
            desk.prices.observe("BTC-USD", price)
            desk.appender.fail_with("refused")
            report = await desk.supervisor.mark_all("r")
            assert (report.accounts, report.failed) == (2, 1)
        report = await desk.supervisor.mark_all("r")
        assert (report.accounts, report.failed) == (2, 1)
        refused = await desk.buy(account, "2")
        assert isinstance(refused, Unserved)
        assert refused.reason == "quarantined"


async def test_breaks_at_different_seqs_are_no_pattern() -> None:
    async with floor(**STILL) as desk:
        account, _ = await desk.trading("a"), await desk.trading("b")
        for number in range(3):
            await breaks(desk, account, str(number))
            await moves(desk, account)
            assert isinstance(await desk.buy(account, str(number)), Taken)


async def test_an_account_that_was_put_right_lives_wherever_it_is_put_and_is_counted_anew() -> None:
    async with floor(**STILL) as desk:
        account, _ = await desk.trading("a"), await desk.trading("b")
        for _ in range(2):
            await breaks(desk, account)
        assert (
            await desk.client.call(Recompute(account, "r", Deed("o", "recompute", "w"), dry_run=True))
        ) == Recomputed(2, 0, (), repaired=False)
        refused = await desk.buy(account, "1")
        assert isinstance(refused, Unserved)
        assert refused.reason == "quarantined", "a dry run let it out"
        assert isinstance(await desk.client.call(Recompute(account, "r", Deed("o", "recompute", "w"))), Recomputed)
        assert isinstance(await desk.buy(account, "1"), Taken)
        for _ in range(2):  # to the host on which it broke, and back, while both go on telling what they know
            await moves(desk, account)
            for host in desk.fleet.hosts.values():
                await desk.supervisor._watch.examine(host)
            assert isinstance(await desk.buy(account, "1"), Taken)
        assert "0 accounts in quarantine" in (await desk.supervisor.wellness())[1].detail
        await breaks(desk, account, "2")
        assert isinstance(await desk.buy(account, "2"), Taken)


async def test_those_who_ask_how_recovery_is_are_told_whom_at_which_seq_and_why() -> None:
    async with floor(**STILL) as desk:
        account, _ = await desk.trading("a"), await desk.trading("b")
        for _ in range(2):
            await breaks(desk, account)
        await desk.buy(account, "1")
        recovery = (await desk.supervisor.wellness())[1]
        assert recovery.detail == f"done; 1 accounts in quarantine, {account} (seq 2: append refused)"


def test_a_break_that_is_told_again_is_counted_once() -> None:
    quarantine = Quarantine()
    for _ in range(3):
        assert not quarantine.broke("a", Break(epoch=1, seq=7, why="x"))
    assert quarantine.broke("a", Break(epoch=4, seq=7, why="x"))
    assert "a" in quarantine
    quarantine.restored("a", 5)
    assert "a" not in quarantine
    for epoch in (1, 4):
        assert not quarantine.broke("a", Break(epoch, seq=7, why="x"))
    assert not quarantine.broke("a", Break(6, seq=7, why="x")), "what was before it was put right was counted"


def test_what_was_put_right_before_it_broke_again_is_no_excuse() -> None:
    quarantine = Quarantine()
    for epoch in (1, 2):
        quarantine.broke("a", Break(epoch, seq=7, why="x"))
    quarantine.restored("a", 1)
    assert "a" in quarantine


def test_a_new_supervisor_that_hears_first_of_the_cure_does_not_count_what_was_before() -> None:
    quarantine = Quarantine()
    quarantine.restored("a", 3)
    for epoch in (1, 2):
        assert not quarantine.broke("a", Break(epoch, seq=7, why="x"))
    assert "a" not in quarantine


def test_of_many_only_the_first_are_named() -> None:
    quarantine = Quarantine()
    quarantine.not_rebuilt({f"a{number}": Break(1, 7, "x") for number in range(SHOWN_MAX + 2)})
    assert quarantine.summary().startswith("22 accounts in quarantine, a0 (seq 7: x), a1")
    assert quarantine.summary().endswith("a19 (seq 7: x) and 2 more")
