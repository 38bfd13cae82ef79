"""Chunks: recorded actions of many accounts through the compiled kernel, some accounts at a time.

Guarantee: the verdict of every action and every figure is what the exact engine comes to, to the last digit; what is
not told, and which accounts are given up, stands in docs/simulation-fast.md. Neither chunks nor cores change a result.
Memory: a chunk's accounts and actions, and its equity where that is asked for; nothing else grows with the ticks.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Final

import numba
import numpy as np

from engine.policy import Policy
from engine.simulation import layout
from engine.simulation.actions import ActionTable
from engine.simulation.asking import FULL, CompiledStrategy, run_asking
from engine.simulation.compiled import told_of_compiling
from engine.simulation.faults import BadInput, InputCode
from engine.simulation.kernel import MARKED, SHOWN, run_recorded
from engine.simulation.layout import ACCOUNT, CLOSING, POSITION, RANGE, Actions, Records, Verdicts
from engine.simulation.policies import PolicyTable
from engine.simulation.prices import PriceTable
from engine.simulation.schedule import mark_ticks
from engine.simulation.units import Int8s, Ints, decimal

ACCOUNTS_A_CHUNK: Final = 4_096


@dataclass(frozen=True, eq=False, kw_only=True)
class Chunk:
    """Accounts from `first` on as they were at the end: records of ACCOUNT, and their slots (POSITION and CLOSING, two
    a symbol in the order of names: long, short).

    `rows` are the chunk's rows of the action table, account by account, and `verdicts` theirs. `equity` [accounts,
    ticks shown] in units of 1e-8.
    """

    first: int
    accounts: Records
    positions: Records
    closings: Records
    rows: Ints
    verdicts: Verdicts
    equity: Ints


@dataclass(frozen=True, kw_only=True)
class Pace:
    """`mark_every` in ticks, and of so many marks one is shown (`equity_every`; 0: none). `cores` None: as many as
    numba is set to."""

    mark_every: int = 1
    equity_every: int = 1
    accounts_a_chunk: int = ACCOUNTS_A_CHUNK
    cores: int | None = None


def chunks(
    prices: PriceTable, policies: PolicyTable, starting_balances: Ints, actions: ActionTable, pace: Pace
) -> Iterator[Chunk]:
    """Chunks in the order of accounts, which begin active. Raises `BadInput`.

    The first run on a machine compiles the kernel, which takes some ten seconds; later ones read it from disk.
    """
    accounts = len(policies)
    actions.check(prices=prices, accounts=accounts)
    _check(starting_balances, accounts)
    if pace.cores is not None:
        numba.set_num_threads(pace.cores)
    market, rules = layout.market(prices), layout.policies(policies, prices.symbols)
    schedule = _schedule(prices.ticks, pace)
    shown, slots = int(np.count_nonzero(schedule == SHOWN)), 2 * len(prices.symbols)
    order = np.argsort(actions.account, kind="stable")
    first = np.searchsorted(actions.account[order], np.arange(accounts + 1))
    for start in range(0, accounts, pace.accounts_a_chunk):
        stop = min(start + pace.accounts_a_chunk, accounts)
        count, rows = stop - start, order[first[start] : first[stop]]
        chunk = _empty(start, count, slots, shown, rows)
        run_recorded(
            market,
            schedule,
            rules._replace(row=rules.row[start:stop]),
            starting_balances[start:stop],
            chunk.accounts,
            chunk.positions,
            np.zeros((count, slots), np.int16),
            chunk.closings,
            layout.actions(actions, prices.symbols, rows),
            first[start : stop + 1] - first[start],
            chunk.verdicts,
            chunk.equity,
        )
        yield chunk


def prepare(on_compile: Callable[[], None]) -> None:
    """Have the kernel at hand, here and on the disk of this machine. `on_compile`: called where it is compiled."""
    at = np.zeros(1, np.int64)
    price = np.full((1, 1), 1, np.int64)
    prices = PriceTable(times=at, symbols=("-",), bid=price, ask=price, mid=price, observed=at[:, None])
    with told_of_compiling(on_compile):
        for _ in chunks(prices, PolicyTable.of([Policy()], prices.symbols), price[0], ActionTable.empty(), Pace()):
            pass


def asked(
    prices: PriceTable, policies: PolicyTable, starting_balances: Ints, strategy: CompiledStrategy, pace: Pace
) -> Iterator[tuple[Chunk, ActionTable]]:
    """The same with a strategy. Each chunk comes with the actions that its accounts asked for, account after account,
    of which `rows` are all. Raises `BadInput`, also where an account asks for more than the strategy may."""
    accounts = len(policies)
    _check(starting_balances, accounts)
    if strategy.parameters.dtype != np.float64 or strategy.parameters.shape[:1] != (accounts,):
        raise BadInput(InputCode.WRONG_SHAPE, f"parameters are not float64 ({accounts}, any)")
    if pace.cores is not None:
        numba.set_num_threads(pace.cores)
    market, rules = layout.market(prices), layout.policies(policies, prices.symbols)
    schedule, run = _schedule(prices.ticks, pace), run_asking(strategy.decide)
    shown, slots = int(np.count_nonzero(schedule == SHOWN)), 2 * len(prices.symbols)
    for start in range(0, accounts, pace.accounts_a_chunk):
        stop = min(start + pace.accounts_a_chunk, accounts)
        count = stop - start
        begins = np.arange(count) * strategy.actions_max
        cursors = np.stack([begins, begins + strategy.actions_max], axis=1)
        chunk = _empty(start, count, slots, shown, np.arange(count * strategy.actions_max))
        written = layout.no_actions(count * strategy.actions_max)
        run(
            market,
            schedule,
            rules._replace(row=rules.row[start:stop]),
            starting_balances[start:stop],
            chunk.accounts,
            chunk.positions,
            np.zeros((count, slots), np.int16),
            chunk.closings,
            written,
            cursors,
            chunk.verdicts,
            chunk.equity,
            strategy.parameters[start:stop],
            np.zeros((count, strategy.memory)),
        )
        if (cursors[:, 1] == FULL).any():
            limit = strategy.actions_max
            detail = f"account {start + int(np.argmax(cursors[:, 1] == FULL))} asks for more than {limit} actions"
            raise BadInput(InputCode.TOO_MANY, detail, limit=limit)
        yield _compact(chunk, written, prices, cursors[:, 0] - begins, strategy.actions_max)


def _compact(chunk: Chunk, written: Actions, prices: PriceTable, counts: Ints, each: int) -> tuple[Chunk, ActionTable]:
    """Without the rows that nobody wrote."""
    used = np.flatnonzero((np.arange(each) < counts[:, None]).ravel())
    columns = {name: column[used] for name, column in written._asdict().items()}
    columns["symbol"] = layout.order_of(prices.symbols)[columns["symbol"]]
    account = np.repeat(np.arange(chunk.first, chunk.first + len(counts), dtype=np.int32), counts)
    verdicts = Verdicts(**{name: column[used] for name, column in chunk.verdicts._asdict().items()})
    return replace(chunk, rows=np.arange(len(used)), verdicts=verdicts), ActionTable(account=account, **columns)


def _empty(first: int, accounts: int, slots: int, shown: int, rows: Ints) -> Chunk:
    return Chunk(
        first=first,
        accounts=np.zeros(accounts, ACCOUNT),
        positions=np.zeros((accounts, slots), POSITION),
        closings=np.zeros((accounts, slots), CLOSING),
        rows=rows,
        verdicts=layout.verdicts(len(rows)),
        equity=np.empty((accounts, shown), np.int64),
    )


def _schedule(ticks: int, pace: Pace) -> Int8s:
    schedule = np.zeros(ticks, np.int8)
    marked = mark_ticks(ticks, pace.mark_every)
    schedule[marked] = MARKED
    if pace.equity_every:
        schedule[marked[mark_ticks(len(marked), pace.equity_every)]] = SHOWN
    return schedule


def _check(starting_balances: Ints, accounts: int) -> None:
    if starting_balances.dtype != np.int64 or starting_balances.shape != (accounts,):
        detail = f"starting balances are {starting_balances.dtype} {starting_balances.shape}, not int64 ({accounts},)"
        raise BadInput(InputCode.WRONG_SHAPE, detail)
    if (starting_balances <= 0).any() or (starting_balances >= RANGE).any():
        detail = f"the fast engine takes starting balances above 0 and below {decimal(RANGE)}"
        raise BadInput(InputCode.OUT_OF_RANGE, detail, limit=str(decimal(RANGE)))
