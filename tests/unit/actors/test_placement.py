"""Placement: a host each while there is room, then the least loaded."""

from actors.placement import Placement, hosts_max


def placed(accounts: int, hosts: int) -> Placement:
    placement = Placement(hosts)
    for number in range(accounts):
        host = placement.choose(room=placement.hosts_max - len(placement.hosts))
        if host is None:
            host = f"h{len(placement.hosts)}"
            placement.add_host(host)
        placement.assign(f"a{number}", host)
    return placement


def test_every_account_has_a_host_of_its_own_while_there_is_room() -> None:
    placement = placed(4, hosts=4)
    assert [len(placement.accounts_of(host)) for host in placement.hosts] == [1, 1, 1, 1]


def test_past_the_limit_accounts_share_the_least_loaded() -> None:
    placement = placed(10, hosts=4)
    assert sorted(len(placement.accounts_of(host)) for host in placement.hosts) == [2, 2, 3, 3]


def test_an_emptied_host_is_used_before_a_new_one_is_made() -> None:
    placement = placed(2, hosts=4)
    placement.release(["a0"])
    assert placement.choose(room=placement.hosts_max - len(placement.hosts)) == "h0"


def test_a_lost_host_leaves_its_accounts_without_a_place() -> None:
    placement = placed(6, hosts=2)
    lost = placement.remove_host("h0")
    assert lost == {"a0", "a2", "a4"}
    assert placement.host_of("a0") is None
    assert placement.host_of("a1") == "h1"


def test_an_account_lives_in_one_place_only() -> None:
    placement = placed(2, hosts=2)
    placement.assign("a0", "h1")
    assert placement.accounts_of("h0") == frozenset()
    assert placement.accounts_of("h1") == {"a0", "a1"}


def test_room_follows_cpus_until_memory_is_short() -> None:
    assert hosts_max(cpus=2, memory_bytes=24e9, per_cpu=8) == 16
    assert hosts_max(cpus=64, memory_bytes=3e9, per_cpu=8) == 9
    assert hosts_max(cpus=1, memory_bytes=1e6, per_cpu=8) == 1
