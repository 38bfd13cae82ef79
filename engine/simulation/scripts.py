"""Scripts: strategies that know all their actions beforehand, from prices and chance alone.

Nothing that happens to an account changes what it asks for, so its actions can be written down before anything runs,
and either engine may run them: the exact one and the compiled one, which takes no other strategies. An action that an
account is in no state for is refused, as it would be in production.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

import numpy as np

from engine.policy import Policy
from engine.simulation.actions import CLOSE, COLUMNS, NOTIONAL, OPEN, UNSIZED, ActionTable
from engine.simulation.chance import draws, even
from engine.simulation.prices import PriceTable
from engine.simulation.units import FIGURE_MAX, Flags, Ints, units

CENT: Final = 1_000_000
"""In units of 1e-8."""


@dataclass(frozen=True, kw_only=True)
class Cast:
    """Accounts that a script is written for: their numbers, their policies, in order, and what they begin with."""

    numbers: range
    policies: Sequence[Policy]
    starting_balance: Decimal
    seed: int

    def largest_orders(self) -> Ints:
        """The notional of the largest order each could fill at the start, in units of 1e-8."""
        known = {policy: units(self._largest(policy), "an order") for policy in set(self.policies)}
        return np.array([known[policy] for policy in self.policies], np.int64)

    def _largest(self, policy: Policy) -> Decimal:
        ratio = min(policy.max_leverage, policy.position_equity_ratio)
        return min(policy.max_notional, self.starting_balance * ratio).quantize(Decimal("0.00000001"))


Writes = Callable[[PriceTable, Cast], ActionTable]


@dataclass(frozen=True)
class Script:
    """What writes the actions of some accounts, whose indexes begin at 0."""

    write: Writes


def random_entries(prices: PriceTable, cast: Cast) -> ActionTable:
    """A position of a random symbol and side every 20 ticks, opened in the first half of them and closed in the second,
    sized by chance from 1 to 110 per cent of the largest order that could fill at the start."""
    every = 20
    turns = max(1, prices.ticks // every)
    drawn = draws(cast.seed, np.array(cast.numbers, np.int64), 5 * turns).reshape(len(cast.numbers), turns, 5)
    begins = np.arange(turns) * every
    opens = np.minimum(begins + even(drawn[:, :, 0], every // 2), prices.ticks - 1)
    closes = np.minimum(begins + every // 2 + even(drawn[:, :, 1], every // 2), prices.ticks - 1)
    symbol, side = even(drawn[:, :, 2], len(prices.symbols)), even(drawn[:, :, 3], 2)
    size = _cents(cast.largest_orders()[:, None] // 100 * (1 + even(drawn[:, :, 4], 110)))
    account = np.broadcast_to(np.arange(len(cast.numbers))[:, None], opens.shape)
    return _table(
        {
            "account": account,
            "tick": opens,
            "kind": OPEN,
            "symbol": symbol,
            "side": side,
            "sizing": NOTIONAL,
            "size": size,
        },
        {
            "account": account,
            "tick": closes,
            "kind": CLOSE,
            "symbol": symbol,
            "side": side,
            "sizing": UNSIZED,
            "size": 0,
        },
    )


def crossover(prices: PriceTable, cast: Cast) -> ActionTable:
    """Long while a price is above the mean of its last ticks, out while it is below: of 5 to 100 ticks, by chance an
    account. A fifth of the largest order that could fill at the start goes into each symbol."""
    looks_back = 5 + even(draws(cast.seed, np.array(cast.numbers, np.int64), 1)[:, 0], 96)
    known = {int(ticks): _crossings(prices, int(ticks)) for ticks in np.unique(looks_back)}
    size = _cents(cast.largest_orders() // 5)
    tick: list[Ints] = []
    symbol: list[Ints] = []
    opens: list[Flags] = []
    account: list[Ints] = []
    for place, ticks in enumerate(looks_back.tolist()):
        at, of, is_open = known[ticks]
        tick.append(at)
        symbol.append(of)
        opens.append(is_open)
        account.append(np.full(len(at), place))
    rows = {"tick": np.concatenate(tick), "symbol": np.concatenate(symbol), "account": np.concatenate(account)}
    is_opening = np.concatenate(opens)
    entering = {name: column[is_opening] for name, column in rows.items()}
    leaving = {name: column[~is_opening] for name, column in rows.items()}
    return _table(
        entering | {"kind": OPEN, "side": 0, "sizing": NOTIONAL, "size": size[entering["account"]]},
        leaving | {"kind": CLOSE, "side": 0, "sizing": UNSIZED, "size": 0},
    )


SCRIPTS: Final[Mapping[str, Script]] = {
    "random-entries": Script(random_entries),
    "crossover": Script(crossover),
}
"""By the name that the command line gives them."""


def _crossings(prices: PriceTable, ticks: int) -> tuple[Ints, Ints, Flags]:
    """Ticks at which a price crosses the mean of its last ones, the symbol, and whether it rises above it."""
    mid = prices.mid.astype(np.float64)
    sums = np.concatenate((np.zeros((1, mid.shape[1])), mid.cumsum(axis=0)))
    above = np.zeros(mid.shape, np.bool_)
    above[ticks - 1 :] = mid[ticks - 1 :] * ticks > sums[ticks:] - sums[: len(sums) - ticks]
    above &= prices.mid > 0
    changes = np.diff(above, axis=0, prepend=np.zeros((1, mid.shape[1]), np.bool_))
    at, symbol = np.nonzero(changes)
    return at, symbol, above[at, symbol]


def _cents(sizes: Ints) -> Ints:
    """Whole cents, at least one."""
    return np.clip(sizes // CENT * CENT, CENT, FIGURE_MAX)


def _table(*parts: Mapping[str, Ints | int]) -> ActionTable:
    """All rows in the order in which they are judged; of one tick and account, those of earlier parts first."""
    shapes = [np.broadcast_shapes(*(np.shape(column) for column in part.values())) for part in parts]
    columns = {
        name: np.concatenate(
            [np.broadcast_to(part.get(name, 0), shape).ravel() for part, shape in zip(parts, shapes, strict=True)]
        )
        for name in COLUMNS
    }
    order = np.lexsort((columns["account"], columns["tick"]))
    return ActionTable(**{name: columns[name][order].astype(dtype) for name, dtype in COLUMNS.items()})
