"""Data frames become exact tables, whoever made them, and a fault names its row."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from engine.money import midpoint
from engine.simulation.actions import CLOSE, LONG_SIDE, NO_SYMBOL, NOTIONAL, OPEN, QUANTITY, UNKNOWN, UNSIZED
from engine.simulation.faults import BadInput, InputCode
from engine.simulation.frames import actions_of, prices_of
from engine.simulation.units import SCALE, decimal, moment, units

DAY = datetime(2026, 1, 5, tzinfo=UTC)
TIMES = [DAY, DAY, DAY.replace(hour=1), DAY.replace(hour=2), DAY.replace(hour=2)]
QUOTES: dict[str, Any] = {
    "time": TIMES,
    "symbol": ["ETH-USD", "BTC-USD", "BTC-USD", "ETH-USD", "BTC-USD"],
    "bid": [1_999.5, 50_000.0, 50_000.12345678, 2_000.0, None],
    "ask": [2_000.5, 50_000.5, 50_001.0, 2_000.0, None],
}


def changed(**columns: Any) -> pa.Table:
    return pa.table(QUOTES | columns)


def bars(**columns: Any) -> pa.Table:
    return pa.table(
        {"time": ["2026-01-05", "2026-01-06"], "symbol": ["IBM", "IBM"], "close": ["100.5", "99"]} | columns
    )


def refused(code: InputCode, frame: Any, **context: Any) -> None:
    with pytest.raises(BadInput) as caught:
        prices_of(frame)
    assert caught.value.code is code, str(caught.value)
    assert context.items() <= caught.value.context.items(), caught.value.context


@pytest.mark.parametrize("make", [pa.table, pl.DataFrame, pd.DataFrame])
def test_quotes_of_any_frame_are_the_same_exact_table(make: Any) -> None:
    table = prices_of(make(QUOTES))
    assert table.symbols == ("BTC-USD", "ETH-USD")
    assert [moment(int(each)) for each in table.times] == [DAY, DAY.replace(hour=1), DAY.replace(hour=2)]
    assert table.bid[:, 0].tolist() == [50_000 * SCALE, 5_000_012_345_678, 0]
    assert table.mid[0].tolist() == [5_000_025_000_000, 2_000 * SCALE]
    assert table.mid[1, 0] == units(midpoint(Decimal("50000.12345678"), Decimal(50_001)), "mid")
    assert table.mid[1, 1] == 2_000 * SCALE, "the last quote is carried on"
    assert moment(int(table.observed[1, 1])) == DAY, "and grows old"
    assert "BTC-USD" not in table.quotes(2), "nulls are a quote that is no price"


@pytest.mark.parametrize(
    ("bid", "ask"), [(1, 2), (2, 3), (1, 3), (2, 2), (3, 4), (2**62, 2**62 + 1), (2**63 - 2, 2**63 - 1)]
)
def test_the_middle_is_that_of_the_live_engine_to_the_last_digit(bid: int, ask: int) -> None:
    exact = pa.decimal128(28, 8)
    sides = {"bid": pa.array([decimal(bid)], exact), "ask": pa.array([decimal(ask)], exact)}
    table = prices_of(pa.table({"time": [DAY], "symbol": ["X"]} | sides))
    assert decimal(int(table.mid[0, 0])) == midpoint(decimal(bid), decimal(ask))


def test_text_as_a_csv_has_it_is_read_exactly() -> None:
    table = prices_of(
        changed(bid=["0.1", "0.2", "92233720368", "1", None], ask=["0.3", "0.2", "92233720368", "1", None])
    )
    assert [decimal(each) for each in table.bid[:, 0].tolist()] == [Decimal("0.2"), Decimal(92_233_720_368), Decimal(0)]
    assert table.mid[1, 0] == 92_233_720_368 * SCALE


def test_a_bar_is_a_quote_around_its_close() -> None:
    table = prices_of(bars())
    assert table.bid.tolist() == table.ask.tolist() == table.mid.tolist() == [[10_050_000_000], [9_900_000_000]]
    table = prices_of(bars(), half_spread_bps=Decimal(2))
    assert [decimal(int(each[0, 0])) for each in (table.bid, table.ask)] == [Decimal("100.4799"), Decimal("100.5201")]
    with pytest.raises(BadInput, match="half a spread is 0 to 5000 bps"):
        prices_of(bars(), half_spread_bps=Decimal(-1))


def test_times_are_utc_unless_they_say_otherwise() -> None:
    for time in (
        ["2026-01-05T00:00:00+01:00", "2026-01-05T00:00:00Z"],
        pa.array([DAY.replace(day=4, hour=23), DAY], pa.timestamp("ns", "Europe/Berlin")),
        pa.array([1_767_567_600, 1_767_571_200], pa.timestamp("s")),
    ):
        assert moment(int(prices_of(bars(time=time)).times[0])) == datetime(2026, 1, 4, 23, tzinfo=UTC)


def test_what_is_wrong_with_prices_is_named_with_its_row() -> None:
    refused(InputCode.EMPTY, changed().slice(0, 0))
    refused(InputCode.WRONG_TYPE, "prices")
    refused(InputCode.WRONG_TYPE, [1, 2])
    refused(InputCode.MISSING_COLUMN, changed().drop(["ask"]), name="ask")
    refused(InputCode.NOT_SORTED, changed(time=[*TIMES[3:], *TIMES[:3]]), row=2)
    refused(InputCode.DUPLICATE, changed(symbol=["BTC-USD"] * 5), row=1, symbol="BTC-USD")
    refused(InputCode.NOT_A_NUMBER, changed(bid=[1.0, float("nan"), 1.0, 1.0, 1.0]), name="bid", row=1)
    refused(InputCode.NOT_A_NUMBER, changed(ask=[1.0, 1.0, float("inf"), 1.0, 1.0]), name="ask", row=2)
    refused(InputCode.NOT_A_NUMBER, changed(bid=["1", "x", "1", "1", "1"]), name="bid", row=1)
    refused(InputCode.NOT_A_NUMBER, changed(bid=["1", "NaN", "1", "1", "1"]), row=1)
    refused(InputCode.NOT_A_NUMBER, changed(bid=["1", " 2 ", "1", "1", "1"]), row=1)
    refused(InputCode.NOT_A_NUMBER, changed(bid=["1", "1_000", "1", "1", "1"]), row=1)
    refused(InputCode.TOO_MANY_DECIMALS, changed(bid=[1.0, 1.123456789, 1.0, 1.0, 1.0]), row=1)
    refused(InputCode.TOO_MANY_DECIMALS, changed(bid=["1", "1.123456789", "1", "1", "1"]), row=1)
    refused(InputCode.OUT_OF_RANGE, changed(bid=["1", "1", "92233720369", "1", "1"]), row=2)
    refused(InputCode.OUT_OF_RANGE, changed(bid=["1", "1", "1e40", "1", "1"]), row=2)
    refused(InputCode.OUT_OF_RANGE, changed(bid=[1.0, 1.0, 1e12, 1.0, 1.0]), row=2)
    refused(InputCode.WRONG_TYPE, changed(bid=[True] * 5), name="bid")
    refused(InputCode.WRONG_TYPE, changed(time=[1, 2, 3, 4, 5]), name="time")
    refused(InputCode.WRONG_TYPE, changed(time=["yesterday"] * 5), name="time")
    refused(InputCode.WRONG_TYPE, changed(time=[*TIMES[:4], None]), row=4)
    refused(InputCode.WRONG_TYPE, changed(time=["2026-01-05"] * 3 + ["01/06/2026"] * 2), name="time", row=3)
    refused(InputCode.WRONG_TYPE, changed(time=["2026-01-05T00:00Z"] * 2 + ["2026-01-05T00:00"] * 3), row=2)
    refused(InputCode.WRONG_TYPE, changed(time=["2026-01-05T00:00"] * 2 + ["2026-01-05T00:00Z"] * 3), row=2)
    refused(InputCode.UNKNOWN_SYMBOL, changed(symbol=["A", None, "A", "B", "A"]), row=1)


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("9" * 5_000, InputCode.OUT_OF_RANGE),
        ("0." + "0" * 50 + "1", InputCode.TOO_MANY_DECIMALS),
        ("1" * 39 + "x", InputCode.NOT_A_NUMBER),
        ("8.03857e-42", InputCode.TOO_MANY_DECIMALS),
        ("1e9999", InputCode.OUT_OF_RANGE),
    ],
)
def test_a_figure_that_arrow_would_misread_is_refused(text: str, code: InputCode) -> None:
    """It wraps what is long, so that 5,000 nines are -1, and loses the digits of small exponents."""
    refused(code, changed(bid=["1", text, "1", "1", "1"]), name="bid", row=1)


def test_a_figure_may_have_an_exponent() -> None:
    table = prices_of(bars(close=["1.5e-7", "12.34E2"]))
    assert [decimal(each) for each in table.mid[:, 0].tolist()] == [Decimal("0.00000015"), Decimal(1_234)]


@pytest.mark.parametrize("kind", [pl.Categorical(), pl.Enum(["BTC-USD", "ETH-USD"]), pl.String()])
def test_symbols_may_be_words_of_any_kind(kind: pl.DataType) -> None:
    frame = pl.DataFrame(QUOTES).with_columns(pl.col("symbol").cast(kind))
    assert prices_of(frame).mid.tolist() == prices_of(pa.table(QUOTES)).mid.tolist()


def test_a_frame_that_was_not_collected_says_so() -> None:
    with pytest.raises(BadInput, match="collect it first"):
        prices_of(pl.LazyFrame(QUOTES))


@pytest.mark.parametrize("value", [67_108_864.12345678, 90_000_000.00000001, 1e10 + 0.5, 0.00000001, -3.3])
def test_a_double_is_the_figure_whose_nearest_it_is(value: float) -> None:
    table = prices_of(bars(close=[value, 1.0]))
    assert decimal(int(table.mid[0, 0])) == Decimal(repr(value))


ACTIONS: dict[str, Any] = {
    "time": [TIMES[2], DAY, DAY.replace(minute=30), DAY],
    "account": [1, 1, 0, 0],
    "action": ["close", "open", "dance", "open"],
    "symbol": ["BTC-USD", "BTC-USD", None, "ETH-USD"],
    "side": ["long", "long", None, "short"],
    "quantity": [None, "0.5", None, None],
    "notional": [None, None, None, "1000"],
    "leverage": [None, "2", None, None],
}


@pytest.mark.parametrize("make", [pa.table, pl.DataFrame, pd.DataFrame])
def test_actions_are_put_in_the_order_in_which_they_are_judged(make: Any) -> None:
    prices = prices_of(pa.table(QUOTES))
    table = actions_of(make(ACTIONS), prices)
    table.check(prices=prices, accounts=2)
    assert table.tick.tolist() == [0, 0, 1, 1], "an action between two ticks waits for the next"
    assert table.account.tolist() == [0, 1, 0, 1]
    assert table.kind.tolist() == [OPEN, OPEN, UNKNOWN, CLOSE]
    assert table.symbol.tolist() == [1, 0, NO_SYMBOL, 0]
    assert table.sizing.tolist() == [NOTIONAL, QUANTITY, UNSIZED, UNSIZED]
    assert table.size.tolist() == [1_000 * SCALE, SCALE // 2, 0, 0]
    assert (table.side[1], table.leverage.tolist()) == (LONG_SIDE, [0, 2 * SCALE, 0, 0])


@pytest.mark.parametrize(
    ("column", "values", "code"),
    [
        ("symbol", ["DOGE-USD"] * 4, InputCode.UNKNOWN_SYMBOL),
        ("side", ["up"] * 4, InputCode.UNKNOWN_WORD),
        ("action", [None] * 4, InputCode.UNKNOWN_WORD),
        ("account", [-1, 0, 0, 0], InputCode.OUT_OF_RANGE),
        ("account", ["x", "0", "0", "0"], InputCode.WRONG_TYPE),
        ("time", [DAY.replace(day=6)] * 4, InputCode.OUT_OF_RANGE),
        ("notional", ["1"] * 4, InputCode.OUT_OF_RANGE),
        ("tick", [0, 1, 3, 0], InputCode.OUT_OF_RANGE),
        ("leverage", [None, "0", None, None], InputCode.OUT_OF_RANGE),
        ("max_price", [None, "0", None, None], InputCode.OUT_OF_RANGE),
        ("min_price", [None, "-1", None, None], InputCode.OUT_OF_RANGE),
    ],
)
def test_what_is_wrong_with_actions_is_named(column: str, values: list[Any], code: InputCode) -> None:
    with pytest.raises(BadInput) as caught:
        actions_of(pa.table(ACTIONS | {column: values}), prices_of(pa.table(QUOTES)))
    assert caught.value.code is code
