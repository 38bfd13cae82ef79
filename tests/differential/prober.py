"""Prober: a strategy that asks for sizes at, just below and just past what would be let through.

It writes down what it asks for, so that the same actions can be given to both engines as recorded ones.
"""

from collections.abc import Iterable
from decimal import Decimal
from random import Random

from msgspec.structs import replace

from engine.commands import Action
from engine.money import UNIT
from engine.policy import LONG, SHORT, Policy, Side
from engine.simulation.strategies import Entrant, Sight

WHOLE = Decimal("1.00000000")
LARGEST = Decimal(90_000_000_000)
"""A table holds little more."""
FRACTIONS = ("1", "0.5", "0.33333333", "0.00000001", "0.99999999", "0.66666667")


class Prober:
    """One account's. `asked` is what it did: tick by tick, in order."""

    def __init__(self, entrant: Entrant, seed: int) -> None:
        self._chance = Random(f"{seed}/{entrant.account}")
        self._policy = entrant.policy
        self._symbols = entrant.symbols
        self._rate = self._chance.choice((0.1, 0.4, 0.8))
        self.asked: list[tuple[int, Action]] = []

    def decide(self, sight: Sight) -> Iterable[Action]:
        """Up to three actions."""
        chance = self._chance
        count = chance.choice((1, 1, 1, 2, 3)) if chance.random() < self._rate else 0
        actions = [self._action(sight) for _ in range(count)]
        self.asked += [(sight.tick, action) for action in actions]
        return actions

    def _action(self, sight: Sight) -> Action:
        chance = self._chance
        word = chance.choices(("open", "reduce", "close", "hold", "cancel", "unknown"), (60, 20, 10, 1, 1, 1))[0]
        symbol, side = chance.choice(self._symbols), chance.choice((LONG, SHORT))
        held = list(sight.account.positions)
        if word != "open" and held and chance.random() < 0.9:
            symbol, side = chance.choice(held)
        mid = quote.mid if (quote := sight.quote(symbol)) is not None else WHOLE
        at_mid = mid if chance.random() < 0.5 else mid + UNIT
        bound = max(at_mid, UNIT)
        low, high = chance.choices(((None, None), (bound, None), (None, bound)), (10, 1, 1))[0]
        action = Action(decision_action_id="", action=word, symbol=symbol, side=side, min_price=low, max_price=high)
        if word == "open":
            action = replace(action, leverage=self._leverage(self._policy))
        return replace(action, **self._size(sight, word, symbol, side))

    def _leverage(self, policy: Policy) -> Decimal | None:
        most = policy.max_leverage
        half = (most / 2).quantize(UNIT)
        return self._chance.choices((None, most, WHOLE, most + UNIT, WHOLE - UNIT, half), (10, 4, 4, 1, 1, 4))[0]

    def _size(self, sight: Sight, word: str, symbol: str, side: Side) -> dict[str, Decimal]:
        chance = self._chance
        if word == "open":
            return self._opening(sight, symbol, side)
        if word != "reduce":
            return {}
        position = sight.held(symbol, side)
        held = position.quantity if position else WHOLE
        if chance.random() < 0.5:
            return {"fraction": Decimal(chance.choice(FRACTIONS)).quantize(UNIT)}
        return {"quantity": max(UNIT, chance.choice((held, held + UNIT, held - UNIT, UNIT, self._share(held))))}

    def _opening(self, sight: Sight, symbol: str, side: Side) -> dict[str, Decimal]:
        chance, policy = self._chance, self._policy
        way = chance.random()
        if way < 0.25:
            rooms = (room for each in sight.context.symbols if each.symbol == symbol for room in each.capacity)
            most = next((room.max_quantity for room in rooms if room.side == side), None)
            if most is not None:
                return {"quantity": max(UNIT, most + UNIT * chance.choice((-1, 0, 0, 0, 1, 1)))}
        if way < 0.4:
            return {"notional": min(max(UNIT, policy.max_notional + UNIT * chance.choice((-1, 0, 1))), LARGEST)}
        limit = min(policy.max_notional, sight.equity * policy.max_leverage)
        notional = max(UNIT, self._share(max(limit, WHOLE)))
        if way < 0.7:
            return {"notional": notional}
        if way < 0.75:
            return {"quantity": UNIT * chance.choice((1, 2, 50_000_000, 10**12))}
        quote = sight.quote(symbol)
        price = quote.mid if quote is not None and quote.mid > 0 else WHOLE
        return {"quantity": min(max(UNIT, (notional / price).quantize(UNIT)), LARGEST)}

    def _share(self, amount: Decimal) -> Decimal:
        """A part of an amount, sometimes a round one, sometimes a little more than all of it."""
        share = Decimal(self._chance.choice((0.01, 0.1, 0.25, 0.5, 0.9, 1.0, 1.1, self._chance.random())))
        decimals = UNIT if self._chance.random() < 0.7 else WHOLE
        return (amount * share).quantize(decimals).quantize(UNIT)
