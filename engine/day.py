"""Day: what an account's rules remember of the UTC calendar day it is in, and of the days before.

Owns the turn of the day: the first event of a later date finds the figures with which the last one ended, because
nothing else can have changed them. Moves only with events, so that a replay remembers the same.
"""

import datetime
from decimal import Decimal
from typing import Literal

import msgspec

FloorRule = Literal["max_drawdown", "max_daily_loss", "trailing_drawdown"]


class Day(msgspec.Struct, frozen=True, gc=False, rename="camel", kw_only=True):
    """Money in account currency. `closing_peak` is the highest balance that any day ended with, the starting balance at
    least; `trading_days` counts the days on which a position was opened, this one too once it `has_traded`."""

    date: datetime.date
    start_balance: Decimal
    start_equity: Decimal
    closing_peak: Decimal
    trading_days: int = 0
    has_traded: bool = False
    warned: tuple[FloorRule, ...] = ()

    def next(self, date: datetime.date, *, balance: Decimal, equity: Decimal) -> "Day":
        """The day that begins on `date` with these figures; days between, without events, ended with them too."""
        return Day(
            date=date,
            start_balance=balance,
            start_equity=equity,
            closing_peak=max(self.closing_peak, balance),
            trading_days=self.trading_days,
        )

    def traded(self) -> "Day":
        """A position was opened."""
        if self.has_traded:
            return self
        return msgspec.structs.replace(self, trading_days=self.trading_days + 1, has_traded=True)

    def warning(self, rule: FloorRule) -> "Day":
        """A warning was given; the rule gives no other today."""
        return msgspec.structs.replace(self, warned=(*self.warned, rule))


def first(date: datetime.date, starting_balance: Decimal) -> Day:
    """The day an account is created on."""
    return Day(date=date, start_balance=starting_balance, start_equity=starting_balance, closing_peak=starting_balance)
