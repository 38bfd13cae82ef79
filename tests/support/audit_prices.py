"""The auditor's view of prices (I9, G7): every fill and every mark is at what a recorded, fresh quote makes of it.

Written from DESIGN section 2 to 5, with none of the engine's arithmetic. Recorded quotes have no mid of their own, so
theirs is the middle.
"""

from collections.abc import Iterator, Mapping, Sequence, Set
from datetime import datetime, timedelta
from decimal import ROUND_HALF_EVEN, Context, Decimal
from typing import Any, Final, Protocol

Payload = Mapping[str, Any]
QuoteKey = tuple[str, Decimal, Decimal, datetime]

AHEAD_MAX: Final = timedelta(seconds=5)
EXACT: Final = Context(prec=60)


class Row(Protocol):
    """A ledger row, as far as prices go."""

    @property
    def seq(self) -> int: ...
    @property
    def type(self) -> str: ...
    @property
    def at(self) -> datetime: ...
    @property
    def payload(self) -> Payload: ...


def prices(ledger: Sequence[Row], recorded: Set[QuoteKey]) -> Iterator[str]:
    """What the rows of an account, in order, were priced at that nobody recorded, or not so lately.

    The age of a quote is what the ledger's times make it. They stand still where a clock was set back; then the order
    says at which age its gates judged, and a mark says nothing.
    """
    policy: Payload = {}
    middles = {(symbol, _middle(bid, ask), at) for symbol, bid, ask, at in recorded}
    for place, row in enumerate(ledger):
        if row.type == "account_created":
            policy = row.payload["opening"]["policy"]
        elif row.type == "fill_booked":
            yield from _fill(ledger[place - 2], ledger[place - 1], row, policy, recorded)
        elif row.type == "mark_to_market":
            yield from _marks(ledger[place - 1], row, policy, middles)


def _fill(before: Row, order: Row, row: Row, policy: Payload, recorded: Set[QuoteKey]) -> Iterator[str]:
    fill, quote = row.payload, row.payload["quote"]
    bid, ask, observed_at = Decimal(quote["bid"]), Decimal(quote["ask"]), datetime.fromisoformat(quote["observedAt"])
    if (quote["symbol"], bid, ask, observed_at) not in recorded or Decimal(quote["mid"]) != _middle(bid, ask):
        yield f"event {row.seq} was filled at a quote that nobody recorded: {quote}"
    price = _paid(bid, ask, policy, is_buy=(fill["side"] == "long") == (fill["intent"] == "open"))
    if Decimal(fill["price"]) != price or quote["symbol"] != fill["symbol"]:
        yield f"event {row.seq} was filled at {fill['price']}, its quote makes {price}"
    age = row.at - observed_at
    if order.type == "order_validated" and order.at == before.at:
        age = timedelta(milliseconds=order.payload["quoteAgeMs"])
    age_max = policy["quoteMaxAgeMs"]["liquidate" if fill["intent"] == "liquidate" else "trade"]
    if not -AHEAD_MAX <= age <= timedelta(milliseconds=age_max):
        yield f"event {row.seq} was filled at a quote of {observed_at}, at {row.at}"


def _marks(before: Row, row: Row, policy: Payload, middles: Set[tuple[str, Decimal, datetime]]) -> Iterator[str]:
    age_max = timedelta(milliseconds=policy["quoteMaxAgeMs"]["mark"])
    for mark in row.payload["marks"]:
        observed_at = datetime.fromisoformat(mark["observedAt"])
        if (mark["symbol"], Decimal(mark["price"]), observed_at) not in middles:
            yield f"event {row.seq} marks {mark['symbol']} at {mark['price']}, which is no quote of {observed_at}"
        if row.at > before.at and not -AHEAD_MAX <= row.at - observed_at <= age_max:
            yield f"event {row.seq} marks at a quote of {observed_at}, at {row.at}"


def _paid(bid: Decimal, ask: Decimal, policy: Payload, *, is_buy: bool) -> Decimal:
    match policy["slippageModel"]:
        case "spread":
            return ask if is_buy else bid
        case "fixed_bps":
            slip = EXACT.divide(Decimal(policy["slippageBps"]), Decimal(10_000))
            return _round8(EXACT.multiply(_middle(bid, ask), 1 + slip if is_buy else 1 - slip))
        case _:
            return _middle(bid, ask)


def _middle(bid: Decimal, ask: Decimal) -> Decimal:
    return _round8(EXACT.divide(EXACT.add(bid, ask), Decimal(2)))


def _round8(value: Decimal) -> Decimal:
    return value.quantize(Decimal("1e-8"), ROUND_HALF_EVEN, EXACT)
