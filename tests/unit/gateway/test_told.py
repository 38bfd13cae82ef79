"""What `/metrics` tells: every measure that is declared and no other, of few values, and nothing of who is silent."""

from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry, Metric

from actors.figures import SYMBOLS_MAX, Figures, HostCounts, NodeFigures, PassFigures, SupervisorFigures
from engine.rejections import GateCode
from gateway.measures import ENGINE, HTTP, MEASURES
from gateway.metrics import HttpMetrics
from gateway.metrics_page import page
from gateway.told import LOCAL, Found, families
from persistence.counts import CommitterFigures, Counters
from persistence.vitals import Vitals

NODES, PERSISTERS = 10, 4
SERIES_OF_A_NODE_MAX = 150
"""However many accounts and account actors are on it."""


def everything(*, nodes: int = NODES, accounts: int = 100_000) -> Found:
    counts = HostCounts(rejections={code.value: accounts for code in GateCode})
    supervisor = SupervisorFigures(
        nodes={f"node-{place}": NodeFigures(counts=counts, accounts=accounts, committers=3) for place in range(nodes)},
        passes=PassFigures(last={"marked": accounts}),
        live_nodes=nodes,
        hosts_max=800,
        hosts_silent=1,
        hosts_coming=2,
        hosts_lost=3,
        recovered=True,
        backlog=accounts,
        quarantined=4,
        quotes=1_000,
        quotes_read_seconds=0.1,
        quote_ages_seconds={f"S-{place}": 1.0 for place in range(SYMBOLS_MAX)},
    )
    persisters: dict[str, CommitterFigures | None] = {
        f"persister-{place}": CommitterFigures(counted=Counters(batch_sizes={1: 5, 8_192: 2}, batched_events=9_000))
        for place in range(PERSISTERS)
    }
    return Found(
        figures=Figures(supervisor=supervisor, persisters=persisters),
        postgres=True,
        beat_seconds=0.4,
        vitals=Vitals(
            accounts={"active": accounts},
            connections=20,
            connections_max=100,
            database_bytes=1 << 30,
            transaction_seconds=0.0,
        ),
    )


def samples(told: list[Metric]) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    return {(each.name, tuple(sorted(each.labels.items()))): each.value for family in told for each in family.samples}


def test_every_measure_of_the_engine_is_told_with_the_labels_it_declares() -> None:
    told = {family.name: family for family in families(everything())}
    assert sorted(told) == sorted(each.name for each in ENGINE)
    for measure in ENGINE:
        family = told[measure.name]
        assert (family.type, family.documentation) == (measure.kind, measure.means)
        for sample in family.samples:
            assert sample.name in measure.told
            assert set(sample.labels) - {"le"} == set(measure.labels), sample


def test_http_is_counted_under_the_names_that_are_declared() -> None:
    registry = CollectorRegistry()
    HttpMetrics(registry)
    assert {family.name for family in registry.collect()} == {each.name for each in HTTP}


def test_no_label_has_a_value_for_each_account() -> None:
    for measure in MEASURES.values():
        assert not {"account", "account_id", "host", "order", "request_id", "owner"} & set(measure.labels)
    few, many = (samples(families(everything(accounts=accounts))) for accounts in (1, 100_000))
    assert few.keys() == many.keys()
    assert len(many) < NODES * SERIES_OF_A_NODE_MAX + (PERSISTERS + 1) * 60 + SYMBOLS_MAX + 100
    more = samples(families(everything(nodes=NODES + 1)))
    assert len(more) - len(many) < SERIES_OF_A_NODE_MAX


def test_a_histogram_adds_up() -> None:
    told = samples(families(everything()))

    def classes(le: str) -> float:
        return told["prop_commit_events_bucket", (("le", le), ("persister", "persister-0"))]

    assert (classes("1.0"), classes("4096.0"), classes("+Inf")) == (5, 5, 7)
    assert told["prop_commit_events_count", (("persister", "persister-0"),)] == 7
    assert told["prop_commit_events_sum", (("persister", "persister-0"),)] == 9_000


def test_committers_inside_account_actors_are_one_persister() -> None:
    nodes = {
        name: NodeFigures(
            counts=HostCounts(committer=Counters(appends=appends)),
            committers=committers,
            queued_events=2,
            queued_seconds=seconds,
        )
        for name, appends, committers, seconds in (("a", 3, 1, 0.5), ("b", 4, 2, 0.25), ("shared", 0, 0, 9.0))
    }
    found = everything()
    assert found.figures is not None
    assert found.figures.supervisor is not None
    found.figures.supervisor.nodes = nodes
    told = samples(families(found))
    assert told["prop_appends_total", (("persister", LOCAL), ("verdict", "committed"))] == 7
    assert told["prop_commit_queue_events", (("persister", LOCAL),)] == 4
    assert told["prop_commit_queue_seconds", (("persister", LOCAL),)] == 0.5


def test_who_did_not_answer_is_zero_and_nothing_else() -> None:
    told = samples(families(Found(figures=Figures(supervisor=None, persisters={"persister-0": None}))))
    assert told == {
        ("prop_up", (("component", "postgres"),)): 0,
        ("prop_up", (("component", "supervisor"),)): 0,
        ("prop_up", (("component", "persister-0"),)): 0,
    }


@pytest.mark.parametrize("code", GateCode)
def test_a_gate_that_never_failed_is_told_as_zero(code: GateCode) -> None:
    found = everything(nodes=0)
    assert found.figures is not None
    assert found.figures.supervisor is not None
    found.figures.supervisor.nodes["n"] = NodeFigures()
    assert samples(families(found))["prop_rejections_total", (("code", code), ("node", "n"))] == 0


def test_the_page_of_metrics_is_the_one_the_code_makes() -> None:
    written = Path(__file__).parents[3] / "docs" / "metrics.md"
    assert written.read_text() == page(), "`make metrics` writes it again"
