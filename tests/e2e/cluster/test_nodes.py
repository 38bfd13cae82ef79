"""Three nodes: accounts move onto them while they trade, survive a stopped one and a lost one (G1, G2, G4).

One scenario and not several: to start a cluster costs more than all that is done to it.
"""

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from persistence.reconcile import verify
from tests.chaos.load import Load
from tests.chaos.system import system
from tests.e2e.cluster.nodes import ENVIRONMENT, Node, Nodes, nodes
from tests.support.audit import audit
from tests.support.audit_rows import in_postgres
from tests.support.history import History
from tests.support.scratch import scratch
from tests.support.served import eventually

ACCOUNTS = 6
CLIENTS = 3
BACK_S = 30.0
SETTINGS = ENVIRONMENT | {"PROP_ACTORS__MAX_ACCOUNT_ACTORS": str(ACCOUNTS)}


@pytest.fixture
def folder() -> Iterator[Path]:
    with scratch() as folder:
        yield folder


def test_accounts_trade_on_through_nodes_that_join_stop_and_die(folder: Path):
    history = History(folder / "history.jsonl")
    with nodes(folder) as cluster, system(folder, on_a_volume=False, RAY_ADDRESS=cluster.address, **SETTINGS) as desk:
        load = Load(desk.engine.url, history, clients=CLIENTS, accounts=ACCOUNTS, seed=1)
        load.start()
        try:
            second, third = joined(cluster, load, history)
            stopped(third, load, history)
            lost(second, load, history)
        finally:
            load.stop()
        assert load.surprises == []
        assert audit(history, *in_postgres(desk.direct_url)) == []
        assert asyncio.run(verify(desk.direct_url)).drift == ()


def joined(cluster: Nodes, load: Load, history: History) -> tuple[Node, Node]:
    """Two nodes join: each gets its share, and no client is told anything but an outcome."""
    assert len(cluster.head.account_actors()) >= 2
    since = time.monotonic()
    second, third = cluster.add(2)

    def spread() -> bool:
        return all(len(each.account_actors()) == ACCOUNTS // 3 for each in (cluster.head, second, third))

    eventually(spread, "account actors on every node", seconds_max=90)
    all_act(load, history)
    moved = [each for each in history if each.sent_at > since]
    assert moved
    assert [each for each in moved if each.outcome != "ok"] == []
    return second, third


def stopped(node: Node, load: Load, history: History) -> None:
    """A node freezes: its accounts come back elsewhere, and what it does when it goes on comes to nothing."""
    zombies = node.account_actors()
    node.stop()
    all_act(load, history)
    node.go_on()
    eventually(lambda: not any(each.is_running() for each in zombies), "the end of the zombies", seconds_max=BACK_S)
    all_act(load, history)


def lost(node: Node, load: Load, history: History) -> None:
    """A node dies: its accounts come back elsewhere."""
    assert node.account_actors()
    node.kill()
    all_act(load, history)


def all_act(load: Load, history: History) -> None:
    """Every account takes an action that is sent from now on."""
    since = time.monotonic()
    waiting = set(load.accounts)

    def acted() -> bool:
        waiting.difference_update(
            each.account_id for each in list(history) if each.outcome == "ok" and each.actions and each.sent_at > since
        )
        return not waiting

    eventually(acted, "an action of every account", seconds_max=BACK_S)
