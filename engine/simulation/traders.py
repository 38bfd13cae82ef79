"""Traders: the strategies that come with the engine, to start from and to compare with."""

from collections.abc import Iterable, Iterator, Mapping
from decimal import ROUND_DOWN, Decimal
from typing import Final

from engine.commands import Action
from engine.money import UNIT, ZERO
from engine.policy import LONG, SHORT
from engine.quotes import fault
from engine.simulation.strategies import Entrant, MakesStrategy, Sight, closing, opening

CENT: Final = Decimal("0.01")


class BuyAndHold:
    """Puts an equal part of 95 per cent of equity into every symbol when it is first quoted, unlevered, and sits."""

    def __init__(self, entrant: Entrant) -> None:
        self._wanted = list(entrant.symbols)
        self._share = Decimal("0.95") / len(entrant.symbols)
        self._most = entrant.policy.max_notional

    def decide(self, sight: Sight) -> Iterator[Action]:
        for symbol in [each for each in self._wanted if fault(sight.quote(each)) is None]:
            self._wanted.remove(symbol)
            yield opening(symbol, LONG, notional=_cents(sight.equity * self._share, self._most), leverage=1)


class Momentum:
    """Goes with the last 20 ticks: long above their mean, short below, a fifth of equity a symbol at full leverage."""

    ticks = 20

    def __init__(self, entrant: Entrant) -> None:
        self._symbols = entrant.symbols
        self._most = entrant.policy.max_notional
        self._leverage = entrant.policy.max_leverage

    def decide(self, sight: Sight) -> Iterator[Action]:
        if sight.tick % 5:
            return
        for symbol in self._symbols:
            mids = sight.mids(symbol, self.ticks)
            if len(mids) < self.ticks:
                continue
            rising = mids[-1] * self.ticks > sum(mids, ZERO)
            side, other = (LONG, SHORT) if rising else (SHORT, LONG)
            if sight.held(symbol, other):
                yield closing(symbol, other)
            if not sight.held(symbol, side):
                wanted = sight.equity / 5 * self._leverage
                yield opening(symbol, side, notional=_cents(wanted, self._most))


class Random:
    """Once in ten ticks opens or closes something by chance, sized by chance: one time in five more than is allowed."""

    one_in = 10

    def __init__(self, entrant: Entrant) -> None:
        self._symbols = entrant.symbols
        self._chance = entrant.chance
        self._largest = entrant.policy.max_notional / 100
        self._leverage = entrant.policy.max_leverage / 100

    def decide(self, sight: Sight) -> Iterator[Action]:
        if not self._chance.happens(self.one_in):
            return
        symbol = self._symbols[self._chance.below(len(self._symbols))]
        side = (LONG, SHORT)[self._chance.below(2)]
        if sight.held(symbol, side) and self._chance.happens(2):
            yield closing(symbol, side)
            return
        largest = min(self._largest, max(sight.equity, CENT) * self._leverage)
        yield opening(symbol, side, notional=_cents(largest * (1 + self._chance.below(125))))


class DipBuyer:
    """Adds whatever it has room for whenever a price falls, at full leverage, until there is an end to that."""

    def __init__(self, entrant: Entrant) -> None:
        self._symbol = entrant.symbols[entrant.account % len(entrant.symbols)]
        self._leverage = entrant.policy.max_leverage

    def decide(self, sight: Sight) -> Iterator[Action]:
        mids = sight.mids(self._symbol, 2)
        if len(mids) < 2 or mids[1] >= mids[0]:
            return
        room = next((each for each in sight.context.symbols if each.symbol == self._symbol), None)
        largest = None if room is None else room.capacity[0].max_quantity
        if largest is not None and largest * mids[1] > 100:
            quantity = (largest * Decimal("0.99")).quantize(UNIT, ROUND_DOWN)
            yield opening(self._symbol, LONG, quantity=quantity, leverage=self._leverage)


class Idle:
    """Does nothing at all: what the prices cost without trading."""

    def __init__(self, entrant: Entrant) -> None:
        pass

    def decide(self, sight: Sight) -> Iterable[Action]:
        return ()


TRADERS: Final[Mapping[str, MakesStrategy]] = {
    "buy-and-hold": BuyAndHold,
    "momentum": Momentum,
    "random": Random,
    "dip-buyer": DipBuyer,
    "idle": Idle,
}
"""By the name that the command line gives them."""


def _cents(amount: Decimal, most: Decimal | None = None) -> Decimal:
    """A notional in whole cents, at least one."""
    wanted = amount if most is None else min(amount, most)
    return max(CENT, wanted.quantize(CENT, ROUND_DOWN))
