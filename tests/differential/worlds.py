"""Random worlds for two engines: prices, policies and starting balances, from a seed, drawn to be awkward.

Prices of every size, round ones that make ties, crashes and gaps; quotes that are missing, crossed, one unit off, too
old by a microsecond or just not, ahead by five seconds or just more. Policies whose every limit binds now and then.
"""

from dataclasses import dataclass
from decimal import Decimal
from random import Random
from typing import Any

import numpy as np

from engine.policy import MaxDailyLoss, Policy, ProfitTarget, QuoteMaxAge, TrailingDrawdown
from engine.simulation.prices import PriceTable
from engine.simulation.units import Ints

SECOND_US = 1_000_000
START_US = 1_700_000_000 * SECOND_US
ONE = 100_000_000
NAMES = ("ETH-USD", "BTC-USD", "PEPE-USD", "SOL-USD")
"""Not in the order of their names: the kernel's own order must not show."""


@dataclass(frozen=True)
class World:
    """What both engines are given, but for the actions."""

    prices: PriceTable
    policies: tuple[Policy, ...]
    starting_balance: Decimal
    mark_every: int
    equity_every: int


def world(chance: Random, *, accounts: int, ticks: int) -> World:
    ages = (chance.choice((1_000, 60_000, 600_000)), chance.choice((60_000, 120_000)), chance.choice((1_000, 60_000)))
    return World(
        prices=prices(chance, ticks=ticks, symbols=NAMES[: chance.randint(1, 4)], age_ms=chance.choice(ages)),
        policies=tuple(policy(chance, ages) for _ in range(accounts)),
        starting_balance=Decimal(chance.choice(("100000", "100000", "1000", "25000.00000001"))),
        mark_every=chance.choice((1, 1, 1, 3)),
        equity_every=chance.choice((1, 1, 2)),
    )


def prices(chance: Random, *, ticks: int, symbols: tuple[str, ...], age_ms: int) -> PriceTable:
    step = chance.choice((1, 20, 60, 3_600, 6 * 3_600)) * SECOND_US
    gaps = [step + chance.choice((0, 0, 1, 999, 1_000)) for _ in range(ticks)]
    times = START_US + np.cumsum(np.array(gaps, np.int64))
    columns = [_quotes(chance, times, age_ms) for _ in symbols]
    bid, ask, mid, observed = (np.ascontiguousarray(np.stack(each, axis=1)) for each in zip(*columns, strict=True))
    return PriceTable(times=times, symbols=symbols, bid=bid, ask=ask, mid=mid, observed=observed)


def _quotes(chance: Random, times: Ints, age_ms: int) -> tuple[Ints, Ints, Ints, Ints]:
    price = chance.choice((0.01234567, 0.5, 1.0, 37.5, 2_500.0, 64_000.0))
    volatility, spread = chance.choice((0.0, 0.002, 0.02, 0.15)), chance.choice((0.0, 0.0005, 0.01))
    is_round, fault_rate = chance.random() < 0.3, chance.choice((0.0, 0.05, 0.3))
    rows, quote = [], (0, 0, 0, 0)
    for time in times.tolist():
        price *= 1 + chance.gauss(0, volatility)
        if chance.random() < 0.02:
            price *= chance.choice((0.3, 0.6, 1.5, 2.5))
        price = min(max(price, 0.01), 1e6)
        shown = round(price, 1) if is_round and price > 1 else price
        mid = max(1, round(shown * ONE))
        half = round(mid * spread / 2)
        quote = mid - half if mid > half else mid, mid + half, mid, time
        rows.append(_faulty(chance, quote, age_ms) if chance.random() < fault_rate else quote)
    columns = np.array(rows, np.int64).T
    return columns[0], columns[1], columns[2], columns[3]


def _faulty(chance: Random, quote: tuple[int, int, int, int], age_ms: int) -> tuple[int, int, int, int]:
    bid, ask, mid, time = quote
    limit_us = age_ms * 1_000
    return chance.choice(
        (
            (0, 0, 0, 0),
            (0, ask, mid, time),
            (bid, ask, 0, time),
            (-bid, ask, mid, time),
            (ask + 1, ask, mid, time),
            (bid, mid - 1, mid, time),
            (mid + 1, ask + 1, mid, time),
            (bid, ask, mid, time - limit_us),
            (bid, ask, mid, time - limit_us - 1),
            (bid, ask, mid, time - limit_us - 999),
            (bid, ask, mid, time - 10 * limit_us),
            (bid, ask, mid, time + 5 * SECOND_US),
            (bid, ask, mid, time + 5 * SECOND_US + 1),
        )
    )


def policy(chance: Random, ages: tuple[int, int, int]) -> Policy:
    """One the live engine would take."""
    return Policy(
        max_leverage=_one(chance, "5", "1", "3.33333333", "20", "100"),
        max_notional=_one(chance, "50000", "50000", "12345.67890123", "10000000", "100000000"),
        max_open_positions=chance.choice((5, 5, 1, 2, 0)),
        max_open_orders=chance.choice((10, 10, 10, 10, 0)),
        allowed_directions=chance.choice((("long", "short"),) * 6 + (("long",), ("short",), ())),
        allowed_assets=chance.choice((None,) * 6 + (("BTC-USD", "ETH-USD"), ())),
        fee_bps=_one(chance, "10", "0", "2.5", "33.33333333", "500"),
        slippage_model=chance.choice(("mid_price", "fixed_bps", "spread")),
        slippage_bps=_one(chance, "0", "5", "12.34567891", "4000"),
        max_drawdown=_one(chance, "0.5", "0.1", "0.02", "0.33333333", "1"),
        max_position_equity_ratio=chance.choice((None, None, Decimal("0.50000000"), Decimal("1.23456789"))),
        allow_hedging=chance.random() < 0.7,
        quote_max_age_ms=QuoteMaxAge(trade=ages[0], mark=ages[1], liquidate=ages[2]),
        max_daily_loss=_daily_loss(chance) if chance.random() < 0.3 else None,
        trailing_drawdown=_trailing(chance) if chance.random() < 0.3 else None,
        profit_target=_target(chance) if chance.random() < 0.3 else None,
    )


def _one(chance: Random, *texts: str) -> Decimal:
    return Decimal(chance.choice(texts)).quantize(Decimal("1e-8"))


def _size(chance: Random, *fractions: str) -> dict[str, Any]:
    """One of two fields, by name: `Any`, since mypy takes a dict of decimals for values of every field."""
    if chance.random() < 0.3:
        return {"amount": _one(chance, "50", "2500.00000001", "0.00000001", "60000000000")}
    return {"fraction": _one(chance, *fractions)}


def _daily_loss(chance: Random) -> MaxDailyLoss:
    words: dict[str, Any] = {
        "basis": chance.choice(("initial", "day_start")),
        "of": chance.choice(("balance", "equity")),
    }
    return MaxDailyLoss(**words, **_size(chance, "0.05", "0.01", "0.03333333", "1"))


def _trailing(chance: Random) -> TrailingDrawdown:
    mode: Any = chance.choice(("intraday_equity", "end_of_day"))
    locks = chance.random() < 0.5
    return TrailingDrawdown(mode=mode, locks_at_start=locks, **_size(chance, "0.06", "0.02", "0.33333333"))


def _target(chance: Random) -> ProfitTarget:
    return ProfitTarget(**_size(chance, "0.1", "0.01", "0.00333333"), min_trading_days=chance.choice((0, 0, 1, 2)))
