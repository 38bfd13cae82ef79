"""From price rows to quotes: nothing raises, and what cannot be a price is never usable."""

from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal

import pytest

from engine.quotes import Quote, usable
from engine.rejections import Failure
from persistence.quotes import NEVER, latest

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
ONE = Decimal(1)


def test_a_plain_row_becomes_a_quote_at_scale_8():
    assert latest([("BTC-USD", Decimal("50000"), Decimal("50001"), None, "feed", NOW)]) == {
        "BTC-USD": Quote(
            "BTC-USD", Decimal("50000.00000000"), Decimal("50001.00000000"), Decimal("50000.50000000"), "feed", NOW
        )
    }


@pytest.mark.parametrize(
    ("bid", "ask", "mid"),
    [
        (Decimal("NaN"), ONE, ONE),
        (ONE, Decimal("Infinity"), ONE),
        (Decimal("-Infinity"), ONE, None),
        (None, ONE, None),
        (None, None, None),
        (ONE, None, ONE),
        (ONE, ONE, Decimal("NaN")),
        (-ONE, ONE, None),
        (ONE, ONE, Decimal(0)),
        (Decimal(2), ONE, None),
        (Decimal("1e131071"), Decimal("1e131071"), None),
        (Decimal("1e-16383"), ONE, ONE),
    ],
)
def test_what_cannot_be_a_price_is_never_usable(bid: Decimal | None, ask: Decimal | None, mid: Decimal | None):
    quotes = latest([("X", bid, ask, mid, "feed", NOW)])
    assert isinstance(usable(quotes, "X", NOW, 60_000), Failure)


def test_observed_at_no_time_is_stale():
    quotes = latest([("X", ONE, ONE, ONE, None, None)])
    assert quotes["X"].observed_at == NEVER
    assert isinstance(usable(quotes, "X", NOW, 10**9), Failure)


def test_times_are_utc_whatever_the_session_speaks():
    at = NOW.astimezone(timezone(timedelta(hours=9)))
    assert latest([("X", ONE, ONE, ONE, "feed", at)])["X"].observed_at.tzinfo is UTC


def test_the_last_observed_of_a_symbol_counts_and_nobodys_price_does_not():
    older = ("X", ONE, ONE, ONE, "older", NOW - timedelta(seconds=1))
    newer = ("X", ONE, ONE, ONE, "newer", NOW)
    assert {symbol: quote.source for symbol, quote in latest([newer, older, (None, *newer[1:])]).items()} == {
        "X": "newer"
    }
