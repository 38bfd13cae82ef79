"""The fast engine at the edges of what it can count, and behind the library's door."""

from decimal import Decimal
from typing import Any

import numpy as np
import pytest

from engine.policy import MaxDailyLoss, Policy
from engine.simulation import exact, fast
from engine.simulation.actions import COLUMNS, LONG_SIDE, NOTIONAL, OPEN, QUANTITY, ActionTable
from engine.simulation.entering import opened
from engine.simulation.exact import Recorded
from engine.simulation.faults import BadInput, InputCode
from engine.simulation.outcome import STATUSES, Outcome
from engine.simulation.prices import PriceTable
from engine.simulation.simulate import simulate
from engine.simulation.traders import Momentum
from engine.simulation.units import SCALE, moment

START_US = 1_767_600_000_000_000
MINUTE_US = 60_000_000
DAY_US = 24 * 60 * MINUTE_US
BALANCE = Decimal("100000.00000000")
pytestmark = pytest.mark.timeout(300)  # the kernel may have to be compiled, on a machine that others use


def prices(*mids: int, step_us: int = MINUTE_US) -> PriceTable:
    """In units of 1e-8."""
    times = START_US + np.arange(len(mids), dtype=np.int64) * step_us
    mid = np.array(mids, np.int64)[:, None]
    return PriceTable(times=times, symbols=("BTC-USD",), bid=mid, ask=mid, mid=mid, observed=times[:, None])


def actions(*rows: dict[str, int]) -> ActionTable:
    default = {"account": 0, "kind": OPEN, "symbol": 0, "side": LONG_SIDE, "sizing": QUANTITY, "size": SCALE}
    return ActionTable(
        **{name: np.array([(default | row).get(name, 0) for row in rows], dtype) for name, dtype in COLUMNS.items()}
    )


def both(
    table: PriceTable, policies: list[Policy], acting: ActionTable, balance: Decimal = BALANCE
) -> tuple[Outcome, Outcome]:
    recorded = Recorded(table=acting, rows=np.arange(len(acting)))
    books = opened(policies, moment(START_US), starting_balance=balance)
    return exact.run(table, books, recorded).outcome, fast.run(table, policies, balance, recorded)


def test_a_floor_is_met_exactly():
    """50,000 at 10 bps costs 50: a loss of 50 a day is all of it, one of 50.00000001 is not."""
    policies = [Policy(max_daily_loss=MaxDailyLoss(amount=Decimal(amount))) for amount in ("50", "50.00000001")]
    acting = actions(*({"account": account, "sizing": NOTIONAL, "size": 50_000 * SCALE} for account in range(2)))
    slow, quick = both(prices(100 * SCALE, 100 * SCALE), policies, acting)
    assert [STATUSES[status] for status in quick.accounts["status"]] == ["liquidated", "active"]
    assert quick.liquidations["equity"].tolist() == slow.liquidations["equity"].tolist() == [99_950 * SCALE]
    assert quick.accounts["equity"].tolist() == slow.accounts["equity"].tolist()


def test_an_account_out_of_range_is_lived_by_the_exact_engine():
    """2e10 units for a cent each, which a later quote values at 2e10: further than the kernel counts."""
    policies = [Policy(max_notional=Decimal(10**9), max_leverage=Decimal(1)), Policy()]
    acting = actions({"size": 2 * 10**10 * SCALE}, {"account": 1, "size": 5 * SCALE}, {"tick": 1, "size": SCALE})
    slow, quick = both(prices(SCALE // 100, SCALE, SCALE // 50), policies, acting, Decimal(10**9))
    assert quick.end_reasons == slow.end_reasons
    assert (quick.equity == slow.equity).all()
    assert quick.equity[1, 0] > 19 * 10**9 * SCALE
    for table in ("fills", "accounts", "liquidations"):
        for name, column in getattr(slow, table).items():
            np.testing.assert_allclose(getattr(quick, table)[name], column, rtol=1e-7, equal_nan=True)
    assert slow.verdicts is not None
    assert quick.verdicts is not None
    assert {name: each.tolist() for name, each in quick.verdicts.items()} == {
        name: each.tolist() for name, each in slow.verdicts.items()
    }


def test_the_library_tells_the_same_whichever_engine():
    table = prices(*(SCALE * price for price in (100, 101, 99, 120, 40, 41)))
    acting = actions(
        *({"tick": tick, "account": account, "size": SCALE * 400} for tick in range(5) for account in range(3))
    )
    slow, quick = (simulate(table, acting, Policy(), accounts=3, engine=engine) for engine in ("exact", "fast"))
    for name in ("fills", "equity", "liquidations", "verdicts"):
        assert quick[name].equals(slow[name]), name
    same = [name for name in slow["accounts"].column_names if name not in ("account_id", "id")]
    assert quick["accounts"].select(same).to_pylist() == slow["accounts"].select(same).to_pylist()


def test_ratios_of_the_smallest_returns_agree():
    """A day brings some units of 1e-8 to 100,000, or 1e-13 of it: of 1 and that, less 1, only noise would be left."""
    table = prices(*(100 * SCALE + units for units in (0, 1, 3, 2, 5, 4, 8, 7)), step_us=DAY_US)
    slow, quick = both(table, [Policy(fee_bps=Decimal(0))], actions({"size": SCALE}))
    for name in ("sharpe", "sortino", "total_return", "max_drawdown"):
        assert slow.accounts[name].tolist() == pytest.approx(quick.accounts[name].tolist(), rel=2e-8, abs=2e-8), name
    assert slow.accounts["sharpe"][0] > 1


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        ({"acting": Momentum}, InputCode.UNSUPPORTED),
        ({"prices": prices(2**60)}, InputCode.OUT_OF_RANGE),
        ({"starting_balance": Decimal(20_000_000_000)}, InputCode.OUT_OF_RANGE),
    ],
)
def test_what_the_fast_engine_does_not_take(arguments: dict[str, Any], code: InputCode):
    usual: dict[str, Any] = {"prices": prices(SCALE), "acting": actions({}), "engine": "fast"}
    with pytest.raises(BadInput) as refused:
        simulate(**usual | arguments)
    assert refused.value.code == code
