"""Plan: everything a simulation needs to be run, in whole or in shards, here or elsewhere.

Guarantee: what a shard comes to depends on the plan and on its accounts alone, so any cut of the accounts into shards,
run anywhere in any order, gives the same outcome.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Final, Literal, get_args

import numpy as np

from engine.book import AccountBook
from engine.policy import Policy
from engine.simulation import exact
from engine.simulation.actions import ActionTable
from engine.simulation.chance import SEED_MAX, Chance
from engine.simulation.entering import STARTING_BALANCE, forked, opened
from engine.simulation.faults import BadInput, InputCode
from engine.simulation.outcome import Outcome
from engine.simulation.policies import checked
from engine.simulation.prices import PriceTable
from engine.simulation.schedule import mark_ticks
from engine.simulation.scripts import Cast, Script
from engine.simulation.strategies import Entrant, MakesStrategy, Strategy
from engine.simulation.units import moment, units

EngineName = Literal["exact", "fast"]
ACCOUNTS_MAX: Final = 10_000_000
EXACT_SHARD_ACCOUNTS: Final = 250
"""In one exact shard: their states are held at once, and each tick's quotes are made once for all of them."""
FAST_SHARD_ACCOUNTS: Final = 4_096
FAST_SHARD_EQUITIES: Final = 4_000_000
"""Figures of equity in one fast shard."""


@dataclass(frozen=True, kw_only=True)
class Variant:
    """Policies under test. `settings` says in which figures they differ from others', by name: what a sweep varied.

    `policy`: one for all accounts, or one an account, by number; None: that of the account that is forked.
    """

    name: str
    policy: Policy | tuple[Policy, ...] | None
    settings: tuple[tuple[str, str], ...] = ()

    def of(self, numbers: range) -> list[Policy | None]:
        if isinstance(self.policy, tuple):
            return [self.policy[number] for number in numbers]
        return [self.policy] * len(numbers)


