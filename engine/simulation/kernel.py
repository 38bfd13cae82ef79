"""The kernel: the lives of many accounts over all ticks, compiled. What `chunks` feeds.

Accounts never meet, so they run beside each other on all cores, and no result depends on how many there are. At a tick
the day turns where it must, then the account's actions are judged in order, then the tick's mark is taken.
"""

from collections.abc import Callable
from typing import Final

from numba import prange

from engine.simulation.booking import add, take_off
from engine.simulation.compiled import compiled, fingerprint, inlined, parallel
from engine.simulation.judging import BEYOND_RANGE, FILLED, judged
from engine.simulation.layout import (
    ACTIVE,
    GIVEN_UP,
    Account,
    Actions,
    Book,
    Limits,
    Market,
    Policies,
    Records,
    Verdicts,
)
from engine.simulation.marking import begin, mark, turn_day
from engine.simulation.recording import end
from engine.simulation.units import Flags, Int8s, Int16s, Ints

NOT_JUDGED: Final = -1
"""The verdict of an action of an account that was given up."""
NOT_MARKED, MARKED, SHOWN = range(3)
"""What is done at the end of a tick; with SHOWN the equity is kept as well."""


@compiled
def take(
    market: Market, tick: int, limits: Limits, allows: Flags, book: Book, actions: Actions, row: int, verdicts: Verdicts
) -> None:
    """Judge an action and, where every gate passes, fill it."""
    account = book.account
    if account.status == GIVEN_UP:
        verdicts.code[row] = NOT_JUDGED
        return
    code, price, quantity, leverage = judged(market, tick, limits, allows, book, actions, row)
    if code == BEYOND_RANGE:
        account.status = GIVEN_UP
        account.ended_tick = tick
        verdicts.code[row] = NOT_JUDGED
        return
    account.actions += 1
    verdicts.code[row] = code
    if code != FILLED:
        account.rejected += 1
        return
    slot = 2 * actions.symbol[row] + actions.side[row]
    verdicts.price[row] = price
    verdicts.quantity[row] = quantity
    if leverage:
        traded, fee = add(market, tick, limits, book, slot, quantity, price, leverage)
    else:
        traded, fee, verdicts.realized[row] = take_off(market, tick, limits, book, slot, quantity, price)
    verdicts.notional[row] = traded
    verdicts.fee[row] = fee


@inlined
def open_tick(market: Market, tick: int, limits: Limits, account: Account) -> None:
    """The day turns where it must."""
    if account.day != market.day[tick] and account.status == ACTIVE:
        turn_day(limits, account, market.day[tick])


@inlined
def close_tick(market: Market, tick: int, schedule: Int8s, limits: Limits, book: Book, equity: Ints, shown: int) -> int:
    """The tick's mark, where it has one; returns how many figures of equity are shown by now."""
    if schedule[tick] != NOT_MARKED:
        if book.account.status == ACTIVE:
            mark(market, tick, limits, book)
        if schedule[tick] == SHOWN:
            equity[shown] = book.account.equity
            shown += 1
    return shown


@compiled
def live(
    market: Market,
    schedule: Int8s,
    limits: Limits,
    allows: Flags,
    starting_balance: int,
    book: Book,
    actions: Actions,
    first: int,
    stop: int,
    verdicts: Verdicts,
    equity: Ints,
) -> None:
    """One account from the first tick to the last; its actions are the rows from `first` to before `stop`."""
    account, ticks = book.account, len(market.day)
    begin(market, limits, account, starting_balance)
    row, shown = first, 0
    next_tick = actions.tick[row] if row < stop else ticks
    for tick in range(ticks):
        open_tick(market, tick, limits, account)
        while next_tick == tick:
            take(market, tick, limits, allows, book, actions, row, verdicts)
            row += 1
            next_tick = actions.tick[row] if row < stop else ticks
        shown = close_tick(market, tick, schedule, limits, book, equity, shown)
    if account.status == ACTIVE:
        end(account, market.time[ticks - 1])


def _over_accounts(parts: int) -> Callable[..., None]:
    @parallel
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
        first: Ints,
        verdicts: Verdicts,
        equity: Ints,
    ) -> None:
        parts  # noqa: B018 - named, so that it is in the key under which the loop is kept
        for place in prange(len(accounts)):
            live(
                market,
                schedule,
                policies.limits[policies.row[place]],
                policies.allows[policies.row[place]],
                starting_balances[place],
                Book(accounts[place], positions[place], open_slots[place], closings[place]),
                actions,
                first[place],
                first[place + 1],
                verdicts,
                equity[place],
            )

    return run


run_recorded: Final = _over_accounts(fingerprint())
"""Recorded actions, in order of accounts: those of the n-th are the rows from `first[n]` to before `first[n + 1]`."""
