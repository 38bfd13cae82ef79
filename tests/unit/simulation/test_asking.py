"""A compiled strategy trades as its actions, recorded, would be judged by the exact engine."""

from decimal import Decimal

import numpy as np
import pytest

from engine.policy import Policy
from engine.simulation import exact
from engine.simulation.actions import LONG_SIDE, SHORT_SIDE, ActionTable
from engine.simulation.arithmetic import ONE
from engine.simulation.asking import Asks, CompiledStrategy, Sight, close, held, open_notional, reduce_fraction
from engine.simulation.chunks import Pace, asked
from engine.simulation.entering import opened
from engine.simulation.faults import BadInput, InputCode
from engine.simulation.policies import PolicyTable
from engine.simulation.prices import PriceTable
from engine.simulation.units import SCALE, moment

START_US = 1_767_600_000_000_000
ACCOUNTS, TICKS = 6, 200
pytestmark = pytest.mark.timeout(300)  # the loop around a strategy is compiled, on a machine that others use


def swings(sight: Sight, asks: Asks) -> None:
    """Goes with the second symbol's last move, halves what it has at times, and remembers how often it turned."""
    tick, mid = sight.tick, sight.market.mid
    if tick == 0:
        return
    rises = mid[tick, 1] > mid[tick - 1, 1] * sight.parameters[0]
    side = LONG_SIDE if rises else SHORT_SIDE
    other = SHORT_SIDE if rises else LONG_SIDE
    if held(sight, 1, other) > 0:
        close(asks, 1, other)
        sight.memory[0] += 1
    if held(sight, 1, side) == 0:
        open_notional(asks, 1, side, 20_000 * ONE)
    elif int(sight.memory[0]) % 3 == 0:
        reduce_fraction(asks, 1, side, ONE // 2)


def walk() -> PriceTable:
    times = START_US + np.arange(TICKS, dtype=np.int64) * 60_000_000
    steps = np.random.default_rng(3).normal(0, 0.01, (TICKS, 2))
    mid = np.round(np.array([2_000, 50_000]) * np.exp(np.cumsum(steps, axis=0)) * 100).astype(np.int64) * (SCALE // 100)
    observed = np.repeat(times[:, None], 2, axis=1)
    return PriceTable(times=times, symbols=("ETH-USD", "BTC-USD"), bid=mid, ask=mid, mid=mid, observed=observed)


def strategy(actions_max: int = 600) -> CompiledStrategy:
    """Symbol 1 in the order of names is ETH-USD, which stands first in the table."""
    return CompiledStrategy(
        decide=swings, parameters=np.linspace(0.999, 1.001, ACCOUNTS)[:, None], memory=1, actions_max=actions_max
    )


def test_what_a_strategy_asks_for_is_judged_as_recorded_actions_are():
    prices, policies = walk(), [Policy(fee_bps=Decimal(5 * place)) for place in range(ACCOUNTS)]
    table, balances = PolicyTable.of(policies, prices.symbols), np.full(ACCOUNTS, 100_000 * SCALE)
    ((chunk, actions),) = asked(prices, table, balances, strategy(), Pace())
    assert len(actions) > 500
    assert set(actions.symbol.tolist()) == {0}
    order = np.lexsort((actions.account, actions.tick))
    recorded = ActionTable(**{name: getattr(actions, name)[order] for name in ActionTable.__dataclass_fields__})
    recorded.check(prices=prices, accounts=ACCOUNTS)
    run = exact.run(
        prices, opened(policies, moment(START_US)), exact.Recorded(table=recorded, rows=np.arange(len(recorded)))
    )
    assert run.outcome.verdicts is not None
    for name in ("code", "price", "quantity", "fee", "realized"):
        assert (run.outcome.verdicts[name] == getattr(chunk.verdicts, name)).all(), name
    assert (run.outcome.equity == chunk.equity.T).all()


def test_a_strategy_may_not_ask_for_more_than_it_says():
    prices = walk()
    table, balances = PolicyTable.of([Policy()] * ACCOUNTS, prices.symbols), np.full(ACCOUNTS, 100_000 * SCALE)
    with pytest.raises(BadInput) as refused:
        list(asked(prices, table, balances, strategy(actions_max=20), Pace(accounts_a_chunk=4)))
    assert refused.value.code == InputCode.TOO_MANY
