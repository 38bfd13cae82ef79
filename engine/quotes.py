"""Quotes: observed prices, and when one may be used.

Guarantee (G7): a price leaves this module only through `usable`, which knows missing, invalid and stale.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Final, Literal

import msgspec

from engine.money import INPUT_MAGNITUDE, ZERO, midpoint, round8
from engine.rejections import Failure, GateCode

FUTURE_MS_MAX: Final = 5_000
"""A quote observed further ahead of now than this is not believed."""
QUOTE_AGE_MS_TRADE: Final = 60_000
QUOTE_AGE_MS_MARK: Final = 120_000

Use = Literal["trade", "mark", "liquidate"]
_MILLISECOND: Final = timedelta(milliseconds=1)
_NOTHING: Final = timedelta(0)


class Quote(msgspec.Struct, frozen=True, gc=False, rename="camel"):
    """The latest observed prices of a symbol, in account currency a unit, at scale 8."""

    symbol: str
    bid: Decimal
    ask: Decimal
    mid: Decimal
    source: str
    observed_at: datetime


Quotes = Mapping[str, Quote]
"""One price vector: the quotes that one decision or one marking pass sees."""


def observed(
    symbol: str, bid: Decimal | None, ask: Decimal | None, mid: Decimal | None, source: str, at: datetime
) -> Quote:
    """A quote as Data Ingestion wrote it, brought to scale 8; what cannot be a price becomes NaN and stays unusable."""
    at_scale = [_at_scale(price) for price in (bid, ask)]
    middle = midpoint(*at_scale) if mid is None else _at_scale(mid)
    return Quote(symbol, at_scale[0], at_scale[1], middle, source, at)


def fault(quote: Quote | None) -> str | None:
    """Why a quote is no price at all: `none`, `not_a_number`, `non_positive`, or `crossed` (a mid outside bid and ask
    contradicts them as a bid above the ask does)."""
    if quote is None:
        return "none"
    bid, ask, mid = quote.bid, quote.ask, quote.mid
    if not (bid.is_finite() and ask.is_finite() and mid.is_finite()):
        return "not_a_number"
    if not (bid > ZERO and ask > ZERO and mid > ZERO):
        return "non_positive"
    if not bid <= mid <= ask:
        return "crossed"
    return None


def age_ms(quote: Quote, now: datetime) -> int:
    """Milliseconds since the quote was observed, a begun one counted whole; negative when it lies ahead of now.

    So a quote that is the least bit older than a limit, or further ahead, is past it."""
    age = now - quote.observed_at
    return age // _MILLISECOND if age < _NOTHING else -(-age // _MILLISECOND)


def is_fresh(quote: Quote, now: datetime, age_ms_max: int) -> bool:
    return -FUTURE_MS_MAX <= age_ms(quote, now) <= age_ms_max


def usable(quotes: Quotes, symbol: str, now: datetime, age_ms_max: int) -> Quote | Failure:
    """The symbol's quote, or the gate failure that forbids its use."""
    quote = quotes.get(symbol)
    reason = fault(quote)
    if quote is None or reason is not None:
        return Failure(GateCode.PRICE_MISSING, {"symbol": symbol, "reason": reason or "none"})
    if not is_fresh(quote, now, age_ms_max):
        return Failure(
            GateCode.PRICE_STALE,
            {"symbol": symbol, "ageMs": age_ms(quote, now), "ageMsMax": age_ms_max, "futureMsMax": FUTURE_MS_MAX},
        )
    return quote


def _at_scale(price: Decimal | None) -> Decimal:
    if price is None or not price.is_finite() or abs(price) >= INPUT_MAGNITUDE:
        return Decimal("NaN")
    return round8(price)
