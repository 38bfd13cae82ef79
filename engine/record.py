"""Record: what an account's statistics are made of, kept event by event so that no end has to look back.

Two halves. The curve is equity as it was shown, by UTC calendar days; no correction changes what was shown. The tally
is what was traded; taking a fill out restates it. Both move only with events, so a replay keeps the same record.
"""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Final

import msgspec
from msgspec.structs import replace

from engine.money import ZERO, growth, shortfall, square, times, total
from engine.positions import Position

DAY: Final = timedelta(days=1)


class Tally(msgspec.Struct, frozen=True, gc=False, omit_defaults=True, rename="camel", kw_only=True):
    """Round trips, which are position episodes that were closed, and the notional of all fills.

    The net of a round trip is its realized PnL less its fees; `gains` and `losses` add up those above and below 0, both
    as positive money.
    """

    trades: int = 0
    wins: int = 0
    gains: Decimal = ZERO
    losses: Decimal = ZERO
    traded: Decimal = ZERO

    def filled(self, notional: Decimal) -> "Tally":
        return replace(self, traded=self.traded + notional)

    def closed(self, episode: Position) -> "Tally":
        net = episode.realized_pnl - episode.fees
        return replace(
            self,
            trades=self.trades + 1,
            wins=self.wins + (net > 0),
            gains=self.gains + max(net, ZERO),
            losses=self.losses + max(-net, ZERO),
        )


class Curve(msgspec.Struct, frozen=True, gc=False, omit_defaults=True, rename="camel", kw_only=True):
    """Equity by UTC days, from the start on. A day's return is its last equity by that of the day before, less 1.

    `day_ends` is the midnight that ends the day of the last event, `day_before` the equity that day began with. Over
    the `days` before: the sum of the returns, of their squares, and of the squares of those below 0, exact, at 18
    decimals a return. `broke`: a day began with no equity left, so returns mean nothing. `max_drawdown` is the largest
    share below the high watermark; `exposed_us` the time with a position, up to `exposed_since` where one is open.
    """

    day_ends: datetime
    day_before: Decimal
    days: int = 0
    returns: Decimal = ZERO
    squares: Decimal = ZERO
    downside: Decimal = ZERO
    broke: bool = False
    max_drawdown: Decimal = ZERO
    exposed_us: int = 0
    exposed_since: datetime | None = None

    def at(self, moment: datetime, equity: Decimal) -> "Curve":
        """The curve as a moment finds it, with the equity that stood until then: days that are over are closed."""
        return self if moment < self.day_ends else self.closed(equity, days=(moment - self.day_ends) // DAY + 1)

    def closed(self, equity: Decimal, *, days: int = 1) -> "Curve":
        """So many days end with this equity: only the first of them can have brought a change."""
        broke = self.broke or self.day_before <= 0 or (days > 1 and equity <= 0)
        change = ZERO if broke else growth(equity, self.day_before)
        squared = square(change)
        return replace(
            self,
            day_ends=self.day_ends + days * DAY,
            day_before=equity,
            days=self.days + days,
            returns=total(self.returns, change),
            squares=total(self.squares, squared),
            downside=total(self.downside, squared) if change < 0 else self.downside,
            broke=broke,
        )

    def shown(self, equity: Decimal, high_watermark: Decimal) -> "Curve":
        """Equity was shown."""
        if equity >= high_watermark or high_watermark - equity <= times(high_watermark, self.max_drawdown):
            return self  # most often, and a product is found sooner than a quotient
        below = shortfall(equity, high_watermark)
        return replace(self, max_drawdown=below) if below > self.max_drawdown else self

    def held(self, moment: datetime, *, is_exposed: bool) -> "Curve":
        """Positions are open, or none is, from this moment on."""
        if is_exposed == (self.exposed_since is not None):
            return self
        if self.exposed_since is None:
            return replace(self, exposed_since=moment)
        lasted = (moment - self.exposed_since) // timedelta(microseconds=1)
        return replace(self, exposed_us=self.exposed_us + lasted, exposed_since=None)


def begun(at: datetime, equity: Decimal) -> Curve:
    """The curve of an account that starts."""
    midnight = at.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    return Curve(day_ends=midnight + DAY, day_before=equity)
