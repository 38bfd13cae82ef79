"""Tables of prices, actions and policies: what they hold is exact, and what cannot be simulated is refused by name."""

import pickle
from dataclasses import fields, replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import numpy as np
import pytest

from engine.commands import Action
from engine.policy import MaxDailyLoss, Policy, ProfitTarget, TrailingDrawdown
from engine.quotes import Quote
from engine.simulation.actions import (
    CLOSE,
    COLUMNS,
    FRACTION,
    HOLD,
    LONG_SIDE,
    NO_SIDE,
    NO_SYMBOL,
    OPEN,
    QUANTITY,
    REDUCE,
    ROWS_AT_ONCE,
    SHORT_SIDE,
    UNSIZED,
    ActionTable,
)
from engine.simulation.faults import BadInput, InputCode
from engine.simulation.policies import BY_AMOUNT, BY_FRACTION, EQUITY, NO_RULE, PolicyTable
from engine.simulation.prices import CELLS_AT_ONCE, SYMBOLS_MAX, PriceTable
from engine.simulation.units import FIGURE_MAX, SCALE, decimal, moment, units

SECOND = 1_000_000


def prices(*, times: list[int] | None = None, symbols: tuple[str, ...] = ("BTC-USD", "ETH-USD")) -> PriceTable:
    moments = np.array([0, SECOND, 2 * SECOND] if times is None else times, np.int64)
    mid = np.full((len(moments), len(symbols)), 100 * SCALE, np.int64)
    observed = np.repeat(moments[:, None], len(symbols), axis=1)
    return PriceTable(times=moments, symbols=symbols, bid=mid - 1, ask=mid + 1, mid=mid, observed=observed)


def actions(*rows: dict[str, int]) -> ActionTable:
    default = {"account": 0, "tick": 0, "kind": CLOSE, "symbol": 0, "side": LONG_SIDE, "sizing": UNSIZED}
    return ActionTable(
        **{name: np.array([(default | row).get(name, 0) for row in rows], dtype) for name, dtype in COLUMNS.items()}
    )


def refused(code: InputCode, call: Any, *arguments: Any, **named: Any) -> BadInput:
    with pytest.raises(BadInput) as caught:
        call(*arguments, **named)
    assert caught.value.code is code, str(caught.value)
    return caught.value


def test_figures_are_exact_both_ways() -> None:
    for text in ("0.00000001", "92233720368.54775807", "-1.5", "0"):
        assert decimal(units(Decimal(text), "x")) == Decimal(text)
    assert decimal(150_000_000).as_tuple().exponent == -8
    refused(InputCode.TOO_MANY_DECIMALS, units, Decimal("0.000000001"), "x")
    refused(InputCode.OUT_OF_RANGE, units, decimal(FIGURE_MAX) + decimal(1), "x")


def test_a_tick_is_the_price_vector_that_the_live_engine_sees() -> None:
    table = prices()
    table.mid[1, 1] = table.bid[1, 1] = table.ask[1, 1] = 0
    table.observed[1, 0] = SECOND // 2
    at = datetime(1970, 1, 1, 0, 0, 0, 500_000, tzinfo=UTC)
    near = Decimal("100.00000001"), Decimal("99.99999999")
    assert table.quotes(1) == {"BTC-USD": Quote("BTC-USD", near[1], near[0], Decimal(100), "simulation", at)}


