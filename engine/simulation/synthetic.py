"""Synthetic prices: made from a seed, in named regimes one after another. One seed gives the same bytes everywhere.

Whole numbers only: a step is a rate in millionths, drawn from a bell curve (`chance`), and each price follows from the
one before by integer division. Every regime has its own hazard, so that a strategy meets all that the gates are for.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np

from engine.simulation.chance import MILLIONTHS, SEED_MAX, bell
from engine.simulation.faults import BadInput, InputCode
from engine.simulation.prices import PriceTable
from engine.simulation.units import SCALE, Flags, Ints


@dataclass(frozen=True, kw_only=True)
class Regime:
    """Rates in millionths a tick. `jump`: once, in the middle. `shows`: which quotes there are."""

    drift: int = 0
    volatility: int = 400
    jump: int = 0
    freezes: bool = False
    loses_quote: bool = False


REGIMES: Final = {
    "calm": Regime(),
    "trend": Regime(drift=400, volatility=700),
    "crash": Regime(drift=-6_000, volatility=6_000),
    "gap": Regime(jump=-120_000),
    "frozen": Regime(freezes=True),
    "missing": Regime(loses_quote=True),
}
"""calm: nothing much. trend: up, steadily. crash: down by more than half in a hundred ticks. gap: 12 % lower from one
tick to the next. frozen: every other symbol's quote stays and grows old. missing: every other symbol has none."""
SYMBOLS: Final = ("BTC-USD", "ETH-USD", "SOL-USD")
FIRST_PRICES: Final = (50_000, 2_000, 100)
TICKS: Final = 2_000
TICK_US: Final = 60_000_000
START_US: Final = 1_767_225_600_000_000  # 2026-01-01
HALF_SPREAD_MILLIONTHS: Final = 200
PRICE_MIN: Final = 1_000_000
"""A cent: whatever falls further stays there."""
PRICE_MAX: Final = 10**9 * SCALE


def synthetic(
    seed: int,
    *,
    regimes: tuple[str, ...] = tuple(REGIMES),
    ticks: int = TICKS,
    symbols: tuple[str, ...] = SYMBOLS,
    tick_us: int = TICK_US,
) -> PriceTable:
    """Prices of `ticks` ticks, of which each regime has an equal part, in order. Raises `BadInput`."""
    if not 0 <= seed <= SEED_MAX:
        raise BadInput(InputCode.OUT_OF_RANGE, f"a seed is 0 to {SEED_MAX}, not {seed}", limit=SEED_MAX)
    for name in regimes:
        if name not in REGIMES:
            known = ", ".join(REGIMES)
            raise BadInput(InputCode.UNKNOWN_WORD, f"{name!r} is no regime: {known}", regime=name)
    if not regimes or ticks < len(regimes):
        raise BadInput(InputCode.EMPTY, f"{ticks} ticks are too few for {len(regimes)} regimes", ticks=ticks)
    times = START_US + np.arange(ticks, dtype=np.int64) * tick_us
    part = np.arange(ticks) * len(regimes) // ticks
    mid = np.stack([_path(seed, place, regimes, part) for place in range(len(symbols))], axis=1)
    half = mid * HALF_SPREAD_MILLIONTHS // MILLIONTHS
    observed = np.repeat(times[:, None], len(symbols), axis=1)
    bid, ask = mid - half, mid + half
    for name, regime in REGIMES.items():
        hurt = _rows(part, regimes, name)
        if regime.freezes and hurt.any():
            _freeze((bid, ask, mid, observed), hurt)
        if regime.loses_quote:
            for values in (bid, ask, mid):
                values[hurt, ::2] = 0
    return PriceTable(times=times, symbols=symbols, bid=bid, ask=ask, mid=mid, observed=observed, source="synthetic")


def _rows(part: Ints, regimes: tuple[str, ...], name: str) -> Flags:
    return np.isin(part, [place for place, each in enumerate(regimes) if each == name])


def _path(seed: int, symbol: int, regimes: tuple[str, ...], part: Ints) -> Ints:
    shocks = bell(seed, symbol, len(part)).tolist()
    parts = part.tolist()
    middles = {len(parts) * (2 * place + 1) // (2 * len(regimes)) for place in range(len(regimes))}
    price = FIRST_PRICES[symbol % len(FIRST_PRICES)] * SCALE
    path = []
    for tick, shock in enumerate(shocks):
        regime = REGIMES[regimes[parts[tick]]]
        rate = regime.drift + regime.volatility * shock // MILLIONTHS + (regime.jump if tick in middles else 0)
        price = min(max(price + price * rate // MILLIONTHS, PRICE_MIN), PRICE_MAX)
        path.append(price)
    return np.array(path, np.int64)


def _freeze(values: tuple[Ints, ...], hurt: Flags) -> None:
    """Rows of the stretch, of every other symbol, are as they were before it."""
    source = np.maximum.accumulate(np.where(hurt, -1, np.arange(len(hurt))))
    source = np.where(source < 0, 0, source)
    for each in values:
        each[:, ::2] = each[source][:, ::2]
