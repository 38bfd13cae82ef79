"""Fast: many accounts over many ticks by the compiled kernel, told as the exact engine tells it.

Guarantee: verdicts, fills, money and ends are those of the exact engine, to the last digit. An account whose figures
leave the kernel's range is lived again by the exact engine, from its beginning. What is not told of a rejection, and
the other differences there are, stand in docs/simulation-fast.md.
"""

from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal

import numpy as np

from engine.policy import Policy
from engine.simulation import exact, unpacking
from engine.simulation.chunks import Pace, chunks
from engine.simulation.entering import opened
from engine.simulation.exact import Recorded
from engine.simulation.outcome import Columns, Outcome, by_account
from engine.simulation.policies import PolicyTable
from engine.simulation.prices import PriceTable
from engine.simulation.schedule import mark_ticks
from engine.simulation.units import moment, units


def run(
    prices: PriceTable,
    policies: Sequence[Policy],
    starting_balance: Decimal,
    acting: Recorded,
    *,
    first: int = 0,
    mark_every: int = 1,
    equity_every: int = 1,
) -> Outcome:
    """Move new accounts, one a policy, over all ticks. `first` is the index of the first of them. Raises `BadInput`."""
    pace = Pace(mark_every=mark_every, equity_every=equity_every, accounts_a_chunk=len(policies))
    marked = mark_ticks(prices.ticks, mark_every)
    shown = marked[mark_ticks(len(marked), equity_every)]
    balances = np.full(len(policies), units(starting_balance, "startingBalance"), np.int64)
    (chunk,) = chunks(prices, PolicyTable.of(policies, prices.symbols), balances, acting.table, pace)
    told = unpacking.outcome(prices, acting.table, acting.rows, chunk, first=first, shown=shown)
    for place in unpacking.given_up(chunk):
        alone = exact.run(
            prices,
            opened(
                [policies[place]], moment(int(prices.times[0])), first=first + place, starting_balance=starting_balance
            ),
            Recorded(
                table=acting.table.of_accounts(place, place + 1),
                rows=acting.rows[acting.table.rows_of(place, place + 1)],
            ),
            first=first + place,
            mark_every=mark_every,
            equity_every=equity_every,
        )
        told = _with(told, place, alone.outcome)
    return told


def _with(told: Outcome, place: int, alone: Outcome) -> Outcome:
    """The outcome with that of one of its accounts instead of what it says of it."""
    if told.verdicts is None or alone.verdicts is None:
        raise AssertionError("recorded actions have verdicts")
    accounts = {name: column.copy() for name, column in told.accounts.items()}
    for name, column in accounts.items():
        column[place] = alone.accounts[name][0]
    equity, reasons = told.equity.copy(), list(told.end_reasons)
    equity[:, place], reasons[place] = alone.equity[:, 0], alone.end_reasons[0]
    return replace(
        told,
        equity=equity,
        accounts=accounts,
        end_reasons=reasons,
        fills=_instead(told.fills, alone.fills, alone.first),
        rejections=_instead(told.rejections, alone.rejections, alone.first),
        liquidations=_instead(told.liquidations, alone.liquidations, alone.first),
        verdicts=_instead(told.verdicts, alone.verdicts, alone.first),
    )


def _instead(columns: Columns, alone: Columns, account: int) -> Columns:
    others = columns["account"] != account
    return by_account({name: np.concatenate([column[others], alone[name]]) for name, column in columns.items()})
