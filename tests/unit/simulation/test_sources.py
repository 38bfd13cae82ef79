"""Where prices, actions, strategies and policies come from on the command line."""

from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import polars as pl
import pytest

from engine.policy import MaxDailyLoss, Policy
from engine.simulation.faults import BadInput, InputCode
from engine.simulation.scripts import SCRIPTS
from engine.simulation.traders import Momentum
from engine.simulation.units import SCALE, moment
from gateway.simulation import policies, sources

ROWS = "time,symbol,bid,ask\n2026-01-05T00:00:00Z,BTC-USD,0.12345678,0.2\n2026-01-05T00:01:00Z,BTC-USD,,\n"


def refused(code: InputCode, call: object, *arguments: object) -> str:
    with pytest.raises(BadInput) as caught:
        call(*arguments)  # type: ignore[operator]
    assert caught.value.code is code, str(caught.value)
    return caught.value.detail


def test_real_bars_are_those_that_the_demo_replays() -> None:
    table = sources.prices("real")
    assert (table.ticks, table.symbols) == (3_270, ("AAPL", "FB", "GOOG", "IBM", "MSFT"))
    assert moment(int(table.times[0])) == datetime(2000, 3, 1, 21, tzinfo=UTC)
    assert table.quotes(0).keys() == {"AAPL", "IBM", "MSFT"}
    assert table.quotes(0)["AAPL"].mid == Decimal("130.31")
    assert table.quotes(0)["AAPL"].bid < table.quotes(0)["AAPL"].mid < table.quotes(0)["AAPL"].ask
    few = sources.prices("real:IBM,FB", ticks=10, half_spread_bps=Decimal(0))
    assert (few.ticks, few.symbols) == (10, ("FB", "IBM"))
    assert few.bid.tolist() == few.ask.tolist()


def test_synthetic_prices_are_asked_for_by_seed_and_regimes() -> None:
    table = sources.prices("synthetic:7:calm,crash", ticks=50)
    assert table.ticks == 50
    assert table.mid[-1, 0] < table.mid[24, 0]
    assert sources.prices("synthetic:7").ticks == 2_000
    refused(InputCode.UNKNOWN_WORD, sources.prices, "synthetic:x")
    refused(InputCode.UNKNOWN_WORD, sources.prices, "synthetic:7:boom")
    refused(InputCode.UNKNOWN_SYMBOL, sources.prices, "real:DOGE")


def test_a_csv_is_read_exactly_and_a_parquet_file_alike(tmp_path: Path) -> None:
    text, binary = tmp_path / "ticks.csv", tmp_path / "ticks.parquet"
    text.write_text(ROWS)
    pl.read_csv(text, try_parse_dates=True).write_parquet(binary)
    for file in (text, binary):
        table = sources.prices(str(file))
        assert table.source == file.name
        assert table.bid[:, 0].tolist() == [12_345_678, 0]
        assert table.quotes(1) == {}


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "broken.parquet").write_text("no parquet")
    (tmp_path / "empty.csv").write_text("")
    for name in ("absent.csv", "broken.parquet", "empty.csv", "prices.xlsx", "nonsense"):
        assert name in refused(InputCode.UNREADABLE, sources.prices, str(tmp_path / name))


def test_recorded_actions_come_from_a_file(tmp_path: Path) -> None:
    (tmp_path / "ticks.csv").write_text(ROWS)
    file = tmp_path / "actions.csv"
    file.write_text(
        "tick,account,action,symbol,side,quantity,notional\n1,0,close,BTC-USD,long,,\n0,0,open,BTC-USD,long,,50\n"
    )
    table = sources.recorded(file, sources.prices(str(tmp_path / "ticks.csv")))
    assert (table.tick.tolist(), table.size.tolist()) == ([0, 1], [50 * SCALE, 0])


def test_strategies_are_built_in_or_your_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert sources.strategy("momentum") is Momentum
    (tmp_path / "mine_for_sources.py").write_text("class Mine:\n    pass\nword = 'x'\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    assert "mine_for_sources.Mine" in str(sources.strategy("mine_for_sources:Mine"))
    assert sources.strategy("crossover") is SCRIPTS["crossover"]
    refused(InputCode.UNREADABLE, sources.strategy, "mine_for_sources:Absent")
    refused(InputCode.UNREADABLE, sources.strategy, "no_such_module:Mine")
    refused(InputCode.WRONG_TYPE, sources.strategy, "mine_for_sources:word")
    assert "momentum" in refused(InputCode.UNKNOWN_WORD, sources.strategy, "martingale")


def test_a_policy_is_what_the_api_takes(tmp_path: Path) -> None:
    file = tmp_path / "policy.json"
    file.write_text('{"maxLeverage": "3", "allowedAssets": ["IBM"], "maxDailyLoss": {"fraction": 0.05}}')
    given = policies.given([str(file), "fee_bps=2.5", "maxOpenPositions=2", "max_daily_loss.of=equity"])
    made = policies.policy(given)
    assert made == policies.policy(
        {
            "maxLeverage": "3",
            "allowedAssets": ["IBM"],
            "feeBps": "2.5",
            "maxOpenPositions": 2,
            "maxDailyLoss": {"fraction": "0.05", "of": "equity"},
        }
    )
    assert made.max_daily_loss == MaxDailyLoss(fraction=Decimal("0.05"), of="equity")
    assert policies.policy({}) == Policy()
    assert policies.policy(policies.given(["allowed_directions=long"])).allowed_directions == ("long",)
    assert "/policy/maxLeverage" in refused(InputCode.OUT_OF_RANGE, policies.policy, {"maxLeverage": "0"})
    assert "/policy/nonsense" in refused(InputCode.OUT_OF_RANGE, policies.policy, {"nonsense": "1"})
    refused(InputCode.UNREADABLE, policies.given, [str(tmp_path / "absent.json")])
    file.write_text("[]")
    refused(InputCode.WRONG_TYPE, policies.given, [str(file)])


def test_a_sweep_is_every_combination() -> None:
    made = policies.variants({"maxLeverage": "2"}, ["fee_bps=0,5", "profit_target.amount=100,200"])
    assert [variant.name for variant in made] == [
        "fee_bps 0, profit_target.amount 100",
        "fee_bps 0, profit_target.amount 200",
        "fee_bps 5, profit_target.amount 100",
        "fee_bps 5, profit_target.amount 200",
    ]
    assert made[1].settings == (("fee_bps", "0"), ("profit_target.amount", "200"))
    swept = made[3].policy
    assert isinstance(swept, Policy)
    assert swept.profit_target is not None
    assert [swept.fee_bps, swept.max_leverage, swept.profit_target.amount] == [5, 2, 200]
    for sweep in (["fee_bps"], ["fee_bps="], ["=1"], ["fee_bps=1", "fee_bps=2"]):
        refused(InputCode.UNKNOWN_WORD, policies.variants, {}, sweep)
    refused(InputCode.TOO_MANY, policies.variants, {}, [f"fee_bps={','.join(map(str, range(1_001)))}"])
