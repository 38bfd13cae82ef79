"""Exact: many accounts over many ticks by the live core itself, without persistence (G9).

At every tick, for every account: its actions in order, judged at that tick's time and quotes, then the mark. Accounts
never meet, so any part of them gives what all of them give, and they are run in parts to bound memory: what is held
is one part's state and what it has brought so far.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from traceback import extract_tb
from typing import Final

import numpy as np
from msgspec.structs import replace

from engine.account import Account
from engine.book import AccountBook
from engine.commands import Action, CompleteAccount, MarkToMarket
from engine.decide import Context, decide
from engine.events import RecordedEvent
from engine.ids import derived_id
from engine.simulation.actions import ActionTable
from engine.simulation.faults import StrategyFailed
from engine.simulation.outcome import Outcome
from engine.simulation.prices import PriceTable
from engine.simulation.schedule import mark_ticks
from engine.simulation.seat import Seat
from engine.simulation.strategies import Sight, Strategy, checked
from engine.simulation.tallying import Tallying
from engine.simulation.units import Ints, moment

MARKING: Final = "simulation"
"""Passes are named as if this account had them, at the seq of their tick: the same for every account and shard."""


@dataclass(frozen=True, kw_only=True)
class Recorded:
    """Actions of these accounts that were recorded before; indexes of accounts begin at 0. `rows`: which of all
    recorded actions they are."""

    table: ActionTable
    rows: Ints


@dataclass(frozen=True, kw_only=True)
class Traded:
    """A strategy an account, in order."""

    strategies: Sequence[Strategy]


@dataclass(frozen=True, kw_only=True)
class ExactRun:
    """What an exact run came to. `ledgers`, by account, are empty where none was asked for."""

    outcome: Outcome
    ledgers: tuple[tuple[RecordedEvent, ...], ...]
    books: tuple[Account, ...]


def run(
    prices: PriceTable,
    books: Sequence[AccountBook],
    acting: Recorded | Traded,
    *,
    first: int = 0,
    mark_every: int = 1,
    equity_every: int = 1,
    keeps_ledger: bool = False,
    on_tick: Callable[[int], None] = lambda tick: None,
) -> ExactRun:
    """Move the accounts of `books`, which are active, over all ticks. `first` is the index of the first of them.

    `equity_every`: of that many marks the last is kept. `on_tick` is told how many ticks are done. Raises `BadInput`
    where a figure of an account does not fit a table any more, `StrategyFailed` where a strategy raises.
    """
    seats = [Seat(book, keeps_ledger=keeps_ledger) for book in books]
    marked = mark_ticks(prices.ticks, mark_every)
    kept = marked[mark_ticks(len(marked), equity_every)]
    equity = np.zeros((len(kept), len(seats)), np.int64)
    tallying = Tallying(prices.symbols, first, acting.rows.tolist() if isinstance(acting, Recorded) else None)
    is_marked, rows = set(marked.tolist()), {tick: row for row, tick in enumerate(kept.tolist())}
    recorded = _by_tick(acting.table, prices.symbols) if isinstance(acting, Recorded) else iter(())
    due = next(recorded, None)
    for tick, (now, quotes) in enumerate(prices.vectors()):
        context = Context(now, quotes)
        if isinstance(acting, Traded):
            for place, seat in enumerate(seats):
                if seat.account.status == "active":
                    actions = _asked(acting.strategies[place], seat, context, prices, tick)
                    if actions:
                        tallying.acted(place, tick, seat.act(_run_id(tick), actions, context))
        elif due is not None and due.tick == tick:
            for place, actions in due.actions:
                tallying.acted(place, tick, seats[place].act(_run_id(tick), actions, context))
            due = next(recorded, None)
        if tick in is_marked:
            due_marks = [(place, seat) for place, seat in enumerate(seats) if seat.is_marked]
            pass_id = derived_id("pass", MARKING, tick, now) if due_marks else ""
            for place, seat in due_marks:
                tallying.marked(place, tick, seat.submit(MarkToMarket(pass_id), context))
        if tick in rows:
            equity[rows[tick]] = [seat.equity_units for seat in seats]
        on_tick(tick + 1)
    end = Context(moment(int(prices.times[-1])), {})
    outcome = tallying.outcome(kept, equity, [(seat.account, _ended(seat.account, end)) for seat in seats])
    ledgers = tuple(tuple(seat.ledger) for seat in seats)
    return ExactRun(outcome=outcome, ledgers=ledgers, books=tuple(seat.account for seat in seats))


def _run_id(tick: int) -> str:
    return f"tick-{tick}"


def _asked(strategy: Strategy, seat: Seat, context: Context, prices: PriceTable, tick: int) -> list[Action]:
    """What a strategy wants, each under a key: its own, or its place."""
    try:
        asked = list(strategy.decide(Sight(seat.account, context, prices, tick)))
    except Exception as failed:  # whatever it is, it is theirs, and has to be told as theirs
        where = extract_tb(failed.__traceback__)[-1]
        what = f"{type(failed).__name__}: {failed} ({where.filename}:{where.lineno})"
        clone = seat.account.opening.clone_id
        raise StrategyFailed(f"the strategy of {clone} failed at tick {tick}: {what}") from failed
    return [
        action if action.decision_action_id else replace(action, decision_action_id=str(place))
        for place, action in enumerate(map(checked, asked))
    ]


@dataclass(frozen=True)
class _Due:
    """Recorded actions of one tick, by account in order."""

    tick: int
    actions: list[tuple[int, list[Action]]]


def _by_tick(table: ActionTable, symbols: tuple[str, ...]) -> Iterator[_Due]:
    due = _Due(-1, [])
    for row in table.rows():
        if row.tick != due.tick:
            if due.actions:
                yield due
            due = _Due(row.tick, [])
        if not due.actions or due.actions[-1][0] != row.account:
            due.actions.append((row.account, []))
        actions = due.actions[-1][1]
        actions.append(row.action(symbols, str(len(actions))))
    if due.actions:
        yield due


def _ended(account: Account, end: Context) -> Account:
    """The account as its statistics see it: one that goes on counts as ended now, its positions at their last mark."""
    return account if account.is_terminal else decide(account, CompleteAccount("none"), end).account
