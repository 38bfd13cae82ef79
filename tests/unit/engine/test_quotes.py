"""The age of a quote: in whole milliseconds, and never so rounded that it passes a limit it is past."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from engine.quotes import age_ms, observed, usable
from engine.rejections import Failure

NOW = datetime(2026, 1, 5, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("age_us", "shown_ms", "fresh"),
    [
        (0, 0, True),
        (1, 1, True),
        (-1, -1, True),
        (60_000_000, 60_000, True),
        (60_000_001, 60_001, False),
        (-5_000_000, -5_000, True),
        (-5_000_001, -5_001, False),
    ],
)
def test_a_begun_millisecond_counts_whole(age_us: int, shown_ms: int, fresh: bool) -> None:
    at = NOW - timedelta(microseconds=age_us)
    quote = observed("BTC-USD", Decimal(50_000), Decimal(50_000), None, "test", at)
    assert age_ms(quote, NOW) == shown_ms
    assert isinstance(usable({"BTC-USD": quote}, "BTC-USD", NOW, 60_000), Failure) != fresh
