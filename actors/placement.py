"""Placement: which host an account lives on.

Every account has a host of its own while the cluster has room; past that, accounts share the least loaded ones.
Pure bookkeeping: names and counts, no calls.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

HOST_MEMORY_BYTES = 150 * 1024 * 1024
"""What a host process takes: about 50 MB of its own, with its libraries and some hundreds of accounts."""
UNEVEN_PARTS = 10
"""Hosts count as even while they differ by no more than one part in so many: a move costs an epoch and a snapshot."""


def hosts_max(*, cpus: float, memory_bytes: float, per_cpu: int) -> int:
    """How many hosts a cluster has room for: so many a CPU, fewer where memory is short."""
    return max(1, min(int(cpus * per_cpu), int(memory_bytes / 2 / HOST_MEMORY_BYTES)))


class Move(NamedTuple):
    """Accounts that had better live on another host."""

    accounts: tuple[str, ...]
    source: str
    target: str


class Placement:
    """Accounts by host, and hosts by account. `nodes` are those that new hosts may be put on."""

    def __init__(self, hosts_max: int) -> None:
        self.hosts_max = hosts_max
        self.nodes: tuple[str, ...] = ()
        self._node_of: dict[str, str] = {}
        self._accounts: dict[str, set[str]] = {}
        self._host_of: dict[str, str] = {}

    @property
    def hosts(self) -> tuple[str, ...]:
        return tuple(self._accounts)

    @property
    def empty(self) -> int:
        """Hosts without an account."""
        return sum(1 for accounts in self._accounts.values() if not accounts)

    def host_of(self, account_id: str) -> str | None:
        return self._host_of.get(account_id)

    def accounts_of(self, host: str) -> frozenset[str]:
        return frozenset(self._accounts.get(host, ()))

    def node_of(self, host: str) -> str:
        return self._node_of.get(host, "")

    def add_host(self, host: str, node: str = "") -> None:
        """A host, or word of the node that it is on."""
        self._accounts.setdefault(host, set())
        if node:
            self._node_of[host] = node

    def remove_host(self, host: str) -> frozenset[str]:
        """Forget a host; returns the accounts that have lost their place."""
        self._node_of.pop(host, None)
        lost = frozenset(self._accounts.pop(host, ()))
        for account_id in lost:
            del self._host_of[account_id]
        return lost

    def emptiest(self) -> str | None:
        """The host with the fewest accounts; None where there is no host."""
        return min(self._accounts, key=lambda host: (len(self._accounts[host]), host), default=None)

    def choose(self) -> str | None:
        """The host for one more account; None when there is room for a new host and no empty one stands ready."""
        least = self.emptiest()
        if least is None or (self._accounts[least] and len(self._accounts) < self.hosts_max):
            return None
        return least

    def assign(self, account_id: str, host: str) -> None:
        self.release((account_id,))
        self._accounts[host].add(account_id)
        self._host_of[account_id] = host

    def release(self, account_ids: Iterable[str]) -> None:
        for account_id in account_ids:
            host = self._host_of.pop(account_id, None)
            if host is not None:
                self._accounts[host].discard(account_id)

    def roomiest(self, coming: Sequence[str] = ()) -> str | None:
        """The node with the fewest hosts, those on their way there included; None where there is no choice."""
        return min(self.nodes, key=lambda node: (self._hosts_on(node) + coming.count(node), node), default=None)

    def misplaced(self) -> tuple[str, str] | None:
        """A host that had better stand on another node, the one with the fewest accounts of the fullest node, and that
        node; None where nodes differ by no more than a host."""
        if len(self.nodes) < 2:
            return None
        fullest = max(self.nodes, key=lambda node: (self._hosts_on(node), node))
        emptiest = min(self.nodes, key=lambda node: (self._hosts_on(node), node))
        if self._hosts_on(fullest) - self._hosts_on(emptiest) < 2:
            return None
        there = [host for host, node in self._node_of.items() if node == fullest]
        return min(there, key=lambda host: (len(self._accounts[host]), host)), emptiest

    def uneven(self, moves_max: int) -> Move | None:
        """What to move from the fullest host to the emptiest; None where hosts are about even."""
        emptiest = self.emptiest()
        if emptiest is None:
            return None
        fullest = max(self._accounts, key=lambda host: (len(self._accounts[host]), host))
        most = len(self._accounts[fullest])
        difference = most - len(self._accounts[emptiest])
        if difference <= max(1, most // UNEVEN_PARTS):
            return None
        leaving = sorted(self._accounts[fullest])[: min(difference // 2, moves_max)]
        return Move(tuple(leaving), fullest, emptiest)

    def _hosts_on(self, node: str) -> int:
        return sum(1 for each in self._node_of.values() if each == node)
