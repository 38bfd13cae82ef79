"""The account: the whole live state of one synthetic account, and the table of its states.

Frozen: a decision works on one account value and `evolve` returns the next, so nothing is ever half done.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Final, Literal

import msgspec

from engine.commands import CreateAccount
from engine.day import Day
from engine.money import EXACT, ONE, STORED_MAX, ZERO, floor8, round8
from engine.policy import Policy
from engine.positions import Position, PositionKey
from engine.record import Curve, Tally

Status = Literal["pending", "active", "paused", "locked", "completed", "liquidated"]
Verb = Literal["start", "pause", "lock", "resume", "complete", "liquidate"]

TERMINAL: Final[frozenset[Status]] = frozenset({"completed", "liquidated"})
MARKED: Final[frozenset[Status]] = frozenset({"active", "paused"})

# DESIGN section 3, row by row; what is not listed is refused. A state leading to itself writes nothing.
TRANSITIONS: Final[Mapping[Status, Mapping[Verb, Status]]] = {
    "pending": {"start": "active"},
    "active": {
        "start": "active",
        "pause": "paused",
        "lock": "locked",
        "resume": "active",
        "complete": "completed",
        "liquidate": "liquidated",
    },
    "paused": {
        "pause": "paused",
        "lock": "locked",
        "resume": "active",
        "complete": "completed",
        "liquidate": "liquidated",
    },
    "locked": {"lock": "locked", "resume": "active", "complete": "completed", "liquidate": "liquidated"},
    "completed": {},
    "liquidated": {},
}


class Counters(msgspec.Struct, frozen=True, gc=False, rename="camel"):
    """How often things happened in an account's life."""

    actions: int = 0
    executed: int = 0
    rejected: int = 0
    orders: int = 0
    fills: int = 0
    marks: int = 0


class Account(msgspec.Struct, frozen=True, gc=False, omit_defaults=True, kw_only=True):
    """Live state after event `seq`. Money in account currency; `positions` holds the open ones.

    `stale` lists (symbol, code) of the quotes that kept the last mark from being taken. `day` is what the rules
    remember, None where the policy has none. `tally` and `curve` are what its statistics are made of. After the end
    nothing moves but the counters, by refusals; `final_counters` are those at the end.
    """

    id: str
    seq: int
    status: Status
    opening: CreateAccount
    created_at: datetime
    last_at: datetime
    cash: Decimal
    realized_pnl: Decimal = ZERO
    fees_paid: Decimal = ZERO
    adjustments: Decimal = ZERO
    high_watermark: Decimal
    positions: dict[PositionKey, Position] = {}
    stale: tuple[tuple[str, str], ...] = ()
    counters: Counters = Counters()
    started_at: datetime | None = None
    ended_at: datetime | None = None
    end_reason: str | None = None
    day: Day | None = None
    tally: Tally = Tally()
    curve: Curve | None = None
    final_counters: Counters | None = None

    @property
    def policy(self) -> Policy:
        return self.opening.policy

    @property
    def starting_balance(self) -> Decimal:
        return self.opening.starting_balance

    @property
    def is_terminal(self) -> bool:
        return self.status in TERMINAL

    @property
    def unrealized_pnl(self) -> Decimal:
        gains = ZERO
        for position in self.positions.values():  # on the way of every event, and a loop is quicker than a generator
            gains += position.unrealized_pnl
        return gains

    @property
    def equity(self) -> Decimal:
        equity = self.cash
        for position in self.positions.values():
            equity += position.unrealized_pnl
        return equity

    @property
    def margin_used(self) -> Decimal:
        margins = ZERO
        for position in self.positions.values():
            margins += position.margin_used
        return margins

    def day_at(self, at: datetime) -> Day | None:
        """The rules' day at `at`: on a later date it begins with the figures that stand now, however long ago they came
        to be. A clock that went back changes no day."""
        if self.day is None:
            return None
        today = at.astimezone(UTC).date()
        return self.day if today <= self.day.date else self.day.next(today, balance=self.cash, equity=self.equity)

    @property
    def drawdown(self) -> Decimal:
        """Share of the starting balance that is gone, not below 0; at most the largest that is kept."""
        return self.drawdown_at(self.equity)

    def drawdown_at(self, equity: Decimal) -> Decimal:
        """The same at an equity that is known already."""
        if equity >= self.starting_balance:
            return ZERO
        gone = round8(EXACT.subtract(ONE, EXACT.divide(equity, self.starting_balance)))
        return min(gone, STORED_MAX)

    @property
    def liquidation_equity(self) -> Decimal:
        """The highest equity that liquidates: starting * (1 - max drawdown), rounded down so that it is never above."""
        return floor8(EXACT.multiply(self.starting_balance, ONE - self.policy.max_drawdown))
