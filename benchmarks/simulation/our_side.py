"""Our side: the fast engine's chunks over many accounts, or the exact engine over one."""

import sys
from decimal import Decimal
from pathlib import Path

import numpy as np

from benchmarks.simulation.answering import answer
from benchmarks.simulation.task import BALANCE, LOT_UNITS, MINUTE_US, START_US, Ints, trading_ticks, walk
from engine.policy import Policy
from engine.simulation import exact
from engine.simulation.actions import CLOSE, OPEN, QUANTITY, UNSIZED, ActionTable
from engine.simulation.chunks import Pace, chunks
from engine.simulation.entering import opened
from engine.simulation.policies import PolicyTable
from engine.simulation.prices import PriceTable
from engine.simulation.units import SCALE, moment

SYMBOL = "BTC-USD"
NAUTILUS_FEE = Policy(fee_bps=Decimal("1.80000000"))
"""What the peer's instrument charges a taker."""


def prices(ticks: int) -> PriceTable:
    times, mid = START_US + np.arange(ticks) * MINUTE_US, walk(ticks)[:, None]
    return PriceTable(times=times, symbols=(SYMBOL,), bid=mid, ask=mid, mid=mid, observed=times[:, None].copy())


def actions(when: Ints) -> ActionTable:
    """Opening at even places, closing at odd ones."""
    accounts, orders = when.shape
    account, is_closing = np.repeat(np.arange(accounts), orders), np.tile(np.arange(orders) % 2 == 1, accounts)
    order = np.lexsort((account, when.ravel()))
    count, closes = len(order), is_closing[order]
    nothing = np.zeros(count, np.int64)
    return ActionTable(
        account=account[order].astype(np.int32),
        tick=when.ravel()[order].astype(np.int32),
        kind=np.where(closes, CLOSE, OPEN).astype(np.int8),
        symbol=np.zeros(count, np.int16),
        side=np.zeros(count, np.int8),
        sizing=np.where(closes, UNSIZED, QUANTITY).astype(np.int8),
        size=np.where(closes, 0, LOT_UNITS),
        leverage=nothing,
        min_price=nothing,
        max_price=nothing,
    )


def fast(accounts: int, ticks: int, orders: int, pace: Pace, written: Path) -> None:
    table, policies = prices(ticks), PolicyTable.of([Policy()] * accounts, (SYMBOL,))
    acting, balances = actions(trading_ticks(accounts, ticks, orders)), np.full(accounts, BALANCE * SCALE)

    def work(_: None) -> object:
        made = [chunk.equity for chunk in chunks(table, policies, balances, acting, pace)]
        if not written.exists():
            np.save(written, np.concatenate(made).T)
        return made

    answer(lambda: None, work)


def exactly(orders: int, written: Path) -> None:
    table, acting = prices(orders), actions(np.arange(orders)[None, :])
    recorded = exact.Recorded(table=acting, rows=np.arange(orders))

    def work(_: None) -> object:
        books = opened([NAUTILUS_FEE], moment(START_US), starting_balance=Decimal(BALANCE))
        run = exact.run(table, books, recorded)
        if not written.exists():
            np.save(written, run.outcome.accounts["cash"])
        return run

    answer(lambda: None, work)


def main(engine: str, *sizes: str) -> None:
    if engine == "exact":
        exactly(int(sizes[0]), Path(sizes[1]))
        return
    accounts, ticks, orders, equity_every, cores = map(int, sizes[:5])
    fast(accounts, ticks, orders, Pace(equity_every=equity_every, cores=cores), Path(sizes[5]))


if __name__ == "__main__":
    main(*sys.argv[1:])
