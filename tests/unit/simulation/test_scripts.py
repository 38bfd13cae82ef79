"""Scripts: the same actions for both engines, and the same outcome of both."""

from decimal import Decimal
from typing import Any

import numpy as np
import pytest

from engine.policy import Policy
from engine.simulation import results
from engine.simulation.actions import CLOSE, OPEN
from engine.simulation.chance import Chance, draws, even
from engine.simulation.faults import BadInput
from engine.simulation.plan import EngineName, Plan, Variant, run_shard
from engine.simulation.scripts import SCRIPTS, Cast
from engine.simulation.synthetic import synthetic
from engine.simulation.traders import Random
from engine.simulation.units import SCALE
from tests.support.ledger_page import policy

PRICES = synthetic(3, ticks=240)
TIGHT = policy(max_drawdown="0.05", max_notional=200_000)


def plan(name: str, engine: EngineName = "exact", **settings: Any) -> Plan:
    given: dict[str, Any] = {
        "prices": PRICES,
        "acting": SCRIPTS[name],
        "variants": (Variant(name="usual", policy=None), Variant(name="tight", policy=TIGHT)),
        "accounts": 12,
        "seed": 5,
        "engine": engine,
    }
    return Plan(**given | settings)


def cast(numbers: range, *, seed: int = 5) -> Cast:
    policies = [Policy() if number % 2 else TIGHT for number in numbers]
    return Cast(numbers=numbers, policies=policies, starting_balance=Decimal(100_000), seed=seed)


@pytest.mark.parametrize("name", SCRIPTS)
def test_both_engines_come_to_the_same(name: str) -> None:
    exact, fast = (
        results.joined(results.tables(made, run_shard(made, *shard)) for shard in made.shards())
        for made in (plan(name), plan(name, "fast"))
    )
    assert exact["fills"].num_rows > 100
    assert exact["fills"].equals(fast["fills"])
    assert exact["equity"].equals(fast["equity"])
    assert exact["liquidations"].equals(fast["liquidations"])
    assert (
        exact["rejections"].drop(["gates", "max_quantity"]).equals(fast["rejections"].drop(["gates", "max_quantity"]))
    )
    money = [
        "account",
        "status",
        "end_reason",
        "equity",
        "cash",
        "fees",
        "realized",
        "fills",
        "rejected",
        "high_watermark",
    ]
    assert exact["accounts"].select(money).equals(fast["accounts"].select(money))
    assert "verdicts" not in exact


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_does_not_depend_on_the_cut_into_shards(name: str) -> None:
    whole = plan(name, "fast")
    made = [
        results.joined(results.tables(whole, run_shard(whole, *shard)) for shard in whole.shards(most))
        for most in (12, 5)
    ]
    assert all(made[0][table].equals(made[1][table]) for table in made[0])
    other = results.tables(whole, run_shard(plan(name, "fast", seed=6), 0, 12))
    assert not other["fills"].equals(results.tables(whole, run_shard(whole, 0, 12))["fills"])


@pytest.mark.parametrize("name", SCRIPTS)
def test_what_is_written_can_be_judged(name: str) -> None:
    written = SCRIPTS[name].write(PRICES, cast(range(4, 10)))
    written.check(prices=PRICES, accounts=6)
    assert set(written.kind.tolist()) == {OPEN, CLOSE}
    sizes = written.size[written.kind == OPEN]
    assert (sizes % (SCALE // 100) == 0).all(), "whole cents"
    largest = {0: 200_000, 1: 50_000}
    most = max(
        int(size) / SCALE / largest[int(account) % 2]
        for size, account in zip(sizes, written.account[written.kind == OPEN], strict=True)
    )
    assert most <= 1.1


def test_crossings_are_where_the_price_meets_its_mean() -> None:
    written = SCRIPTS["crossover"].write(PRICES, cast(range(1)))
    looks_back = 5 + int(even(draws(5, np.array([0]), 1), 96)[0, 0])
    for row in range(len(written)):
        tick, mids = int(written.tick[row]), PRICES.mid[:, int(written.symbol[row])].astype(float)
        now = mids[tick] > mids[tick + 1 - looks_back : tick + 1].mean()
        if written.kind[row] == OPEN:
            assert now
            assert tick >= looks_back - 1
        else:
            assert not now or mids[tick] == 0


def test_many_streams_at_once_are_the_streams_one_by_one() -> None:
    streams = np.array([0, 7, 123_456])
    for stream, drawn in zip(streams.tolist(), draws(9, streams, 5).tolist(), strict=True):
        one = Chance(9, stream)
        assert [one.below(2**64) for _ in range(5)] == drawn
    assert set(even(draws(1, np.arange(50), 20), 3).ravel().tolist()) == {0, 1, 2}


def test_the_fast_engine_takes_no_strategy_that_has_to_see() -> None:
    with pytest.raises(BadInput, match="recorded actions and scripts of new accounts"):
        plan("crossover", "fast", acting=Random)
