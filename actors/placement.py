"""Placement: which host an account lives on.

Every account has a host of its own while the cluster has room; past that, accounts share the least loaded ones.
Pure bookkeeping: names and counts, no calls.
"""

from collections.abc import Iterable

HOST_MEMORY_BYTES = 150 * 1024 * 1024
"""What a host process takes: about 50 MB of its own, with its libraries and some hundreds of accounts."""
HOSTS_PER_CPU = 8


def hosts_max(*, cpus: float, memory_bytes: float) -> int:
    """How many hosts a cluster has room for: 8 a CPU, fewer where memory is short."""
    return max(1, min(int(cpus * HOSTS_PER_CPU), int(memory_bytes / 2 / HOST_MEMORY_BYTES)))


class Placement:
    """Accounts by host, and hosts by account."""

    def __init__(self, hosts_max: int) -> None:
        self.hosts_max = hosts_max
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

    def add_host(self, host: str) -> None:
        self._accounts.setdefault(host, set())

    def remove_host(self, host: str) -> frozenset[str]:
        """Forget a host; returns the accounts that have lost their place."""
        lost = frozenset(self._accounts.pop(host, ()))
        for account_id in lost:
            del self._host_of[account_id]
        return lost

    def choose(self) -> str | None:
        """The host for one more account; None when there is room for a new host and no empty one stands ready."""
        least = min(self._accounts, key=lambda host: (len(self._accounts[host]), host), default=None)
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
