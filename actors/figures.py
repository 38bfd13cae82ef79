"""Figures: what hosts and the supervisor count of themselves, and what a gateway is told of it.

No account is named in any of them: what tells figures apart are codes, outcomes and nodes, of which there are few.
A host counts with every action, so it adds integers in place (under 2 us an action); its supervisor hears the sums with
each pulse.
"""

from collections import Counter
from collections.abc import Sequence
from typing import Final, Literal

import msgspec

from engine.events import RecordedEvent
from engine.views import ActionResult
from persistence.counts import CommitterFigures, Counters, Durations

Cause = Literal["fenced", "refused", "unknown", "broken"]
"""Why the state of an account was thrown away: another activation has the account; storage will never take its rows; a
commit could not be confirmed; an invariant broke, or something that nobody foresaw."""
AT_FAULT: Final = frozenset({"refused", "broken"})
"""Causes that lie in the account itself: they count towards its quarantine."""
SYMBOLS_MAX: Final = 200
"""Symbols whose quotes are told one by one; beyond them they are only counted."""


class HostCounts(msgspec.Struct, kw_only=True):
    """Totals since the host began. `actions` by outcome, `rejections` by gate, `events` of the ledger by type as they
    became durable, `marks` by outcome, `poisoned` by cause, `unserved` requests by reason. `acknowledged` are durations
    from a request's arrival at the host to its events being durable, `rebuilt` those of whole activations, in which
    `accounts_rebuilt` came back. `committer` is the host's own, where it has one."""

    actions: dict[str, int] = msgspec.field(default_factory=Counter)
    rejections: dict[str, int] = msgspec.field(default_factory=Counter)
    events: dict[str, int] = msgspec.field(default_factory=Counter)
    marks: dict[str, int] = msgspec.field(default_factory=Counter)
    poisoned: dict[str, int] = msgspec.field(default_factory=Counter)
    unserved: dict[str, int] = msgspec.field(default_factory=Counter)
    acknowledged: Durations = msgspec.field(default_factory=Durations)
    rebuilt: Durations = msgspec.field(default_factory=Durations)
    accounts_rebuilt: int = 0
    drifts: int = 0
    committer: Counters = msgspec.field(default_factory=Counters)

    def took(self, results: Sequence[ActionResult], seconds: float) -> None:
        """A batch was answered, `seconds` after it came."""
        for result in results:
            if result.replayed:
                self.actions["replayed"] += 1
            elif result.code is None:
                self.actions["executed"] += 1
            else:
                self.actions["rejected"] += 1
                self.rejections[result.code.value] += 1
        self.acknowledged.add(seconds)

    def committed(self, recorded: Sequence[RecordedEvent]) -> None:
        """These are durable."""
        for event in recorded:
            self.events[event.type] += 1


class HostFigures(msgspec.Struct, kw_only=True):
    """A host as it is now, `age_seconds` after it began: what it has counted, how many accounts it holds, of how many
    of them something is decided and not durable, the oldest since `undurable_seconds`. `committer` is its own, where it
    has one."""

    host: str
    age_seconds: float
    counts: HostCounts
    accounts: int
    undurable_accounts: int
    undurable_seconds: float
    committer: CommitterFigures | None = None


class NodeFigures(msgspec.Struct, kw_only=True):
    """The hosts of a node: what they have counted, also those that have ended, since the supervisor began; and as they
    are now. `told_seconds` is how old the oldest word of a living one is."""

    counts: HostCounts = msgspec.field(default_factory=HostCounts)
    hosts: int = 0
    accounts: int = 0
    undurable_accounts: int = 0
    undurable_seconds: float = 0.0
    told_seconds: float = 0.0
    committers: int = 0
    queued_events: int = 0
    queued_bytes: int = 0
    queued_seconds: float = 0.0


class PassFigures(msgspec.Struct, kw_only=True):
    """Marking passes since the supervisor began: how long they took, and, of the last one, the accounts by outcome and
    how long ago its prices were read. `cadence_seconds` 0: nobody asks for them but operators."""

    durations: Durations = msgspec.field(default_factory=Durations)
    last: dict[str, int] = msgspec.field(default_factory=dict)
    lag_seconds: float = 0.0
    cadence_seconds: float = 0.0


class SupervisorFigures(msgspec.Struct, kw_only=True):
    """What the supervisor knows. `backlog` are accounts that should live in a host and do not yet; `quote_ages_seconds`
    by symbol, the first `SYMBOLS_MAX` of the `quotes` there are; `quotes_read_seconds` ago they could be read."""

    nodes: dict[str, NodeFigures]
    passes: PassFigures
    live_nodes: int
    hosts_max: int
    hosts_silent: int
    hosts_coming: int
    hosts_lost: int
    recovered: bool
    backlog: int
    quarantined: int
    quotes: int
    quotes_read_seconds: float | None
    quote_ages_seconds: dict[str, float]


class Figures(msgspec.Struct, frozen=True, kw_only=True):
    """What lies behind a gateway, as far as it has answered: None is whoever has not."""

    supervisor: SupervisorFigures | None
    persisters: dict[str, CommitterFigures | None]
