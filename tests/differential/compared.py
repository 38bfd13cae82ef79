"""One random world, lived twice: by the exact engine and by the fast one. Every difference is a defect."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from random import Random

import numpy as np

from engine.commands import Action
from engine.simulation import exact
from engine.simulation.actions import COLUMNS, FRACTION, NOTIONAL, QUANTITY, SIDES, UNSIZED, WORDS, ActionTable
from engine.simulation.chance import Chance
from engine.simulation.chunks import Chunk, Pace, chunks
from engine.simulation.entering import opened
from engine.simulation.exact import ExactRun, Recorded, Traded
from engine.simulation.kernel import NOT_JUDGED
from engine.simulation.layout import GIVEN_UP, REASONS, STATUSES, order_of
from engine.simulation.outcome import ACCOUNTS, FILLS, LIQUIDATIONS, REJECTIONS, Outcome
from engine.simulation.policies import PolicyTable
from engine.simulation.strategies import Entrant
from engine.simulation.units import moment, units
from engine.simulation.unpacking import given_up, outcome
from tests.differential.prober import Prober
from tests.differential.worlds import World, world

FIGURES = {"cash": "cash", "equity": "equity", "realized": "realized_pnl", "fees": "fees_paid"} | {
    name: name for name in ("high_watermark", "actions", "rejected", "fills", "marks")
}
"""Of an account: by the exact engine's name, the kernel's."""
UNTOLD = ("gates", "max_quantity")
"""What the fast engine does not tell of a rejection."""
SHOWN_MAX = 5


@dataclass
class Report:
    """What was compared. `codes` counts verdicts, `ends` how accounts ended."""

    accounts: int = 0
    actions: int = 0
    equities: int = 0
    given_up: int = 0
    codes: Counter[int] = field(default_factory=Counter)
    ends: Counter[str] = field(default_factory=Counter)
    differences: list[str] = field(default_factory=list)

    def add(self, other: "Report") -> None:
        self.accounts += other.accounts
        self.actions += other.actions
        self.equities += other.equities
        self.given_up += other.given_up
        self.codes.update(other.codes)
        self.ends.update(other.ends)
        self.differences += other.differences


def compared(seed: int, *, accounts: int = 24, ticks: int = 40) -> Report:
    """Everything that both engines tell of the world of a seed."""
    made = world(Random(seed), accounts=accounts, ticks=ticks)
    actions = probed(made, seed)
    slow = _exact(made, Recorded(table=actions, rows=np.arange(len(actions))))
    balances = np.full(accounts, units(made.starting_balance, "startingBalance"), np.int64)
    pace = Pace(mark_every=made.mark_every, equity_every=made.equity_every, accounts_a_chunk=accounts // 2 or 1)
    policies = PolicyTable.of(made.policies, made.prices.symbols)
    report = Report(accounts=accounts, actions=len(actions), equities=slow.outcome.equity.size)
    everyone = np.arange(len(actions))
    for chunk in chunks(made.prices, policies, balances, actions, pace):
        told = outcome(made.prices, actions, everyone, chunk, first=0, shown=slow.outcome.equity_ticks)
        if not given_up(chunk):
            report.differences += [f"seed {seed}: {each}" for each in _differing(slow.outcome, told)]
        report.codes.update(chunk.verdicts.code.tolist())
        report.given_up += int(np.count_nonzero(chunk.accounts["status"] == GIVEN_UP))
        report.ends.update(REASONS[reason] for reason in chunk.accounts["reason"].tolist())
        found = [f"seed {seed}: {each}" for each in _differences(made, actions, slow, chunk)]
        report.differences += found[:SHOWN_MAX]
    return report


def _differing(slow: Outcome, told: Outcome) -> Iterator[str]:
    """Tables of the same accounts."""
    for table, columns in (("fills", FILLS), ("liquidations", LIQUIDATIONS), ("rejections", REJECTIONS)):
        expected, got = getattr(slow, table), getattr(told, table)
        of_these = (expected["account"] >= told.first) & (expected["account"] < told.first + len(told))
        for name in columns:
            wanted = expected[name][of_these]
            if name not in UNTOLD and not np.array_equal(wanted, got[name]):
                yield f"{table}.{name} is {got[name][:20]}, not {wanted[:20]}"
    for name in ACCOUNTS:
        wanted, found = slow.accounts[name][told.first : told.first + len(told)], told.accounts[name]
        near = 2e-8 if found.dtype.kind == "f" else 0
        if not np.allclose(wanted, found, rtol=near, atol=near, equal_nan=True):
            places = np.flatnonzero(~np.isclose(wanted, found, rtol=near, atol=near, equal_nan=True)).tolist()
            yield f"accounts.{name} of {told.first + places[0]} is {found[places[0]]}, not {wanted[places[0]]}"
    reasons = list(slow.end_reasons[told.first : told.first + len(told)])
    if reasons != list(told.end_reasons):
        yield f"end reasons are {told.end_reasons}, not {reasons}"


def probed(made: World, seed: int) -> ActionTable:
    """Actions that the accounts of a world ask for, as the exact engine lets them see it."""
    probers = [
        Prober(
            Entrant(account=place, accounts=1, policy=each, symbols=made.prices.symbols, chance=Chance(0, place)), seed
        )
        for place, each in enumerate(made.policies)
    ]
    _exact(made, Traded(strategies=probers))
    asked = [(tick, place, action) for place, prober in enumerate(probers) for tick, action in prober.asked]
    last = made.prices.ticks - 1  # what an account asks for after its end
    asked += [(last, place, action) for place, prober in enumerate(probers) for _, action in prober.asked[:1]]
    return recorded(sorted(asked, key=lambda each: each[:2]), made.prices.symbols)


def recorded(asked: Sequence[tuple[int, int, Action]], symbols: tuple[str, ...]) -> ActionTable:
    """(tick, account, action), in order, as a table."""
    rows = [_row(tick, account, action, symbols) for tick, account, action in asked]
    if not rows:
        return ActionTable.empty()
    columns = zip(*rows, strict=True)
    named = zip(COLUMNS.items(), columns, strict=True)
    return ActionTable(**{name: np.array(column, dtype) for (name, dtype), column in named})


def _row(tick: int, account: int, action: Action, symbols: tuple[str, ...]) -> tuple[int, ...]:
    sizes = ((QUANTITY, action.quantity), (NOTIONAL, action.notional), (FRACTION, action.fraction))
    sizing, size = next(((kind, size) for kind, size in sizes if size is not None), (UNSIZED, Decimal(0)))
    if action.symbol is None or action.side is None:
        raise AssertionError("a prober names symbol and side")
    figures = (size, action.leverage or Decimal(0), action.min_price or Decimal(0), action.max_price or Decimal(0))
    return (
        account,
        tick,
        WORDS.index(action.action),
        symbols.index(action.symbol),
        SIDES.index(action.side),
        sizing,
        *(units(figure, "a figure") for figure in figures),
    )


def _exact(made: World, acting: Recorded | Traded) -> ExactRun:
    books = opened(made.policies, moment(int(made.prices.times[0])), starting_balance=made.starting_balance)
    return exact.run(made.prices, books, acting, mark_every=made.mark_every, equity_every=made.equity_every)


def _differences(made: World, actions: ActionTable, slow: ExactRun, chunk: Chunk) -> Iterator[str]:
    outcome = slow.outcome
    if outcome.verdicts is None:
        raise AssertionError("recorded actions have verdicts")
    is_judged = chunk.verdicts.code != NOT_JUDGED
    placed = np.argsort(outcome.verdicts["action"])[chunk.rows]
    for name in ("code", "price", "quantity", "fee", "realized"):
        expected, got = outcome.verdicts[name][placed], getattr(chunk.verdicts, name)
        for place in np.flatnonzero((expected != got) & is_judged).tolist():
            row = int(chunk.rows[place])
            action = actions.action(row, made.prices.symbols, "")
            where = f"account {actions.account[row]}, tick {actions.tick[row]}, {action}"
            yield f"{name} is {got[place]}, not {expected[place]}: {where}"
    for place, record in enumerate(chunk.accounts):
        if record["status"] == GIVEN_UP:
            continue
        account = chunk.first + place
        yield from (f"account {account}: {each}" for each in _of_account(made, slow, account, chunk, place))


def _of_account(made: World, slow: ExactRun, account: int, chunk: Chunk, place: int) -> Iterator[str]:
    record, outcome, live = chunk.accounts[place], slow.outcome, slow.books[account]
    figures = [(name, outcome.accounts[name][account], record[kernels]) for name, kernels in FIGURES.items()]
    figures += [("status", live.status, STATUSES[record["status"]])]
    figures += [("end", live.end_reason or "", REASONS[record["reason"]])]
    figures += [("ended", outcome.accounts["ended_tick"][account], record["ended_tick"])]
    wrong = np.flatnonzero(outcome.equity[:, account] != chunk.equity[place])
    figures += [(f"equity {row}", outcome.equity[row, account], chunk.equity[place, row]) for row in wrong[:1].tolist()]
    if live.day is not None and not live.is_terminal:
        figures += [("closing peak", units(live.day.closing_peak, "peak"), record["closing_peak"])]
        figures += [("trading days", live.day.trading_days, record["trading_days"])]
    for column, symbol in enumerate(made.prices.symbols[place] for place in order_of(made.prices.symbols)):
        for side in (0, 1):
            slot, position = chunk.positions[place, 2 * column + side], live.positions.get((symbol, SIDES[side]))
            held = (
                [position.quantity, position.entry_notional, position.mark_notional] if position else [Decimal(0)] * 3
            )
            names = ("quantity", "cost", "worth")
            figures += [
                (f"{symbol} {name}", units(each, name), slot[name]) for name, each in zip(names, held, strict=True)
            ]
    closed = outcome.fills["tick"][(outcome.fills["account"] == account) & (outcome.fills["intent"] >= 2)]
    for name, expected, got in figures:
        if expected != got:
            yield f"{name} is {got}, not {expected} ({len(closed)} closing fills)"
