"""Core: decide, evolve and record, without any IO: what an account costs its actor for each action and each mark.

The baseline of each row is the least that any ledger has to do with the same events: put them into their canonical form
and chain their hashes. So a ratio of 3 says that judging and booking cost twice what writing down costs.
"""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from benchmarks.timing import Figure, side_by_side
from engine import canonical
from engine.book import AccountBook, ActionBatch, Entry
from engine.commands import Action, CreateAccount, MarkToMarket, StartAccount
from engine.decide import Context
from engine.events import EVENT_TYPES, Event, RecordedEvent
from engine.money import round8
from engine.policy import Policy
from engine.quotes import Quote, observed
from persistence import codec

BEGIN = datetime(2026, 1, 5, 12, tzinfo=UTC)
OPERATIONS = 400
SYMBOLS = tuple(f"S{number}-USD" for number in range(10))
ROOMY = Policy(
    max_notional=round8(Decimal(10**9)),
    max_leverage=round8(Decimal(1000)),
    max_open_positions=100,
    fee_bps=round8(Decimal(10)),
)


class Bench:
    """An account, its market and its clock, with so many positions open and so many actions behind it."""

    def __init__(self, *, positions: int = 0, history: int = 0) -> None:
        opening = CreateAccount(owner_id="o", clone_id="c", policy=ROOMY, starting_balance=round8(Decimal(10**9)))
        self.book, _ = AccountBook.open(
            opening, account_id="019b8e2a-0000-7000-8000-000000000001", now=BEGIN, request_id="r"
        )
        self.now = BEGIN
        self.quotes = {symbol: _quote(symbol, BEGIN) for symbol in SYMBOLS}
        self.runs = 0
        self.book.submit(StartAccount(), self.context, request_id="r")
        for symbol in SYMBOLS[:positions]:
            self.takes(opens(symbol))
        for _ in range(history):
            self.takes(refused())

    @property
    def context(self) -> Context:
        return Context(self.now, self.quotes)

    def takes(self, action: Action) -> Entry:
        self.runs += 1
        taken = self.book.take(ActionBatch(f"run-{self.runs}", (action,)), self.context, request_id="request")
        if not isinstance(taken, Entry):
            raise TypeError(taken)
        return taken

    def marks(self) -> Entry:
        marked = self.book.submit(MarkToMarket("pass-1"), self.context, request_id="request")
        if not isinstance(marked, Entry):
            raise TypeError(marked)
        return marked


def opens(symbol: str = SYMBOLS[0]) -> Action:
    """Passes every gate."""
    return Action(
        decision_action_id="a1",
        action="open",
        symbol=symbol,
        side="long",
        quantity=round8(Decimal("0.01")),
        rationale="why",
    )


def refused() -> Action:
    """Too large, so that the largest size that would pass has to be found."""
    return Action(
        decision_action_id="a1", action="open", symbol=SYMBOLS[0], side="long", quantity=round8(Decimal(10**8))
    )


def figures() -> Iterator[Figure]:
    """Actions and marks, by what an account holds and how long its history is."""
    for positions in (0, 5):
        yield _of_actions(f"open, {positions} other positions", opens(), Bench(positions=positions))
        yield _of_actions(f"reject with maxQuantity, {positions} positions", refused(), Bench(positions=positions))
    for history in (200, 2_000, 20_000):
        yield _of_actions(f"open, {history:,} actions behind it", opens(), Bench(history=history))
    for positions in (1, 5, 10):
        yield _of_marks(positions, Bench(positions=positions))


def _of_marks(positions: int, bench: Bench) -> Figure:
    events = bench.marks().recorded
    return side_by_side(
        f"mark of {positions} positions",
        lambda: [bench.marks() for _ in range(OPERATIONS)],
        lambda: _written(events),
        operations=OPERATIONS,
    )


def _of_actions(name: str, action: Action, bench: Bench) -> Figure:
    events = bench.takes(action).recorded
    return side_by_side(
        name,
        lambda: [bench.takes(action) for _ in range(OPERATIONS)],
        lambda: _written(events),
        operations=OPERATIONS,
    )


def _written(recorded: tuple[RecordedEvent, ...]) -> None:
    """The same events, in canonical form and chained, as often as the subject makes them."""
    events: list[tuple[RecordedEvent, Event]] = [
        (each, codec.decode(each.type, each.version, each.payload)) for each in recorded
    ]
    for _ in range(OPERATIONS):
        head = canonical.GENESIS
        for each, event in events:
            head = canonical.chained(
                head,
                account_id=each.account_id,
                seq=each.seq,
                type_=each.type,
                version=EVENT_TYPES[each.type].VERSION,
                occurred_at=each.occurred_at,
                payload=canonical.canonical(event),
            )


def _quote(symbol: str, at: datetime) -> Quote:
    return observed(symbol, Decimal(100), Decimal(101), None, "bench", at - timedelta(milliseconds=20))
