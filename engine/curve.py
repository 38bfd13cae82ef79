"""Curve: equity over time as points, and how many points become few.

Downsampling keeps the first and the last point and, of each of equally many stretches between them, the lowest and the
highest (min/max decimation). So every point shown was one, no peak and no trough of a stretch is lost, and the result
does not depend on how the points arrive. (LTTB looks smoother and may drop the very trough that liquidated an account.)
"""

from datetime import datetime
from decimal import Decimal
from typing import Final

from engine.views import View

EQUITY_EVENTS: Final = (
    "account_created",
    "position_opened",
    "position_increased",
    "position_reduced",
    "position_closed",
    "mark_to_market",
    "fill_voided",
)
"""Events that show what an account is worth; the first one shows its starting balance."""


class EquityPoint(View, frozen=True, kw_only=True):
    """What an account was worth once event `account_seq` had happened."""

    at: datetime
    account_seq: int
    equity: Decimal
    cash: Decimal
    unrealized_pnl: Decimal
    high_watermark: Decimal


class Thinning:
    """Takes `total` points one by one, in order, and holds at most `keep` of them (2 or more)."""

    def __init__(self, *, total: int, keep: int) -> None:
        if keep < 2:
            raise ValueError("a curve needs its two ends")
        self._total = total
        self._keep = keep
        self._stretches = (keep - 2) // 2
        self._kept: list[EquityPoint] = []
        self._seen = 0
        self._stretch = 0
        self._lowest: EquityPoint | None = None
        self._highest: EquityPoint | None = None

    def add(self, point: EquityPoint) -> None:
        place = self._seen
        self._seen += 1
        if self._total <= self._keep or place == 0 or place == self._total - 1:
            self._end_stretch()
            self._kept.append(point)
        elif self._stretches:
            stretch = (place - 1) * self._stretches // (self._total - 2)
            if stretch != self._stretch:
                self._end_stretch()
                self._stretch = stretch
            if self._lowest is None or point.equity < self._lowest.equity:
                self._lowest = point
            if self._highest is None or point.equity > self._highest.equity:
                self._highest = point

    def points(self) -> tuple[EquityPoint, ...]:
        """What was kept, in order. Call it once, after the last `add`."""
        self._end_stretch()
        return tuple(self._kept)

    def _end_stretch(self) -> None:
        ends = {point.account_seq: point for point in (self._lowest, self._highest) if point is not None}
        self._kept += [ends[seq] for seq in sorted(ends)]
        self._lowest = self._highest = None