@dataclass(frozen=True, eq=False, kw_only=True)
class Plan:
    """`accounts` of each variant, variant after variant: account `i` is number `i % accounts` of its variant.

    Accounts with the same number share chance and recorded actions, so that variants differ by their policy alone.
    `origin`: the account that all of them continue, where they are forks of one. `acting` is a table of recorded
    actions, whose accounts are such numbers, a script that writes them, or what makes a strategy an account.
    """

    prices: PriceTable
    acting: ActionTable | Script | MakesStrategy
    variants: tuple[Variant, ...]
    accounts: int
    engine: EngineName = "exact"
    starting_balance: Decimal = STARTING_BALANCE
    mark_every: int = 1
    equity_every: int = 1
    seed: int = 0
    origin: AccountBook | None = None

    def __post_init__(self) -> None:
        _check(self)

    @property
    def size(self) -> int:
        """Accounts of all variants."""
        return self.accounts * len(self.variants)

    @property
    def cells(self) -> int:
        """Accounts times ticks."""
        return self.size * self.prices.ticks

    def variant_of(self, account: int) -> Variant:
        return self.variants[account // self.accounts]

    @property
    def shard_accounts_max(self) -> int:
        """By the memory that a shard takes: the fast engine's is what it shows of equity."""
        if self.engine == "exact":
            return EXACT_SHARD_ACCOUNTS
        shown = max(1, self.prices.ticks // (self.mark_every * self.equity_every))
        return max(EXACT_SHARD_ACCOUNTS, min(FAST_SHARD_ACCOUNTS, FAST_SHARD_EQUITIES // shown))

    def shards(self, accounts_max: int | None = None) -> list[tuple[int, int]]:
        """(start, stop) of shards of at most so many accounts, each of one variant."""
        accounts_max = accounts_max or self.shard_accounts_max
        return [
            (first + start, first + min(start + accounts_max, self.accounts))
            for first in range(0, self.size, self.accounts)
            for start in range(0, self.accounts, accounts_max)
        ]


def run_shard(plan: Plan, start: int, stop: int, on_tick: Callable[[int], None] = lambda tick: None) -> Outcome:
    """What accounts from `start` to before `stop`, all of one variant, come to. The fast engine is done at once."""
    variant, first = plan.variant_of(start), start - start % plan.accounts
    numbers = range(start - first, stop - first)
    policies = variant.of(numbers)
    recorded = _recorded(plan, policies, numbers)
    if plan.engine == "fast":
        outcome = _fast(plan, policies, recorded, start)
        on_tick(plan.prices.ticks)
    else:
        books = _books(plan, policies, start)
        outcome = exact.run(
            plan.prices,
            books,
            exact.Traded(strategies=_strategies(plan, books, numbers)) if recorded is None else recorded,
            first=start,
            mark_every=plan.mark_every,
            equity_every=plan.equity_every,
            on_tick=on_tick,
        ).outcome
    return outcome if isinstance(plan.acting, ActionTable) else replace(outcome, verdicts=None)


def _recorded(plan: Plan, policies: Sequence[Policy | None], numbers: range) -> exact.Recorded | None:
    """The actions of these accounts, where they are known beforehand."""
    if isinstance(plan.acting, ActionTable):
        table = plan.acting.of_accounts(numbers.start, numbers.stop)
        return exact.Recorded(table=table, rows=plan.acting.rows_of(numbers.start, numbers.stop))
    if not isinstance(plan.acting, Script):
        return None
    opening = None if plan.origin is None else plan.origin.account.opening
    usual = Policy() if opening is None else opening.policy
    cast = Cast(
        numbers=numbers,
        policies=[usual if policy is None else policy for policy in policies],
        starting_balance=plan.starting_balance if opening is None else opening.starting_balance,
        seed=plan.seed,
    )
    written = plan.acting.write(plan.prices, cast)
    written.check(prices=plan.prices, accounts=len(numbers))
    return exact.Recorded(table=written, rows=np.arange(len(written)))


def _fast(plan: Plan, policies: Sequence[Policy | None], recorded: exact.Recorded | None, start: int) -> Outcome:
    from engine.simulation import fast  # numba takes a second to import: the exact engine does without

    if recorded is None:
        raise AssertionError("the fast engine takes actions that are known beforehand")
    return fast.run(
        plan.prices.owned(),
        [Policy() if policy is None else policy for policy in policies],
        plan.starting_balance,
        recorded,
        first=start,
        mark_every=plan.mark_every,
        equity_every=plan.equity_every,
    )


def _books(plan: Plan, policies: Sequence[Policy | None], start: int) -> list[AccountBook]:
    if plan.origin is not None:
        return forked(plan.origin, policies)
    at = moment(int(plan.prices.times[0]))
    given = [Policy() if policy is None else policy for policy in policies]
    return opened(given, at, first=start, starting_balance=plan.starting_balance)


def _strategies(plan: Plan, books: Sequence[AccountBook], numbers: range) -> list[Strategy]:
    if isinstance(plan.acting, ActionTable | Script):
        raise AssertionError("what is known beforehand needs no strategies")
    return [
        plan.acting(
            Entrant(
                account=number,
                accounts=plan.accounts,
                policy=book.account.policy,
                symbols=plan.prices.symbols,
                chance=Chance(plan.seed, number),
            )
        )
        for number, book in zip(numbers, books, strict=True)
    ]


def _check(plan: Plan) -> None:
    if plan.accounts < 1 or not plan.variants:
        raise BadInput(InputCode.EMPTY, "there are no accounts")
    if plan.size > ACCOUNTS_MAX:
        raise BadInput(InputCode.TOO_MANY, f"{plan.size:,} accounts: at most {ACCOUNTS_MAX:,}", limit=ACCOUNTS_MAX)
    if plan.engine not in get_args(EngineName):
        raise BadInput(InputCode.UNKNOWN_WORD, f"no engine {plan.engine!r}: exact or fast", engine=plan.engine)
    if not 0 <= plan.seed <= SEED_MAX:
        raise BadInput(InputCode.OUT_OF_RANGE, f"a seed is 0 to {SEED_MAX}, not {plan.seed}", limit=SEED_MAX)
    if plan.starting_balance <= 0:
        raise BadInput(InputCode.OUT_OF_RANGE, f"a starting balance is above 0, not {plan.starting_balance}")
    units(plan.starting_balance, "a starting balance")
    mark_ticks(mark_ticks(plan.prices.ticks, plan.mark_every).size, plan.equity_every)
    for variant in plan.variants:
        if isinstance(variant.policy, tuple) and len(variant.policy) != plan.accounts:
            detail = f"{len(variant.policy)} policies for {plan.accounts} accounts"
            raise BadInput(InputCode.WRONG_SHAPE, detail, count=len(variant.policy))
        for policy in {policy for policy in variant.of(range(plan.accounts)) if policy is not None}:
            checked(policy)
    if plan.engine == "fast" and (plan.origin is not None or not isinstance(plan.acting, ActionTable | Script)):
        what = "recorded actions and scripts of new accounts"
        raise BadInput(InputCode.UNSUPPORTED, f"the fast engine takes {what}: use the exact engine", engine="fast")
    if isinstance(plan.acting, ActionTable):
        plan.acting.check(prices=plan.prices, accounts=plan.accounts)
    if plan.origin is not None:
        last_at, first = plan.origin.account.last_at, moment(int(plan.prices.times[0]))
        if first < last_at:
            detail = f"prices begin at {first:%F %T}, before the account stood as it does ({last_at:%F %T})"
            raise BadInput(InputCode.NOT_SORTED, detail)
