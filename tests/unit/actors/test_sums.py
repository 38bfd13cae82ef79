"""Sums: totals of a node grow, whichever hosts come and go."""

from actors.figures import HostCounts, HostFigures
from actors.sums import Sums


def told(host: str, fills: int, *, age_seconds: float = 0.0, accounts: int = 1) -> HostFigures:
    return HostFigures(
        host=host,
        age_seconds=age_seconds,
        counts=HostCounts(events={"fill_booked": fills}),
        accounts=accounts,
        undurable_accounts=0,
        undurable_seconds=0.0,
    )


def fills(sums: Sums, *living: str, node: str = "n") -> int:
    return sums.nodes(living, known=["n", "m"])[node].counts.events["fill_booked"]


async def test_what_a_host_has_counted_stays_when_it_ends() -> None:
    sums = Sums()
    sums.heard("n", told("a", 3))
    sums.heard("n", told("b", 4))
    sums.heard("n", told("a", 5))
    assert fills(sums, "a", "b") == 9
    assert fills(sums, "b") == 9
    sums.heard("n", told("c", 1))
    assert fills(sums, "b", "c") == 10


async def test_of_a_host_older_than_the_supervisor_only_what_is_new_is_added() -> None:
    sums = Sums()
    sums.heard("n", told("outlived", 100, age_seconds=3_600))
    assert fills(sums, "outlived") == 0 == sums.nodes(["outlived"], known=[])["n"].counts.drifts
    sums.heard("n", told("outlived", 102, age_seconds=3_601))
    assert fills(sums, "outlived") == 2


async def test_only_the_living_are_there_now_and_an_old_word_says_that_it_is_old() -> None:
    sums = Sums()
    sums.heard("n", told("a", 1, accounts=2))
    sums.heard("n", told("b", 1, accounts=3))
    node = sums.nodes(["a"], known=["n"])["n"]
    assert (node.hosts, node.accounts) == (1, 2)
    assert 0 <= node.told_seconds < 5


async def test_a_node_that_is_gone_is_forgotten() -> None:
    sums = Sums()
    sums.heard("gone", told("a", 1))
    sums.heard("n", told("b", 1))
    assert set(sums.nodes(["a", "b"], known=["n"])) == {"gone", "n"}
    assert set(sums.nodes(["b"], known=["n"])) == {"n"}
