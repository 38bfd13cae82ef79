"""simulate: the library's door. Frames and policies in, Arrow tables out.

from engine.simulation.simulate import simulate
from engine.simulation.traders import Momentum

result = simulate(bars, Momentum, Policy(fee_bps=Decimal(5)), accounts=1_000, seed=7)
result["accounts"], result["equity"], result["rejections"]
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from decimal import Decimal
from functools import partial
from typing import Any, Final

import pyarrow as pa

from engine.policy import Policy
from engine.simulation import results
from engine.simulation.actions import ActionTable
from engine.simulation.entering import STARTING_BALANCE
from engine.simulation.faults import BadInput, InputCode
from engine.simulation.frames import HALF_SPREAD_BPS, actions_of, prices_of
from engine.simulation.plan import EngineName, Plan, Variant, run_shard
from engine.simulation.prices import PriceTable
from engine.simulation.scripts import Script
from engine.simulation.units import figure

AUDITION: Final = Policy()
"""The defaults."""
OnProgress = Callable[[int, int], None]
"""Told how many cells, accounts times ticks, are done, and of how many."""


def simulate(
    prices: Any,
    acting: Any,
    policies: Policy | Sequence[Policy] = AUDITION,
    *,
    accounts: int | None = None,
    engine: EngineName = "exact",
    starting_balance: Decimal | int = STARTING_BALANCE,
    mark_every: int = 1,
    equity_every: int = 1,
    half_spread_bps: Decimal | int = HALF_SPREAD_BPS,
    seed: int = 0,
    on_progress: OnProgress = lambda done, total: None,
) -> dict[str, pa.Table]:
    """Every account's life under these prices, as Arrow tables: accounts, equity, fills, rejections, liquidations and,
    for recorded actions, verdicts. Raises `BadInput` before anything runs where an input cannot be simulated.

    `prices`: a `PriceTable`, or any data frame that `frames.prices_of` reads. `acting`: an `ActionTable` or a data
    frame of recorded actions (`frames.actions_of`), a `Script`, or a strategy's class; the fast engine takes no class.
    `policies`: one for all of `accounts`, or one an account. The whole result is held in memory; `chunks` hands it out
    in parts.
    """
    plan = planned(
        prices,
        acting,
        policies,
        accounts=accounts,
        engine=engine,
        starting_balance=starting_balance,
        mark_every=mark_every,
        equity_every=equity_every,
        half_spread_bps=half_spread_bps,
        seed=seed,
    )
    return results.joined(chunks(plan, on_progress=on_progress))


def planned(
    prices: Any,
    acting: Any,
    policies: Policy | Sequence[Policy],
    *,
    accounts: int | None = None,
    starting_balance: Decimal | int = STARTING_BALANCE,
    half_spread_bps: Decimal | int = HALF_SPREAD_BPS,
    **settings: Any,
) -> Plan:
    """The plan of a simulation whose inputs are frames."""
    table = prices if isinstance(prices, PriceTable) else prices_of(prices, half_spread_bps=half_spread_bps)
    if not (isinstance(acting, ActionTable | Script) or callable(acting)):
        acting = actions_of(acting, table)
    policy = policies if isinstance(policies, Policy) else _policies(policies)
    if accounts is None and isinstance(policy, tuple):
        accounts = len(policy)
    elif accounts is None:
        accounts = int(acting.account.max(initial=0)) + 1 if isinstance(acting, ActionTable) else 1
    variants = (Variant(name="policy", policy=policy),)
    balance = figure(starting_balance, "a starting balance")
    return Plan(prices=table, acting=acting, variants=variants, accounts=accounts, starting_balance=balance, **settings)


def _policies(given: Any) -> tuple[Policy, ...]:
    if isinstance(given, Sequence) and all(isinstance(each, Policy) for each in given):
        return tuple(given)
    kind = type(given).__name__
    raise BadInput(InputCode.WRONG_TYPE, f"policies are a Policy or a sequence of them, not a {kind}", type=kind)


def chunks(plan: Plan, *, on_progress: OnProgress = lambda done, total: None) -> Iterator[Mapping[str, pa.Table]]:
    """The tables of one shard after another: what is held is one shard's."""
    done = 0
    for start, stop in plan.shards():
        accounts, before = stop - start, done
        done += accounts * plan.prices.ticks
        report = partial(_report, on_progress, before, accounts, plan.cells)
        yield results.tables(plan, run_shard(plan, start, stop, report))


def _report(on_progress: OnProgress, before: int, accounts: int, total: int, ticks: int) -> None:
    on_progress(before + ticks * accounts, total)
