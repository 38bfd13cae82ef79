"""Downsampling: few points, every one real, and neither the peak nor the trough is lost."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.curve import EquityPoint, Thinning
from engine.money import ZERO

BEGIN = datetime(2026, 1, 5, tzinfo=UTC)


def points(equities: list[int]) -> list[EquityPoint]:
    return [
        EquityPoint(
            at=BEGIN + timedelta(seconds=place),
            account_seq=place + 1,
            equity=Decimal(equity),
            cash=Decimal(equity),
            unrealized_pnl=ZERO,
            high_watermark=Decimal(max(equities[: place + 1])),
        )
        for place, equity in enumerate(equities)
    ]


def thinned(equities: list[int], keep: int) -> list[EquityPoint]:
    thinning = Thinning(total=len(equities), keep=keep)
    for point in points(equities):
        thinning.add(point)
    return list(thinning.points())


@given(st.lists(st.integers(-100, 100), max_size=300), st.integers(2, 60))
def test_what_is_kept(equities: list[int], keep: int):
    kept, whole = thinned(equities, keep), points(equities)
    assert len(kept) <= keep
    assert [point.account_seq for point in kept] == sorted({point.account_seq for point in kept})
    assert all(point in whole for point in kept)
    if len(whole) <= keep:
        assert kept == whole
    else:
        assert (kept[0], kept[-1]) == (whole[0], whole[-1])
        if keep >= 4:
            assert max(point.equity for point in kept) == max(equities)
            assert min(point.equity for point in kept) == min(equities)


def test_the_lowest_and_the_highest_of_each_stretch_in_their_order():
    equities = [0, 1, 5, 2, 3, -4, 9, 8, 7, 0]
    assert [int(point.equity) for point in thinned(equities, 6)] == [0, 1, 5, -4, 9, 0]
    assert [int(point.equity) for point in thinned(equities, 5)] == [0, -4, 9, 0]
    assert [int(point.equity) for point in thinned(equities, 3)] == [0, 0]


def test_a_level_stretch_is_one_point():
    assert [point.account_seq for point in thinned([1] * 10, 6)] == [1, 2, 6, 10]


def test_a_curve_has_two_ends():
    with pytest.raises(ValueError, match="two ends"):
        Thinning(total=5, keep=1)
