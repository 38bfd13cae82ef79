"""Sums: what the hosts of each node have counted, added up, so that no sum falls when a host ends.

Hosts come and go by the hundred, and where each account has one of its own a series a host would be a series an
account: nodes are few. Guarantee: a total grows, or begins anew at zero with the supervisor, which is what a counter
may do; of a host that is older than the supervisor only what it counts from now on is added. What a host counted after
its last pulse is lost with it.
"""

import asyncio
from collections.abc import Container, Iterable

from actors.figures import HostCounts, HostFigures, NodeFigures
from persistence.counts import accrue


class Sums:
    """Of one supervisor, on its loop's clock."""

    def __init__(self) -> None:
        self._began = asyncio.get_running_loop().time()
        self._totals: dict[str, HostCounts] = {}
        self._last: dict[str, tuple[float, str, HostFigures]] = {}

    def heard(self, node: str, figures: HostFigures) -> None:
        """A host of this node has told its figures."""
        now = asyncio.get_running_loop().time()
        if figures.host in self._last:
            before = self._last[figures.host][2].counts
        else:
            is_older = figures.age_seconds > now - self._began
            before = figures.counts if is_older else HostCounts()
        total = self._totals.setdefault(node, HostCounts())
        if figures.counts != before:  # most hosts have nothing new to tell at most times
            accrue(total, figures.counts, before)
        self._last[figures.host] = (now, node, figures)

    def nodes(self, living: Iterable[str], known: Container[str]) -> dict[str, NodeFigures]:
        """By node, over the `living` hosts. A node without any that is not `known` any more is forgotten."""
        now = asyncio.get_running_loop().time()
        self._last = {host: self._last[host] for host in living if host in self._last}
        occupied = {node for _, node, _ in self._last.values()}
        self._totals = {node: sum_ for node, sum_ in self._totals.items() if node in occupied or node in known}
        nodes = {node: NodeFigures(counts=sum_) for node, sum_ in self._totals.items()}
        for told_at, node, figures in self._last.values():
            found = nodes[node]
            found.hosts += 1
            found.accounts += figures.accounts
            found.undurable_accounts += figures.undurable_accounts
            found.undurable_seconds = max(found.undurable_seconds, figures.undurable_seconds)
            found.told_seconds = max(found.told_seconds, now - told_at)
            if figures.committer is not None:
                found.committers += 1
                found.queued_events += figures.committer.queued_events
                found.queued_bytes += figures.committer.queued_bytes
                found.queued_seconds = max(found.queued_seconds, figures.committer.oldest_seconds)
        return nodes
