"""Told: figures of the engine in the form of Prometheus' metric families.

Pure: what was counted goes in, families come out; whoever has not answered is 0 in `prop_up` and in nothing else.
"""

from collections.abc import Iterable, Mapping
from typing import Final, get_args

import msgspec
from prometheus_client import Metric

from actors.figures import Cause, Figures, NodeFigures, SupervisorFigures
from actors.messages import UnservedReason
from engine.decide import MarkOutcome
from engine.events import EVENT_TYPES
from engine.rejections import GateCode
from gateway.measures import MEASURES
from persistence.counts import SECONDS, Counters, Durations, accrue
from persistence.vitals import Vitals

EVENTS: Final = tuple(1 << power for power in range(13))
"""Classes of `prop_commit_events`: 1, 2, 4, up to 4,096."""
INFINITE: Final = float("inf")
LOCAL: Final = "local"
"""The label `persister` of those that account actors have each for themselves."""

# A counter that is told from the start, at zero, shows its first event as a rise; one that appears with it does not.
OUTCOMES: Final = dict.fromkeys(("executed", "rejected", "replayed"), 0)
CODES: Final = dict.fromkeys([code.value for code in GateCode], 0)
TYPES: Final = dict.fromkeys(EVENT_TYPES, 0)
MARKS: Final = dict.fromkeys(get_args(MarkOutcome), 0)
CAUSES: Final = dict.fromkeys(get_args(Cause), 0)
REASONS: Final = dict.fromkeys(get_args(UnservedReason), 0)
PROOFS: Final = dict.fromkeys(("committed", "fenced", "not_written", "unknown"), 0)


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """What was asked for and answered in time. `beat_seconds`: the age of the supervisor's heartbeat, where there is
    one; `postgres` whether that could be read."""

    figures: Figures | None = None
    postgres: bool = False
    beat_seconds: float | None = None
    vitals: Vitals | None = None


def families(found: Found) -> list[Metric]:
    """All that was found, by the names of `measures`."""
    told = _Told()
    figures = found.figures
    told.value("prop_up", float(found.postgres), component="postgres")
    told.value("prop_up", float(figures is not None and figures.supervisor is not None), component="supervisor")
    for name, persister in (figures.persisters if figures else {}).items():
        told.value("prop_up", float(persister is not None), component=name)
        if persister is not None:
            _committing(told, name, persister.counted)
            _queued(told, name, persister.queued_events, persister.queued_bytes, persister.oldest_seconds)
    if figures is not None and figures.supervisor is not None:
        _supervision(told, figures.supervisor)
        for node, of_node in figures.supervisor.nodes.items():
            _node(told, node, of_node)
        _local(told, figures.supervisor.nodes.values())
    told.value("prop_supervisor_heartbeat_seconds", found.beat_seconds)
    if found.vitals is not None:
        _storage(told, found.vitals)
    return told.families()


class _Told:
    """Samples by family. A name that is no measure's is a `KeyError`."""

    def __init__(self) -> None:
        self._families: dict[str, Metric] = {}

    def families(self) -> list[Metric]:
        return list(self._families.values())

    def value(self, name: str, value: float | None, **labels: str) -> None:
        """Of a gauge or counter; None is not told."""
        if value is not None:
            suffix = "_total" if MEASURES[name].kind == "counter" else ""
            self._family(name).add_sample(name + suffix, labels, value)

    def values(self, name: str, label: str, values: Mapping[str, float], **labels: str) -> None:
        """One for each value of a label."""
        for key, value in values.items():
            self.value(name, value, **labels, **{label: key})

    def durations(self, name: str, durations: Durations, **labels: str) -> None:
        self.classes(name, SECONDS, durations.classes, durations.total_seconds, **labels)

    def classes(self, name: str, bounds: Iterable[float], counts: Iterable[int], total: float, **labels: str) -> None:
        """A histogram from the number in each class; the last class has no bound."""
        family, so_far = self._family(name), 0
        for bound, count in zip((*bounds, INFINITE), counts, strict=True):
            so_far += count
            family.add_sample(
                f"{name}_bucket", labels | {"le": "+Inf" if bound == INFINITE else str(float(bound))}, so_far
            )
        family.add_sample(f"{name}_count", labels, so_far)
        family.add_sample(f"{name}_sum", labels, total)

    def _family(self, name: str) -> Metric:
        measure = MEASURES[name]
        return self._families.setdefault(name, Metric(name, measure.means, measure.kind))


