"""The library's door: frames in, Arrow tables out, whatever the cut into shards."""

from decimal import Decimal
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from engine.policy import Policy
from engine.simulation import results
from engine.simulation.actions import ActionTable
from engine.simulation.faults import BadInput, InputCode
from engine.simulation.plan import Plan, Variant, run_shard
from engine.simulation.prices import PriceTable
from engine.simulation.results import COUNTS, MONEY, MONEYS, RATIOS, TABLES
from engine.simulation.simulate import chunks, planned, simulate
from engine.simulation.synthetic import synthetic
from engine.simulation.traders import TRADERS, Momentum, Random
from engine.simulation.units import FIGURE_MAX, decimal
from tests.support.ledger_page import policy

PRICES = synthetic(3, ticks=120)


def plan(**settings: Any) -> Plan:
    given: dict[str, Any] = {
        "prices": PRICES,
        "acting": Random,
        "variants": (
            Variant(name="fee 0", policy=policy(fee_bps=0), settings=(("fee_bps", "0"),)),
            Variant(name="fee 20", policy=policy(fee_bps=20), settings=(("fee_bps", "20"),)),
        ),
        "accounts": 5,
        "seed": 11,
    }
    return Plan(**given | settings)


def test_frames_go_in_and_arrow_comes_out() -> None:
    bars = pl.DataFrame({"time": ["2026-01-05", "2026-01-06"], "symbol": ["IBM"] * 2, "close": [100, 110]})
    orders = pl.DataFrame(
        {"tick": [0, 0], "account": [0, 1], "action": ["open"] * 2, "symbol": ["IBM"] * 2, "side": ["long", "short"]}
    ).with_columns(quantity=pl.Series([100, 9_000]))
    made = simulate(bars, orders, [policy(fee_bps=0), Policy()])
    assert made["accounts"]["equity"].to_pylist() == [Decimal(101_000), Decimal(100_000)]
    assert made["accounts"]["total_return"].to_pylist() == [0.01, 0.0]
    assert made["verdicts"]["code"].to_pylist() == ["filled", "notional_exceeds_maximum"]
    rejected = made["rejections"].to_pylist()[0]
    assert (rejected["action"], rejected["symbol"], rejected["side"], rejected["tick"]) == ("open", "IBM", "short", 0)
    assert rejected["gates"][0] == "notional_exceeds_maximum"
    assert rejected["max_quantity"] == Decimal(500)
    assert pl.from_arrow(made["fills"])["price"].to_list() == [Decimal(100)]  # type: ignore[index]
    assert made["equity"].filter(pc.field("account") == 0)["equity"].to_pylist() == [Decimal(100_000), Decimal(101_000)]


def test_money_is_exact_on_both_sides_of_nothing() -> None:
    units = np.array([0, 1, -1, FIGURE_MAX, -FIGURE_MAX, -150_000_000])
    assert results.money(units).to_pylist() == [decimal(each) for each in units.tolist()]
    assert results.money(units, units > 0).null_count == 4


def test_tables_have_one_schema_even_where_nothing_happened() -> None:
    idle = simulate(PRICES, TRADERS["idle"], accounts=2)
    busy = simulate(PRICES, Random, policy(max_drawdown="0.01"), accounts=2, seed=5)
    assert tuple(idle) == TABLES
    assert {name: table.schema for name, table in idle.items()} == {name: table.schema for name, table in busy.items()}
    assert all(busy["accounts"].schema.field(name).type == MONEY for name in MONEYS)
    assert {*COUNTS, *RATIOS} <= set(busy["accounts"].schema.names)
    assert idle["accounts"]["sharpe"].null_count == 2
    assert (idle["fills"].num_rows, busy["liquidations"].num_rows) == (0, 2)
    assert busy["accounts"]["ended_at"].to_pylist() == busy["liquidations"]["at"].to_pylist()


def test_the_outcome_does_not_depend_on_the_cut_into_shards() -> None:
    whole = plan()
    cuts: list[list[tuple[int, int]]] = [whole.shards(), whole.shards(2), whole.shards(1)[::-1]]
    made = []
    for cut in cuts:
        parts = {start: results.tables(whole, run_shard(whole, start, stop)) for start, stop in cut}
        made.append(results.joined(parts[start] for start in sorted(parts)))
    assert made[0]["fills"].num_rows > 20
    for other in made[1:]:
        assert all(made[0][name].equals(other[name]) for name in made[0])


def test_accounts_of_one_number_have_the_same_luck_in_every_variant() -> None:
    accounts = results.joined(chunks(plan(variants=(Variant(name="a", policy=None), Variant(name="b", policy=None)))))
    equity = accounts["accounts"]["equity"].to_pylist()
    assert equity[:5] == equity[5:]
    assert len(set(equity)) == 5
    assert accounts["accounts"]["number"].to_pylist() == [*range(5), *range(5)]


