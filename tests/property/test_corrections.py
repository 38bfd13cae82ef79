"""Corrections over any history: what is left is what would have been, and everything still adds up."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, cast

import msgspec
from hypothesis import assume, event, given, note
from hypothesis import strategies as st

from engine.book import AccountBook, ActionBatch, Entry, replayed
from engine.changes import changes
from engine.commands import Action, CreateAccount, MarkToMarket, StartAccount, VoidFill
from engine.decide import Context
from engine.events import EVENT_TYPES, FillVoided, RecordedEvent
from engine.money import ZERO, round8
from engine.policy import LONG, SHORT, MaxDailyLoss, Policy, Side
from engine.positions import Position
from engine.quotes import Quote
from engine.rejections import Refusal
from tests.support.rows import Rows

BEGIN = datetime(2026, 1, 5, 12, 0, tzinfo=UTC)
ACCOUNT_ID = "019b8e2a-0000-7000-8000-000000000003"
SYMBOLS = ("AAA-USD", "BBB-USD")
OPENING = CreateAccount(
    owner_id="owner",
    clone_id="clone",
    policy=Policy(
        max_leverage=Decimal(1000),
        max_notional=Decimal(10**9),
        max_drawdown=Decimal(1),
        max_daily_loss=MaxDailyLoss(amount=Decimal(10**9)),  # far away, but the days are counted
    ),
)
SIDES: st.SearchStrategy[Side] = st.sampled_from([LONG, SHORT])
UNITS = st.integers(1, 300_000_000).map(lambda units: Decimal(units).scaleb(-8))


class Deed(msgspec.Struct, frozen=True):
    """One thing that is done to an account at prices of its own: quantities are absolute, so a twin can do the same."""

    what: str
    symbol: str
    side: Side
    quantity: Decimal
    leverage: Decimal
    prices: tuple[Decimal, ...]
    place: int = 0
    cascade: bool = False


def deeds(*kinds: str) -> st.SearchStrategy[list[Deed]]:
    prices = st.integers(1_000_000, 20_000_000_000).map(lambda units: Decimal(units).scaleb(-8))
    one = st.builds(
        Deed,
        what=st.sampled_from(kinds),
        symbol=st.sampled_from(SYMBOLS),
        side=SIDES,
        quantity=UNITS | st.sampled_from([round8(Decimal(value)) for value in ("0.1", "0.3", "0.7", 1)]),
        leverage=st.sampled_from([round8(Decimal(value)) for value in (1, 3, 10)]),
        prices=st.tuples(prices, prices),
        place=st.integers(0, 30),
        cascade=st.booleans(),
    )
    return st.lists(one, min_size=2, max_size=25)


class Told:
    """An account with its ledger, and the rows that live trading wrote."""

    def __init__(self) -> None:
        self.now = BEGIN
        self.book, first = AccountBook.open(OPENING, account_id=ACCOUNT_ID, now=BEGIN, request_id="create")
        self.ledger = [first]
        self.rows = Rows()
        self.open_at_marks: list[set[str]] = []
        self.last: Entry | Refusal
        self._settle(self.book.submit(StartAccount(), self._context(None), request_id="start"))

    @property
    def booked(self) -> list[str]:
        return [fill.id for fill in self.rows.fills.values() if fill.status == "booked"]

    def does(self, deed: Deed, number: int) -> bool:
        """Whether it was done: an action filled, a mark was taken or found nothing to value, a fill went out."""
        self.now = BEGIN + timedelta(hours=5 * number)
        match deed.what:
            case "mark":
                self.open_at_marks.append({symbol for symbol, _ in self.book.account.positions})
                self._settle(self.book.submit(MarkToMarket(f"pass-{number}"), self._context(deed), request_id="mark"))
                return True
            case "void":
                return bool(self.rows.fills) and self.void(
                    list(self.rows.fills)[deed.place % len(self.rows.fills)], cascade=deed.cascade
                )
        size = {} if deed.what == "close" else {"quantity": deed.quantity}
        leverage = deed.leverage if deed.what == "open" else None
        action = Action(
            decision_action_id=f"a{number}",
            action=deed.what,
            symbol=deed.symbol,
            side=deed.side,
            leverage=leverage,
            **cast(Any, size),
        )
        entry = self.book.take(ActionBatch("run", (action,)), self._context(deed), request_id="take")
        assert isinstance(entry, Entry)
        self._settle(entry)
        return entry.results[0].status == "executed"

    def void(self, fill_id: str, *, cascade: bool) -> bool:
        before = self.book.state
        ledger = [(each, decoded(each)) for each in self.ledger]
        answer = self.book.correct(VoidFill(fill_id, "why", cascade), ledger, self.now, request_id="void")
        self._settle(answer)
        if isinstance(answer, Refusal):
            assert self.book.state == before
            return False
        return bool(answer.recorded)

    def _context(self, deed: Deed | None) -> Context:
        prices = (Decimal(1), Decimal(1)) if deed is None else deed.prices
        return Context(
            self.now,
            {s: Quote(s, price, price, price, "feed", self.now) for s, price in zip(SYMBOLS, prices, strict=True)},
        )

    def _settle(self, answer: Entry | Refusal) -> None:
        if isinstance(answer, Entry):
            self.ledger += answer.recorded
            self.rows.take(answer.changes)
        self.last = answer


def decoded(recorded: RecordedEvent) -> Any:
    return msgspec.json.decode(recorded.payload, type=EVENT_TYPES[recorded.type])


def placeless(told: Told) -> dict[Any, Position]:
    """Open positions without the seq that only their own ledger can give them."""
    return {key: msgspec.structs.replace(held, opened_seq=0) for key, held in told.book.account.positions.items()}


@given(deeds=deeds("open", "open", "open", "reduce", "reduce", "mark"), place=st.integers(0, 24))
def test_a_voided_fill_never_was_where_none_depends_on_it(deeds: list[Deed], place: int):
    """The twin does all the same but that one deed. A price it would have been marked at must have been seen."""
    told, twin = Told(), Told()
    done = [told.does(deed, number) for number, deed in enumerate(deeds)]
    trades = [number for number, deed in enumerate(deeds) if done[number] and deed.what != "mark"]
    assume(trades)
    left_out = trades[place % len(trades)]
    for number, deed in enumerate(deeds):
        if number != left_out and done[number]:
            assume(twin.does(deed, number))
    seen = zip(twin.open_at_marks, told.open_at_marks, strict=True)
    assume(all(of_twin <= of_told for of_twin, of_told in seen))
    fill_id = list(told.rows.fills)[trades.index(left_out)]
    assert told.void(fill_id, cascade=False)
    account, other = told.book.account, twin.book.account
    event(f"{len(account.positions)} positions left")
    assert (account.cash, account.realized_pnl, account.fees_paid) == (
        other.cash,
        other.realized_pnl,
        other.fees_paid,
    )
    assert (account.high_watermark, account.day) == (other.high_watermark, other.day_at(told.now))
    assert placeless(told) == placeless(twin)
    assert [figures(fill) for fill in told.rows.fills.values() if fill.status == "booked"] == [
        figures(fill) for fill in twin.rows.fills.values()
    ]
    assert sorted(map(episode, told.rows.positions.values())) == sorted(map(episode, twin.rows.positions.values()))


def figures(fill: Any) -> tuple[Any, ...]:
    return fill.symbol, fill.side, fill.quantity, fill.price, fill.notional, fill.fee, fill.realized_pnl, fill.filled_at


def episode(row: Any) -> list[str]:
    return [repr(each) for each in msgspec.structs.astuple(row.view)]


@given(deeds=deeds("open", "open", "open", "reduce", "reduce", "close", "mark", "void", "void"))
def test_after_any_voids_ledger_state_and_rows_agree(deeds: list[Deed]):
    told = Told()
    voids = 0
    for number, deed in enumerate(deeds):
        done = told.does(deed, number)
        voids += done and deed.what == "void"
        holds(told)
    event(f"{min(voids, 3)} voids")


def holds(told: Told) -> None:
    """Replay = live = rows, whether folded as it went or at once; and money is where the booked fills put it."""
    book, placed = replayed([(each, decoded(each)) for each in told.ledger], receipts_in_memory_max=1_000)
    assert book.account == told.book.account
    assert book.head == told.book.head
    at_once = Rows().take(changes(told.book.account, placed))
    assert at_once.orders == told.rows.orders
    assert at_once.fills == told.rows.fills
    assert at_once.positions == told.rows.positions
    assert at_once.receipts == told.rows.receipts
    account = told.book.account
    booked = [fill for fill in told.rows.fills.values() if fill.status == "booked"]
    note(f"{len(booked)} of {len(told.rows.fills)} booked")
    assert account.cash == account.starting_balance + account.realized_pnl - account.fees_paid
    assert sum((fill.realized_pnl for fill in booked), ZERO) == account.realized_pnl
    assert sum((fill.fee for fill in booked), ZERO) == account.fees_paid
    episodes = list(told.rows.positions.values())
    assert sum((row.view.realized_pnl for row in episodes), ZERO) == account.realized_pnl
    assert sum((row.view.fees for row in episodes), ZERO) == account.fees_paid
    open_rows = {(row.view.symbol, row.view.side): row for row in episodes if row.view.status == "open"}
    assert open_rows.keys() == account.positions.keys()
    for key, position in account.positions.items():
        signed = [
            fill.quantity if fill.intent == "open" else -fill.quantity
            for fill in booked
            if (fill.symbol, fill.side) == key
        ]
        assert position.quantity == sum(signed, ZERO)
        assert open_rows[key].view.unrealized_pnl == position.unrealized_pnl


@given(deeds=deeds("open", "open", "reduce", "close", "mark"), place=st.integers(0, 24))
def test_a_cascade_takes_out_what_was_named_and_nothing_that_could_stay(deeds: list[Deed], place: int):
    told = Told()
    for number, deed in enumerate(deeds):
        told.does(deed, number)
    assume(told.booked)
    fill_id = told.booked[place % len(told.booked)]
    alone = told.void(fill_id, cascade=False)
    orphans = set() if isinstance(told.last, Entry) else {orphan.fill_id for orphan in told.last.orphans}
    assert alone == (not orphans)
    assert alone or told.void(fill_id, cascade=True)
    assert isinstance(told.last, Entry)
    (voided,) = [decoded(each) for each in told.last.recorded]
    assert isinstance(voided, FillVoided)
    assert set(voided.fill_ids) == {fill_id} | orphans
    holds(told)
    assert not told.void(fill_id, cascade=True)
