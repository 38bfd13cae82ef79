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
    """Accounts by host, and hosts by account. `nodes` are those that new hosts may be put on; a host that is shunned
    keeps its accounts and gets no more."""

    def __init__(self, hosts_max: int) -> None:
        self.hosts_max = hosts_max
        self.nodes: tuple[str, ...] = ()
        self._node_of: dict[str, str] = {}
        self._accounts: dict[str, set[str]] = {}
        self._host_of: dict[str, str] = {}
        self._shunned: set[str] = set()

    @property
    def hosts(self) -> tuple[str, ...]:
        return tuple(self._accounts)

    @property
    def empty(self) -> int:
        """Hosts without an account."""
        return sum(1 for host in self._open if not self._accounts[host])

    @property
    def _open(self) -> list[str]:
        return [host for host in self._accounts if host not in self._shunned]

    def host_of(self, account_id: str) -> str | None:
        return self._host_of.get(account_id)

    def accounts_of(self, host: str) -> frozenset[str]:
        return frozenset(self._accounts.get(host, ()))

    def node_of(self, host: str) -> str:
        return self._node_of.get(host, "")

    def add_host(self, host: str, node: str = "") -> None:
        """A host that can take accounts."""
        self._accounts.setdefault(host, set())
        if node:
            self._node_of[host] = node

    def shun(self, host: str) -> None:
        """Give it no more accounts for now."""
        self._shunned.add(host)

    def found(self, host: str, node: str) -> None:
        """A host is well, and on this node."""
        self._shunned.discard(host)
        if node and host in self._accounts:
            self._node_of[host] = node

    def remove_host(self, host: str) -> frozenset[str]:
        """Forget a host; returns the accounts that have lost their place."""
        self._node_of.pop(host, None)
        self._shunned.discard(host)
        lost = frozenset(self._accounts.pop(host, ()))
        for account_id in lost:
            del self._host_of[account_id]
        return lost

    def emptiest(self, *, but: str | None = None) -> str | None:
        """The host with the fewest accounts, of the others than `but`; None where there is none to be had."""
        fit = [host for host in self._open if host != but] if but else self._open
        return min(fit, key=lambda host: (len(self._accounts[host]), host), default=None)

    def choose(self, *, room: int) -> str | None:
        """The host for one more account; None when there is room for a new host and no empty one stands ready."""
        least = self.emptiest()
        return None if least is None or (room and self._accounts[least]) else least

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

    def lacking(self) -> str | None:
        """The node that had better have one host more, at the cost of the fullest; None where nodes differ by no more
        than a host."""
        if len(self.nodes) < 2:
            return None
        most = max(self._hosts_on(node) for node in self.nodes)
        fewest, node = min((self._hosts_on(node), node) for node in self.nodes)
        return node if most - fewest >= 2 else None

    def surplus(self) -> str | None:
        """Where there are more hosts than there is room for, the one to do without: with the fewest accounts, of the
        node with the most hosts."""
        if len(self._open) <= self.hosts_max:
            return None

        def worth(host: str) -> tuple[int, int, str]:
            return -self._hosts_on(self.node_of(host)), len(self._accounts[host]), host

        return min(self._open, key=worth)

    def uneven(self, moves_max: int) -> Move | None:
        """What to move from the fullest host to the emptiest; None where hosts are about even."""
        emptiest = self.emptiest()
        if emptiest is None:
            return None
        fullest = max(self._open, key=lambda host: (len(self._accounts[host]), host))
        most = len(self._accounts[fullest])
        difference = most - len(self._accounts[emptiest])
        if difference <= max(1, most // UNEVEN_PARTS):
            return None
        leaving = sorted(self._accounts[fullest])[: min(difference // 2, moves_max)]
        return Move(tuple(leaving), fullest, emptiest)

    def _hosts_on(self, node: str) -> int:
        return sum(1 for each in self._node_of.values() if each == node)
