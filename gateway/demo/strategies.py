"""Strategies: what the demo's six traders want to do. Pure: prices and the account in, actions out.

They are meant to be seen, not to earn: between them they fill, are refused with numbers, shrink to a size that fits,
go short, take profits, and one of them is liquidated.
"""

from collections.abc import Mapping, Sequence
from decimal import ROUND_DOWN, Decimal
from typing import Any, Final, Literal, Protocol

import msgspec

Side = Literal["long", "short"]
Action = dict[str, Any]
"""A decision action as the API takes it, without its id."""

MEMORY: Final = 30
"""Closes a trader remembers of a symbol."""
WHOLE: Final = Decimal(1)


class Sight(msgspec.Struct, frozen=True, kw_only=True):
    """What a trader sees when it decides. `closes`: by symbol, oldest first, those it has seen itself."""

    closes: Mapping[str, Sequence[Decimal]]
    held: Mapping[tuple[str, str], Decimal]
    capacity: Mapping[tuple[str, str], Decimal]
    equity: Decimal

    def price(self, symbol: str) -> Decimal:
        return self.closes[symbol][-1]

    def mean(self, symbol: str, bars: int) -> Decimal | None:
        """Of the last `bars` closes; None before there are as many."""
        seen = self.closes.get(symbol, ())[-bars:]
        return sum(seen, Decimal(0)) / bars if len(seen) == bars else None


class Strategy(Protocol):
    """One way to trade. `policy` is what its account is opened with."""

    name: str
    policy: Mapping[str, Any]

    def decide(self, sight: Sight) -> list[Action]:
        """The actions to take now, if any."""

    def second_try(self, action: Action, max_quantity: Decimal) -> Action | None:
        """After a rejection that a smaller size would not have met; None: leave it."""


class _Trades:
    """What most strategies do after a rejection: nothing."""

    def second_try(self, action: Action, max_quantity: Decimal) -> Action | None:
        return None


class BuyAndHold(_Trades):
    """Buys once, modestly, and sits through everything."""

    name = "buy-and-hold"
    policy: Mapping[str, Any] = {"maxLeverage": "2", "allowedDirections": ["long"]}
    portfolio: Mapping[str, Decimal] = {
        "IBM": Decimal(35_000),
        "MSFT": Decimal(20_000),
        "GOOG": Decimal(20_000),
        "FB": Decimal(10_000),
    }

    def decide(self, sight: Sight) -> list[Action]:
        wanted = (symbol for symbol in self.portfolio if symbol in sight.closes and (symbol, "long") not in sight.held)
        return [_open(symbol, "long", sight, notional=self.portfolio[symbol], leverage=2) for symbol in wanted]


class Momentum(_Trades):
    """Buys what has risen above its mean, sells it when it falls below."""

    name = "momentum"
    policy: Mapping[str, Any] = {"maxOpenPositions": 3, "allowedDirections": ["long"]}
    bars, above, notional = 5, Decimal("1.01"), Decimal(25_000)

    def decide(self, sight: Sight) -> list[Action]:
        actions: list[Action] = []
        room = 3 - len(sight.held)
        for symbol in sight.closes:
            mean = sight.mean(symbol, self.bars)
            if mean is None:
                continue
            if (symbol, "long") in sight.held:
                if sight.price(symbol) < mean:
                    actions.append(_close(symbol, "long"))
            elif sight.price(symbol) > mean * self.above and room > 0:
                room -= 1
                actions.append(_open(symbol, "long", sight, notional=self.notional))
        return actions


class MeanReversion(_Trades):
    """Buys what has fallen well below its mean and sells half at the mean, the rest above it."""

    name = "mean-reversion"
    policy: Mapping[str, Any] = {"maxLeverage": "3"}
    bars, below, above, notional = 8, Decimal("0.96"), Decimal("1.02"), Decimal(20_000)

    def decide(self, sight: Sight) -> list[Action]:
        actions: list[Action] = []
        for symbol in sight.closes:
            mean = sight.mean(symbol, self.bars)
            if mean is None:
                continue
            price, held = sight.price(symbol), sight.held.get((symbol, "long"))
            if held is None and price < mean * self.below:
                actions.append(_open(symbol, "long", sight, notional=self.notional, leverage=3))
            elif held is not None and price > mean * self.above:
                actions.append(_close(symbol, "long"))
            elif held is not None and price > mean and held * price > self.notional * Decimal("0.6"):
                actions.append({"action": "reduce", "symbol": symbol, "side": "long", "fraction": "0.5"})
        return actions


