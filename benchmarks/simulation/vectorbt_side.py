"""vectorbt: `Portfolio.from_orders` and `value()`, a column an account. It is given one column of prices for all."""

import sys
from pathlib import Path

import numpy as np
import pandas as pd
import vectorbt as vbt

from benchmarks.simulation.answering import answer
from benchmarks.simulation.task import BALANCE, LOT_UNITS, trading_ticks, walk


def main(accounts: int, ticks: int, orders: int, written: Path) -> None:
    """Writes the equity of the first round to `written`, [ticks, accounts]."""
    close = pd.DataFrame(walk(ticks)[:, None] / 1e8)
    size = np.full((ticks, accounts), np.nan)
    when = trading_ticks(accounts, ticks, orders)
    signs = np.where(np.arange(orders) % 2, -1.0, 1.0) * (LOT_UNITS / 1e8)
    size[when, np.arange(accounts)[:, None]] = signs
    sizes = pd.DataFrame(size)

    def work(_: None) -> object:
        portfolio = vbt.Portfolio.from_orders(close, sizes, fees=0.001, init_cash=float(BALANCE), freq="1min")
        value = portfolio.value()
        if not written.exists():
            np.save(written, value.to_numpy())
        return portfolio, value

    answer(lambda: None, work)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), Path(sys.argv[4]))