def test_a_sweep_is_in_the_accounts_table() -> None:
    swept = results.joined(chunks(plan()))["accounts"]
    assert swept["fee_bps"].to_pylist() == ["0"] * 5 + ["20"] * 5
    fees = swept["fees"].to_pylist()
    assert not any(fees[:5])
    assert all(fees[5:])


def test_a_swept_figure_stands_beside_the_statistic_of_its_name() -> None:
    variants = tuple(
        Variant(name=most, policy=policy(max_drawdown=most), settings=(("max_drawdown", most),))
        for most in ("0.1", "1")
    )
    accounts = results.joined(chunks(plan(variants=variants, accounts=1)))["accounts"]
    assert accounts["policy_max_drawdown"].to_pylist() == ["0.1", "1"]
    assert accounts["max_drawdown"].type == pa.float64()


def test_no_more_would_have_passed_than_can_be_asked_for() -> None:
    """For 50,000 there are 5e12 of something at 1e-8, which is more than a table holds."""
    bars = pa.table({"time": ["2026-01-05"], "symbol": ["PEPE-USD"], "close": ["0.00000001"]})
    orders = {"tick": [0], "account": [0], "action": ["open"], "symbol": ["PEPE-USD"], "side": ["long"]}
    made = simulate(bars, pa.table(orders | {"notional": [60_000]}))
    assert made["rejections"]["max_quantity"].to_pylist() == [decimal(FIGURE_MAX)]


def test_one_seed_is_one_run_and_another_is_another() -> None:
    one, again, other = (simulate(PRICES, Random, accounts=3, seed=seed) for seed in (1, 1, 2))
    assert all(one[name].equals(again[name]) for name in one)
    assert not one["fills"].equals(other["fills"])


def test_progress_counts_cells() -> None:
    told: list[tuple[int, int]] = []
    simulate(PRICES, Momentum, accounts=2, on_progress=lambda done, total: told.append((done, total)))
    assert told[-1] == (240, 240)
    assert [done for done, _ in told] == sorted(done for done, _ in told)


@pytest.mark.parametrize("name", TRADERS)
def test_every_built_in_strategy_trades_through_every_regime(name: str) -> None:
    made = simulate(PRICES, TRADERS[name], accounts=2, seed=4)
    assert made["accounts"].num_rows == 2
    assert (made["fills"].num_rows > 0) == (name != "idle")


def test_what_cannot_be_simulated_is_said_before_anything_runs() -> None:
    def never(entrant: object) -> Any:
        raise AssertionError("it ran")

    wrong: tuple[dict[str, Any], ...] = (
        {"accounts": 0},
        {"variants": ()},
        {"seed": -1},
        {"mark_every": 0},
        {"equity_every": 0},
        {"starting_balance": Decimal(0)},
        {"starting_balance": Decimal("0.000000001")},
        {"starting_balance": Decimal(10**15)},
        {"engine": "quick"},
        {"variants": (Variant(name="x", policy=policy(max_leverage="0.5")),)},
        {"variants": (Variant(name="x", policy=(Policy(),)),)},
    )
    for settings in wrong:
        with pytest.raises(BadInput):
            plan(**{"acting": never} | settings)


@pytest.mark.parametrize(
    ("given", "code"),
    [
        ({"starting_balance": 1_000.5}, InputCode.WRONG_TYPE),
        ({"starting_balance": Decimal("NaN")}, InputCode.NOT_A_NUMBER),
        ({"half_spread_bps": 2.5}, InputCode.WRONG_TYPE),
        ({"policies": None}, InputCode.WRONG_TYPE),
        ({"policies": {"fee_bps": 5}}, InputCode.WRONG_TYPE),
        ({"policies": [Policy(), None]}, InputCode.WRONG_TYPE),
    ],
)
def test_what_is_no_figure_and_no_policy_is_said_so(given: dict[str, Any], code: InputCode) -> None:
    bars = pa.table({"time": ["2026-01-05"], "symbol": ["IBM"], "close": [100]})
    with pytest.raises(BadInput) as refused:
        simulate(**{"prices": bars, "acting": Momentum} | given)
    assert refused.value.code is code


def test_a_whole_number_will_do_for_a_figure() -> None:
    bars = pa.table({"time": ["2026-01-05"], "symbol": ["IBM"], "close": [100]})
    made = simulate(bars, Momentum, starting_balance=5_000, half_spread_bps=2)
    assert made["accounts"]["equity"].to_pylist() == [Decimal(5_000)]


def test_recorded_actions_must_be_of_accounts_that_there_are() -> None:
    orders = pa.table({"tick": [0], "account": [7], "action": ["hold"]})
    with pytest.raises(BadInput, match="account 7, not 0 to 1"):
        planned(PRICES, orders, Policy(), accounts=2)
    assert planned(PRICES, orders, Policy()).accounts == 8
    assert isinstance(planned(PRICES, ActionTable.empty(), Policy()).prices, PriceTable)