class ShortSeller(_Trades):
    """Sells what falls, buys it back when it rises again."""

    name = "short-seller"
    policy: Mapping[str, Any] = {"allowedDirections": ["short"], "maxOpenPositions": 2}
    bars, notional = 6, Decimal(20_000)

    def decide(self, sight: Sight) -> list[Action]:
        actions: list[Action] = []
        room = 2 - len(sight.held)
        for symbol in sight.closes:
            mean = sight.mean(symbol, self.bars)
            if mean is None:
                continue
            if (symbol, "short") in sight.held:
                if sight.price(symbol) > mean:
                    actions.append(_close(symbol, "short"))
            elif sight.price(symbol) < mean * Decimal("0.99") and room > 0:
                room -= 1
                actions.append(_open(symbol, "short", sight, notional=self.notional))
        return actions


class Overreacher:
    """Always asks for more than its policy allows, reads from the refusal what would have passed, and takes that."""

    name = "overreacher"
    policy: Mapping[str, Any] = {"maxNotional": "50000", "maxLeverage": "3"}
    notional, rest = Decimal(62_000), 6

    def __init__(self) -> None:
        self._turn = 0

    def decide(self, sight: Sight) -> list[Action]:
        self._turn += 1
        if self._turn % self.rest != 1 or not sight.closes:
            return []
        if sight.held:
            return [_close(symbol, side) for symbol, side in sight.held]
        symbols = sorted(sight.closes)
        symbol = symbols[(self._turn // self.rest) % len(symbols)]
        return [_open(symbol, "long", sight, notional=self.notional)]

    def second_try(self, action: Action, max_quantity: Decimal) -> Action | None:
        """A little under the maximum: the price may move between the two."""
        fitting = (max_quantity * Decimal("0.99")).quantize(WHOLE, ROUND_DOWN)
        return {**action, "quantity": str(fitting)} if fitting > 0 else None


class DipBuyer(_Trades):
    """Levers up fully on one symbol and adds on every dip, for as long as there is margin. There is an end to that."""

    name = "dip-buyer"
    policy: Mapping[str, Any] = {"maxNotional": "1000000", "maxLeverage": "5", "allowedAssets": ["MSFT"]}
    symbol, worth_it = "MSFT", Decimal(1_000)

    def decide(self, sight: Sight) -> list[Action]:
        closes = sight.closes.get(self.symbol, ())
        room = sight.capacity.get((self.symbol, "long"), Decimal(0)) * Decimal("0.99")
        dips = len(closes) > 1 and closes[-1] < closes[-2]
        if not closes or room * closes[-1] < self.worth_it or (sight.held and not dips):
            return []
        quantity = room.quantize(WHOLE, ROUND_DOWN)
        return [{"action": "open", "symbol": self.symbol, "side": "long", "quantity": str(quantity), "leverage": "5"}]


def all_strategies() -> list[Strategy]:
    """One of each."""
    return [BuyAndHold(), Momentum(), MeanReversion(), ShortSeller(), Overreacher(), DipBuyer()]


def _open(symbol: str, side: Side, sight: Sight, *, notional: Decimal, leverage: int | None = None) -> Action:
    """Whole shares, since that is what these symbols trade in."""
    quantity = max(WHOLE, (notional / sight.price(symbol)).quantize(WHOLE, ROUND_DOWN))
    action = {"action": "open", "symbol": symbol, "side": side, "quantity": str(quantity)}
    return action if leverage is None else {**action, "leverage": str(leverage)}


def _close(symbol: str, side: str) -> Action:
    return {"action": "close", "symbol": symbol, "side": side}
