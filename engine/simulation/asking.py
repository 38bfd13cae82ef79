"""Asking: strategies that are compiled, called for each account at each tick, and what they may look at and ask for.

    def dips(sight: Sight, asks: Asks) -> None:
        mid, before = sight.market.mid[sight.tick, 0], sight.market.mid[max(0, sight.tick - 1), 0]
        if mid < before * sight.parameters[0] and held(sight, 0, LONG_SIDE) == 0:
            open_notional(asks, 0, LONG_SIDE, 1_000 * ONE)

A strategy is a function of that shape which numba can compile; it is called before the actions of its tick are judged,
and not again once the account has ended. Symbols are places in the order of their names, figures in units of 1e-8.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, NamedTuple

from numba import njit, prange

from engine.simulation.actions import CLOSE, FRACTION, NOTIONAL, OPEN, QUANTITY, REDUCE, UNSIZED
from engine.simulation.compiled import compiled, uncached, unregistered
from engine.simulation.kernel import close_tick, open_tick, take
from engine.simulation.layout import ACTIVE, GIVEN_UP, Actions, Book, Limits, Market, Policies, Records, Verdicts
from engine.simulation.marking import begin
from engine.simulation.recording import end
from engine.simulation.units import Flags, Floats, Int8s, Int16s, Ints

FULL: Final = -1
"""In place of the last row an account may ask for: it asked for one more."""
ACTIONS_MAX: Final = 256
"""An account's, unless a strategy says otherwise."""

LOOPS_MAX: Final = 32
"""Loops around strategies that are kept in a process."""


class Sight(NamedTuple):
    """One account at one tick. Of the market nothing after `tick` is there to be looked at, though nothing hinders it.

    `parameters` are the account's own, and so is `memory`, which begins as zeros and keeps what is written into it.
    """

    market: Market
    tick: int
    limits: Limits
    book: Book
    parameters: Floats
    memory: Floats


class Asks(NamedTuple):
    """What an account asks for. `cursor`: the next row of `actions` to write, and the first that is not its own."""

    actions: Actions
    cursor: Ints


Decide = Callable[[Sight, Asks], None]


@dataclass(frozen=True, eq=False, kw_only=True)
class CompiledStrategy:
    """`parameters` [accounts, any]; `memory`: figures an account can remember; `actions_max`: how many actions an
    account may ask for in its life. A run whose account asks for more is refused."""

    decide: Decide
    parameters: Floats
    memory: int = 0
    actions_max: int = ACTIONS_MAX


@compiled
def ask(asks: Asks, kind: int, symbol: int, side: int, sizing: int, size: int, leverage: int) -> None:
    """Any action, as in `ActionTable`; leverage 0 is the policy's maximum."""
    row = asks.cursor[0]
    if row >= asks.cursor[1]:
        asks.cursor[1] = FULL
        return
    asks.actions.kind[row] = kind
    asks.actions.symbol[row] = symbol
    asks.actions.side[row] = side
    asks.actions.sizing[row] = sizing
    asks.actions.size[row] = size
    asks.actions.leverage[row] = leverage
    asks.cursor[0] = row + 1


@compiled
def open_quantity(asks: Asks, symbol: int, side: int, quantity: int) -> None:
    """Open a position, or add to it."""
    ask(asks, OPEN, symbol, side, QUANTITY, quantity, 0)


@compiled
def open_notional(asks: Asks, symbol: int, side: int, notional: int) -> None:
    """Open a position, or add to it, for so much money."""
    ask(asks, OPEN, symbol, side, NOTIONAL, notional, 0)


@compiled
def reduce_fraction(asks: Asks, symbol: int, side: int, fraction: int) -> None:
    """Take a part of a position off."""
    ask(asks, REDUCE, symbol, side, FRACTION, fraction, 0)


@compiled
def close(asks: Asks, symbol: int, side: int) -> None:
    """Take all of a position off."""
    ask(asks, CLOSE, symbol, side, UNSIZED, 0, 0)


@compiled
def held(sight: Sight, symbol: int, side: int) -> int:
    """The quantity of a position, 0 where there is none."""
    quantity: int = sight.book.positions[2 * symbol + side].quantity
    return quantity


@lru_cache(maxsize=LOOPS_MAX)
def run_asking(strategy: Decide) -> Callable[..., None]:
    """The loop around a strategy, compiled at its first call, which takes some ten seconds.

    As `run_recorded`, but that the rows of `actions` are written as accounts ask; `cursors` [accounts, 2] say how far.
    """
    decide = njit(nogil=True, error_model="numpy")(strategy)

    @unregistered
    def live(
        market: Market,
        schedule: Int8s,
        limits: Limits,
        allows: Flags,
        starting_balance: int,
        book: Book,
        asks: Asks,
        verdicts: Verdicts,
        equity: Ints,
        parameters: Floats,
        memory: Floats,
    ) -> None:
        account, row, shown = book.account, asks.cursor[0], 0
        begin(market, limits, account, starting_balance)
        for tick in range(len(market.day)):
            open_tick(market, tick, limits, account)
            if account.status == ACTIVE:
                decide(Sight(market, tick, limits, book, parameters, memory), asks)
                if asks.cursor[1] == FULL:
                    account.status = GIVEN_UP
                    account.ended_tick = tick
            while row < asks.cursor[0]:
                asks.actions.tick[row] = tick
                take(market, tick, limits, allows, book, asks.actions, row, verdicts)
                row += 1
            shown = close_tick(market, tick, schedule, limits, book, equity, shown)
        if account.status == ACTIVE:
            end(account, market.time[len(market.day) - 1])

    @uncached
    def run(
        market: Market,
        schedule: Int8s,
        policies: Policies,
        starting_balances: Ints,
        accounts: Records,
        positions: Records,
        open_slots: Int16s,
        closings: Records,
        actions: Actions,
        cursors: Ints,
        verdicts: Verdicts,
        equity: Ints,
        parameters: Floats,
        memory: Floats,
    ) -> None:
        for place in prange(len(accounts)):
            live(
                market,
                schedule,
                policies.limits[policies.row[place]],
                policies.allows[policies.row[place]],
                starting_balances[place],
                Book(accounts[place], positions[place], open_slots[place], closings[place]),
                Asks(actions, cursors[place]),
                verdicts,
                equity[place],
                parameters[place],
                memory[place],
            )

    return run