def _node(told: _Told, node: str, found: NodeFigures) -> None:
    counts = found.counts
    told.durations("prop_acknowledgement_seconds", counts.acknowledged, node=node)
    told.values("prop_actions", "outcome", OUTCOMES | counts.actions, node=node)
    told.values("prop_rejections", "code", CODES | counts.rejections, node=node)
    told.values("prop_ledger_events", "type", TYPES | counts.events, node=node)
    told.value("prop_fills", counts.events.get("fill_booked", 0), node=node)
    told.value("prop_liquidations", counts.events.get("account_liquidated", 0), node=node)
    told.values("prop_marks", "outcome", MARKS | counts.marks, node=node)
    told.values("prop_poisoned", "cause", CAUSES | counts.poisoned, node=node)
    told.values("prop_unserved", "reason", REASONS | counts.unserved, node=node)
    told.value("prop_drifts", counts.drifts, node=node)
    told.durations("prop_rebuild_seconds", counts.rebuilt, node=node)
    told.value("prop_rebuilt_accounts", counts.accounts_rebuilt, node=node)
    told.value("prop_hosts", found.hosts, node=node)
    told.value("prop_hosted_accounts", found.accounts, node=node)
    told.value("prop_undurable_accounts", found.undurable_accounts, node=node)
    told.value("prop_undurable_seconds", found.undurable_seconds, node=node)
    told.value("prop_told_seconds", found.told_seconds, node=node)


def _local(told: _Told, nodes: Iterable[NodeFigures]) -> None:
    """What account actors commit themselves, as of one persister: where they do."""
    committing = [node for node in nodes if node.committers]
    if not committing:
        return
    total = Counters()
    for node in committing:
        accrue(total, node.counts.committer, Counters())
    _committing(told, LOCAL, total)
    _queued(
        told,
        LOCAL,
        sum(node.queued_events for node in committing),
        sum(node.queued_bytes for node in committing),
        max(node.queued_seconds for node in committing),
    )


def _committing(told: _Told, persister: str, counted: Counters) -> None:
    told.durations("prop_commit_seconds", counted.commit_time, persister=persister)
    sizes = [counted.batch_sizes.get(bound, 0) for bound in EVENTS]
    larger = sum(counted.batch_sizes.values()) - sum(sizes)
    told.classes("prop_commit_events", EVENTS, [*sizes, larger], counted.batched_events, persister=persister)
    verdicts = {
        "committed": counted.appends,
        "fenced": counted.fenced,
        "refused": counted.refused,
        "unknown": counted.unknown,
    }
    told.values("prop_appends", "verdict", verdicts, persister=persister)
    told.values("prop_ambiguous_appends", "verdict", PROOFS | counted.ambiguous, persister=persister)
    told.value("prop_commit_overloaded", counted.overloaded, persister=persister)
    told.value("prop_commit_unavailable", counted.unavailable, persister=persister)
    told.value("prop_commit_locked", counted.locked, persister=persister)


def _queued(told: _Told, persister: str, events: int, weight: int, seconds: float) -> None:
    told.value("prop_commit_queue_events", events, persister=persister)
    told.value("prop_commit_queue_bytes", weight, persister=persister)
    told.value("prop_commit_queue_seconds", seconds, persister=persister)


def _supervision(told: _Told, found: SupervisorFigures) -> None:
    told.value("prop_recovered", float(found.recovered))
    told.value("prop_recovery_backlog_accounts", found.backlog)
    told.value("prop_quarantined_accounts", found.quarantined)
    told.value("prop_nodes", found.live_nodes)
    told.value("prop_hosts_max", found.hosts_max)
    told.value("prop_hosts_silent", found.hosts_silent)
    told.value("prop_hosts_coming", found.hosts_coming)
    told.value("prop_hosts_lost", found.hosts_lost)
    told.value("prop_quotes", found.quotes)
    told.value("prop_quotes_read_seconds", found.quotes_read_seconds)
    told.values("prop_quote_age_seconds", "symbol", found.quote_ages_seconds)
    told.durations("prop_marking_pass_seconds", found.passes.durations)
    told.value("prop_marking_lag_seconds", found.passes.lag_seconds)
    told.value("prop_marking_cadence_seconds", found.passes.cadence_seconds)
    told.values("prop_marking_last_accounts", "outcome", found.passes.last)


def _storage(told: _Told, vitals: Vitals) -> None:
    told.values("prop_accounts", "status", vitals.accounts)
    told.value("prop_postgres_connections", vitals.connections)
    told.value("prop_postgres_connections_max", vitals.connections_max)
    told.value("prop_postgres_database_bytes", vitals.database_bytes)
    told.value("prop_postgres_transaction_seconds", vitals.transaction_seconds)
