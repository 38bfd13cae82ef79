"""The auditor's own bookkeeping (I7): every figure of a ledger added up again, from quantities and prices alone.

Written from DESIGN section 2, with none of the engine's arithmetic. A correction is checked by going through the ledger
once more without the fills it took out.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import ROUND_HALF_EVEN, Context, Decimal
from typing import Any, Final, Protocol

Place = tuple[str, str]
Payload = Mapping[str, Any]

EXACT: Final = Context(prec=60)
ZERO: Final = Decimal(0)


class Row(Protocol):
    """A ledger row, as far as money goes."""

    @property
    def seq(self) -> int: ...
    @property
    def type(self) -> str: ...
    @property
    def payload(self) -> Payload: ...


@dataclass
class Holding:
    """What is held of a symbol on one side, and what it is worth at its last price."""

    sign: int
    quantity: Decimal = ZERO
    cost: Decimal = ZERO
    worth: Decimal = ZERO

    @property
    def unrealized(self) -> Decimal:
        return self.sign * (self.worth - self.cost)


class Books:
    """An account's money so far. `out`: fills that count as if they had never happened."""

    def __init__(self, opening: Payload, out: frozenset[str] = frozenset()) -> None:
        self.cash = self.peak = Decimal(opening["startingBalance"])
        self.realized = self.fees = ZERO
        self.held: dict[Place, Holding] = {}
        self.out = out
        self._opening = opening
        self._fee_share = EXACT.divide(Decimal(opening["policy"]["feeBps"]), Decimal(10_000))

    @property
    def unrealized(self) -> Decimal:
        return sum((holding.unrealized for holding in self.held.values()), ZERO)

    @property
    def equity(self) -> Decimal:
        return self.cash + self.unrealized

    def add(self, row: Row) -> Iterator[str]:
        """Take a row in; what it states otherwise than the rows before it make is yielded."""
        payload = row.payload
        if row.type == "fill_booked" and payload["fillId"] not in self.out:
            yield from self._differing(row, self._filled(payload))
        elif row.type.startswith("position_"):
            yield from self._differing(row, self._valued() | self._position(payload["position"]))
        elif row.type == "mark_to_market":
            yield from self._differing(row, self._marked(payload))
            yield from self._each_marked(row)

    def without(self, row: Row, before: Sequence[Row]) -> tuple["Books", Iterator[str]]:
        """The books without the fills that a correction takes out, and what it states otherwise."""
        books = Books(self._opening, self.out | frozenset(row.payload["fillIds"]))
        for each in before:
            for _ in books.add(each):
                """What the rows said was true before the correction."""
        stated = books._valued() | {"realizedPnl": books.realized, "feesPaid": books.fees}
        return books, books._differing(row, stated)

    def _filled(self, fill: Payload) -> dict[str, Decimal]:
        place = fill["symbol"], fill["side"]
        holding = self.held.setdefault(place, Holding(1 if fill["side"] == "long" else -1))
        quantity, price = Decimal(fill["quantity"]), Decimal(fill["price"])
        notional = _round8(EXACT.multiply(quantity, price))
        fee = _round8(EXACT.multiply(notional, self._fee_share))
        cost = realized = ZERO
        if fill["intent"] == "open":
            holding.quantity += quantity
            holding.cost += notional
        else:
            whole = quantity == holding.quantity
            share = EXACT.divide(EXACT.multiply(holding.cost, quantity), holding.quantity or Decimal(1))
            cost = holding.cost if whole else _round8(share)
            realized = holding.sign * (notional - cost)
            holding.quantity -= quantity
            holding.cost -= cost
        self.cash += realized - fee
        self.realized += realized
        self.fees += fee
        holding.worth = _round8(EXACT.multiply(holding.quantity, Decimal(fill["quote"]["mid"])))
        self.peak = max(self.peak, self.equity)
        return {"notional": notional, "fee": fee, "cost": cost, "realizedPnl": realized}

    def _marked(self, mark: Payload) -> dict[str, Decimal]:
        prices = {each["symbol"]: Decimal(each["price"]) for each in mark["marks"]}
        for (symbol, _), holding in self.held.items():
            if symbol in prices:
                holding.worth = _round8(EXACT.multiply(holding.quantity, prices[symbol]))
        self.peak = max(self.peak, self.equity)
        return self._valued() | {"unrealizedPnl": self.unrealized}

    def _each_marked(self, row: Row) -> Iterator[str]:
        marks = {(each["symbol"], each["side"]): Decimal(each["unrealizedPnl"]) for each in row.payload["marks"]}
        made = {place: holding.unrealized for place, holding in self.held.items() if holding.quantity}
        if marks != made:
            yield f"event {row.seq} marks {marks}, what is held makes {made}"

    def _position(self, position: Payload) -> dict[str, Decimal]:
        holding = self.held.get((position["symbol"], position["side"]), Holding(0))
        return {"quantity": holding.quantity, "entryNotional": holding.cost, "markNotional": holding.worth}

    def _valued(self) -> dict[str, Decimal]:
        return {"cash": self.cash, "equity": self.equity, "highWatermark": self.peak}

    def _differing(self, row: Row, made: Mapping[str, Decimal]) -> Iterator[str]:
        stated = {**row.payload.get("position", {}), **row.payload}
        for name, figure in made.items():
            if Decimal(stated[name]) != figure:
                yield f"event {row.seq} states {name} {stated[name]}, the fills make {figure}"
        for place, holding in self.held.items():
            if holding.quantity < 0:
                yield f"event {row.seq} takes more of {place} than there is"


def money(ledger: Sequence[Row], stored_cash: Decimal) -> Iterator[str]:
    """What the rows of an account, in order, state otherwise than its quantities and prices make."""
    books: Books | None = None
    for place, row in enumerate(ledger):
        if row.type == "account_created":
            books = Books(row.payload["opening"])
        elif books is None:
            return  # a ledger without its beginning is I3's
        elif row.type == "fill_voided":
            books, differing = books.without(row, ledger[:place])
            yield from differing
        else:
            yield from books.add(row)
    if books is not None and stored_cash != books.cash:
        yield f"the balance row holds {stored_cash}, the ledger makes {books.cash}"


def _round8(value: Decimal) -> Decimal:
    return value.quantize(Decimal("1e-8"), ROUND_HALF_EVEN, EXACT)
