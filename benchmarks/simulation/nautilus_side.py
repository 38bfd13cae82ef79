"""NautilusTrader: its backtest engine over quotes, with a strategy that sends one market order at each.

As it comes, but for logging, which is off. Making engine and quotes is not timed; the run is.
"""

import sys
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
from nautilus_trader.backtest.engine import BacktestEngine, BacktestEngineConfig
from nautilus_trader.config import LoggingConfig, StrategyConfig
from nautilus_trader.model.currencies import USDT
from nautilus_trader.model.data import QuoteTick
from nautilus_trader.model.enums import AccountType, OmsType, OrderSide
from nautilus_trader.model.identifiers import Venue
from nautilus_trader.model.objects import Money
from nautilus_trader.test_kit.providers import TestInstrumentProvider
from nautilus_trader.trading.strategy import Strategy

from benchmarks.simulation.answering import answer
from benchmarks.simulation.task import BALANCE, MINUTE_US, START_US, walk

VENUE = Venue("BINANCE")
INSTRUMENT = TestInstrumentProvider.btcusdt_perp_binance()


class Alternating(Strategy):  # type: ignore[misc]  # the peer is not installed where this is checked
    """Buys a hundredth, sells it, buys again."""

    def __init__(self) -> None:
        super().__init__(StrategyConfig())
        self.lot = INSTRUMENT.make_qty(0.01)
        self.buys = True

    def on_start(self) -> None:
        self.subscribe_quote_ticks(INSTRUMENT.id)

    def on_quote_tick(self, tick: QuoteTick) -> None:
        side = OrderSide.BUY if self.buys else OrderSide.SELL
        self.submit_order(self.order_factory.market(INSTRUMENT.id, side, self.lot))
        self.buys = not self.buys


def prepared(orders: int) -> Any:
    engine = BacktestEngine(BacktestEngineConfig(logging=LoggingConfig(bypass_logging=True)))
    money = [Money(BALANCE, USDT)]
    engine.add_venue(VENUE, OmsType.NETTING, AccountType.MARGIN, money, base_currency=USDT, default_leverage=Decimal(5))
    engine.add_instrument(INSTRUMENT)
    size, quotes = INSTRUMENT.make_qty(100.0), []
    for tick, mid in enumerate(walk(orders).tolist()):
        at_ns, price = (START_US + tick * MINUTE_US) * 1_000, INSTRUMENT.make_price(mid / 1e8)
        quotes.append(QuoteTick(INSTRUMENT.id, price, price, size, size, at_ns, at_ns))
    engine.add_data(quotes)
    engine.add_strategy(Alternating())
    return engine


def main(orders: int, written: Path) -> None:
    """Writes the balance after the first round to `written`."""

    def work(engine: Any) -> object:
        engine.run()
        if not written.exists():
            total = engine.cache.account_for_venue(VENUE).balance_total(USDT)
            np.save(written, np.array([round(total.as_double() * 1e8)]))
        return engine

    answer(lambda: prepared(orders), work)


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]))