def test_vectors_are_those_of_every_tick_and_a_quote_that_is_carried_forward_is_the_same() -> None:
    table = prices(times=list(range(0, (CELLS_AT_ONCE + 2) * SECOND, SECOND)))  # two symbols: in three goes
    table.mid[:, 1] += np.arange(len(table.times)) % 3
    table.bid[5, 1] = table.ask[5, 1] = table.mid[5, 1] = 0
    table.observed[:, 0] = SECOND
    made = list(table.vectors())
    ticks = (0, 1, 4, 5, 6, CELLS_AT_ONCE // 2, CELLS_AT_ONCE + 1)
    assert [made[tick] for tick in ticks] == [(moment(tick * SECOND), table.quotes(tick)) for tick in ticks]
    assert len(made) == table.ticks
    assert "ETH-USD" not in made[5][1]
    assert made[-1][1]["BTC-USD"] is made[0][1]["BTC-USD"]


def test_prices_that_are_no_table_are_refused() -> None:
    refused(InputCode.EMPTY, prices, times=[])
    refused(InputCode.EMPTY, prices, symbols=())
    assert refused(InputCode.NOT_SORTED, prices, times=[0, 2, 1]).context == {"tick": 2}
    assert refused(InputCode.DUPLICATE, prices, times=[0, 2, 2]).context == {"tick": 2}
    refused(InputCode.OUT_OF_RANGE, prices, times=[-1, 2])
    refused(InputCode.DUPLICATE, prices, symbols=("A", "A"))
    refused(InputCode.OUT_OF_RANGE, prices, symbols=("A", ""))
    assert refused(InputCode.TOO_MANY, prices, symbols=("A",) * 1001).context["limit"] == SYMBOLS_MAX
    refused(InputCode.WRONG_SHAPE, replace, prices(), bid=np.zeros((3, 1), np.int64))
    refused(InputCode.WRONG_SHAPE, replace, prices(), bid=np.zeros((3, 2), np.float64))
    refused(InputCode.UNKNOWN_SYMBOL, prices().column, "DOGE-USD")


def test_a_row_is_the_action_that_the_live_engine_takes() -> None:
    table = actions(
        {"kind": OPEN, "side": SHORT_SIDE, "sizing": QUANTITY, "size": SCALE // 2, "leverage": 3 * SCALE},
        {"kind": REDUCE, "symbol": 1, "sizing": FRACTION, "size": SCALE, "min_price": 7},
        {"kind": HOLD, "symbol": NO_SYMBOL, "side": NO_SIDE},
    )
    table.check(prices=prices(), accounts=1)
    symbols = prices().symbols
    assert [table.action(row, symbols, f"a{row}") for row in range(3)] == [
        Action(
            decision_action_id="a0",
            action="open",
            symbol="BTC-USD",
            side="short",
            quantity=Decimal("0.5"),
            leverage=Decimal(3),
        ),
        Action(
            decision_action_id="a1",
            action="reduce",
            symbol="ETH-USD",
            side="long",
            fraction=Decimal(1),
            min_price=Decimal("0.00000007"),
        ),
        Action(decision_action_id="a2", action="hold"),
    ]


def test_rows_are_all_of_a_table_in_order() -> None:
    table = actions(*({"size": size} for size in range(ROWS_AT_ONCE + 2)))
    assert [row.size for row in table.rows()] == list(range(ROWS_AT_ONCE + 2))
    assert [row.size for row in table.rows(slice(3, 5))] == [3, 4]


@pytest.mark.parametrize(
    ("row", "code"),
    [
        ({"account": 2}, InputCode.OUT_OF_RANGE),
        ({"account": -1}, InputCode.OUT_OF_RANGE),
        ({"tick": 3}, InputCode.OUT_OF_RANGE),
        ({"symbol": 2}, InputCode.OUT_OF_RANGE),
        ({"symbol": NO_SYMBOL}, InputCode.OUT_OF_RANGE),
        ({"side": NO_SIDE}, InputCode.OUT_OF_RANGE),
        ({"kind": 6}, InputCode.OUT_OF_RANGE),
        ({"kind": OPEN}, InputCode.OUT_OF_RANGE),
        ({"kind": OPEN, "sizing": FRACTION, "size": 1}, InputCode.OUT_OF_RANGE),
        ({"kind": OPEN, "sizing": QUANTITY, "size": 0}, InputCode.OUT_OF_RANGE),
        ({"kind": REDUCE, "sizing": FRACTION, "size": SCALE + 1}, InputCode.OUT_OF_RANGE),
        ({"sizing": QUANTITY, "size": 1}, InputCode.OUT_OF_RANGE),
        ({"leverage": -1}, InputCode.OUT_OF_RANGE),
    ],
)
def test_an_action_that_cannot_be_judged_is_refused(row: dict[str, int], code: InputCode) -> None:
    fault = refused(code, actions({}, row).check, prices=prices(), accounts=2)
    assert fault.context["row"] == 1


def test_actions_come_in_the_order_in_which_they_are_judged() -> None:
    actions({}, {"account": 1}, {"tick": 1}, {"tick": 1}).check(prices=prices(), accounts=2)
    for rows in ([{"tick": 1}, {}], [{"account": 1}, {}]):
        refused(InputCode.NOT_SORTED, actions(*rows).check, prices=prices(), accounts=2)


def test_a_part_of_the_accounts_has_its_own_actions() -> None:
    table = actions(
        {"account": 0}, {"account": 1}, {"account": 2}, {"account": 1, "tick": 1}, {"account": 3, "tick": 2}
    )
    part = table.of_accounts(1, 3)
    assert (part.account.tolist(), part.tick.tolist()) == ([0, 1, 0], [0, 0, 1])
    assert len(ActionTable.empty()) == 0


def test_policies_become_columns_and_equal_ones_share_a_row() -> None:
    strict = Policy(
        max_leverage=Decimal(2),
        slippage_model="spread",
        allowed_directions=("short",),
        allowed_assets=("ETH-USD",),
        max_daily_loss=MaxDailyLoss(amount=Decimal(500), of="equity"),
        trailing_drawdown=TrailingDrawdown(mode="end_of_day", fraction=Decimal("0.1"), locks_at_start=True),
        profit_target=ProfitTarget(fraction=Decimal("0.08"), min_trading_days=4),
    )
    table = PolicyTable.of([Policy(), strict, Policy()], ("BTC-USD", "ETH-USD"))
    assert table.row.tolist() == [0, 1, 0]
    assert table.policies == (Policy(), strict)
    assert table.position_equity_ratio.tolist() == [5 * SCALE, 2 * SCALE]
    assert table.allows_symbol.tolist() == [[True, True], [False, True]]
    assert (table.allows_long.tolist(), table.allows_short.tolist()) == ([True, False], [True, True])
    assert table.slippage_model.tolist() == [0, 2]
    assert table.daily_loss_kind.tolist() == [NO_RULE, BY_AMOUNT]
    assert (table.daily_loss_size[1], table.daily_loss_of[1]) == (500 * SCALE, EQUITY)
    assert (table.trailing_kind[1], table.trailing_mode[1], table.trailing_locks_at_start[1]) == (BY_FRACTION, 1, True)
    assert (table.target_size[1], table.target_min_trading_days[1]) == (8_000_000, 4)
    assert table.of_accounts(1, 2).row.tolist() == [1]


def test_every_field_of_a_policy_is_a_column_of_its_table() -> None:
    """A field that is added to the live engine must not be forgotten here."""
    known = {
        "allowed_directions": "allows_long",
        "allowed_assets": "allows_symbol",
        "max_position_equity_ratio": "position_equity_ratio",
        "quote_max_age_ms": "trade_age_ms",
        "max_daily_loss": "daily_loss_size",
        "trailing_drawdown": "trailing_size",
        "profit_target": "target_size",
    }
    columns = {field.name for field in fields(PolicyTable)}
    assert {known.get(name, name) for name in Policy.__struct_fields__} <= columns


def test_a_policy_that_no_account_could_have_is_refused() -> None:
    refused(InputCode.OUT_OF_RANGE, PolicyTable.of, [Policy(max_leverage=Decimal("0.5"))], ("A",))
    refused(InputCode.EMPTY, PolicyTable.of, [], ("A",))


def test_a_fault_comes_back_from_a_worker_as_it_was() -> None:
    fault = refused(InputCode.NOT_SORTED, prices, times=[0, 2, 1])
    back = pickle.loads(pickle.dumps(fault))
    assert (back.code, back.context, str(back)) == (fault.code, fault.context, str(fault))
