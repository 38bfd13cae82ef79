"""The auditor finds what it is there to find: each invariant, broken by hand in rows that were sound."""

import asyncio
from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from persistence.memory_store import MemoryStore
from tests.support.audit import ENDINGS, AccountRows, EventRow, Violation, _same, audit
from tests.support.audit_prices import QuoteKey
from tests.support.audit_rows import as_wire, in_memory
from tests.support.history import History, Operation, read
from tests.support.lively import lively


class Case:
    """A sound history with its rows, to be tampered with."""

    def __init__(self, history: History, accounts: list[AccountRows], quotes: list[QuoteKey]) -> None:
        self.history = history
        self.accounts = accounts
        self.quotes = quotes

    @property
    def rows(self) -> AccountRows:
        return self.accounts[0]

    @property
    def operations(self) -> list[Operation]:
        return self.history.operations

    def event(self, type_: str) -> EventRow:
        return next(event for rows in self.accounts for event in rows.events if event.type == type_)

    def put(self, old: EventRow, new: EventRow) -> None:
        for rows in self.accounts:
            rows.events = [new if event is old else event for event in rows.events]

    def restate(self, type_: str, name: str, value: object) -> None:
        event = self.event(type_)
        self.put(event, replace(event, payload={**event.payload, name: value}))

    def audited(self) -> list[Violation]:
        return audit(self.history, self.accounts, self.quotes)


@pytest.fixture(scope="module")
def sound() -> Case:
    store = MemoryStore()
    asyncio.run(lively(store, steps=12))
    history, quotes = History(), []
    for clock, ((account_id, key), receipt) in enumerate(store.actions.items()):
        shown = as_wire(receipt)
        sent = {name: value for name, value in shown["action"].items() if value is not None}
        history.add(
            Operation(
                client="c",
                account_id=account_id,
                sent_at=float(clock),
                ended_at=clock + 0.5,
                outcome="ok",
                run=key[0],
                actions=(sent,),
                seq=receipt.seq,
                results=(shown["result"],),
            )
        )
    accounts, _ = in_memory(store, [])
    for event in (event for rows in accounts for event in rows.events):
        if event.type == "fill_booked":
            quotes.append(_recorded(event.payload["quote"]))
        for mark in event.payload.get("marks", ()):
            quotes.append((mark["symbol"], Decimal(mark["price"]) - 1, Decimal(mark["price"]) + 1, event.at))
    return Case(history, accounts, quotes)


def _recorded(quote: Mapping[str, str]) -> QuoteKey:
    return quote["symbol"], Decimal(quote["bid"]), Decimal(quote["ask"]), datetime.fromisoformat(quote["observedAt"])


@pytest.fixture
def case(sound: Case) -> Case:
    return deepcopy(sound)


def test_a_sound_history_has_nothing_to_find(case: Case) -> None:
    assert case.audited() == []
    assert len(case.history) > 20


def _receipt_lost(case: Case) -> None:
    del case.rows.receipts[0]


def _answer_changed(case: Case) -> None:
    case.operations[0] = replace(case.operations[0], results=({**case.operations[0].results[0], "status": "rejected"},))


def _account_lost(case: Case) -> None:
    del case.accounts[0]


def _judged_as_another_action(case: Case) -> None:
    case.restate("order_validated", "propActionId", "another")


def _done_though_refused(case: Case) -> None:
    case.operations[0] = replace(case.operations[0], outcome="refused", code="overloaded", seq=None, results=())


def _never_sent(case: Case) -> None:
    del case.operations[0]


def _sent_otherwise(case: Case) -> None:
    first = case.operations[0]
    case.operations[0] = replace(first, actions=({**first.actions[0], "symbol": "DOGE-USD"},))


def _event_lost(case: Case) -> None:
    case.rows.events.remove(case.event("account_started"))


def _event_doubled(case: Case) -> None:
    case.rows.events.append(case.event("account_started"))


def _tail_lost(case: Case) -> None:
    case.rows.events.remove(max(case.rows.events, key=lambda event: event.seq))


def _ledger_lost(case: Case) -> None:
    case.rows.events.clear()


def _head_row_ahead(case: Case) -> None:
    case.rows.last_seq += 1


def _epoch_falls(case: Case) -> None:
    case.put(case.event("account_started"), replace(case.event("account_started"), epoch=99))


def _judged_twice(case: Case) -> None:
    event = case.event("order_validated")
    started = case.event("account_started")
    case.put(started, replace(started, type="order_validated", payload=event.payload))


def _two_receipts(case: Case) -> None:
    case.rows.receipts.append(case.rows.receipts[0])


def _receipt_of_another_event(case: Case) -> None:
    case.rows.receipts[0] = replace(case.rows.receipts[0], seq=case.rows.receipts[0].seq - 1)


def _receipt_of_nothing(case: Case) -> None:
    case.rows.receipts.append(replace(case.rows.receipts[0], key=("another", "key")))


def _answered_in_two_ways(case: Case) -> None:
    first = case.operations[0]
    other = {**first.results[0], "propActionId": "another"}
    case.history.add(replace(first, results=(other,), sent_at=1e6, ended_at=1e6 + 1))


def _cash_invented(case: Case) -> None:
    case.restate("fill_booked", "realizedPnl", "1000.00000000")


def _fee_invented(case: Case) -> None:
    case.restate("fill_booked", "fee", "0.00000000")


def _cost_invented(case: Case) -> None:
    place = next(place for place in range(len(case.accounts)) if _has(case.accounts[place], "position_reduced"))
    case.accounts.insert(0, case.accounts.pop(place))
    position = case.event("position_reduced").payload["position"]
    case.restate("position_reduced", "position", {**position, "entryNotional": "1.00000000"})


def _has(rows: AccountRows, type_: str) -> bool:
    return any(event.type == type_ for event in rows.events)


def _balance_row_differs(case: Case) -> None:
    case.rows.cash += 1


def _quantity_invented(case: Case) -> None:
    case.restate("fill_booked", "quantity", "7.00000000")


def _equity_invented(case: Case) -> None:
    case.restate("mark_to_market", "equity", "1.00000000")


def _watermark_falls(case: Case) -> None:
    case.restate("mark_to_market", "highWatermark", "1.00000000")


def _traded_after_the_end(case: Case) -> None:
    started = case.event("account_started")
    case.put(started, replace(started, type="account_completed"))


def _ended_twice(case: Case) -> None:
    end = next(event for rows in case.accounts for event in rows.events if event.type in ENDINGS)
    for rows in case.accounts:
        if end in rows.events:
            rows.events.append(replace(end, seq=end.seq + 1))


def _unrecorded_quote(case: Case) -> None:
    case.quotes.clear()


def _stale_quote(case: Case) -> None:
    fill = case.event("fill_booked")
    old = (fill.at - timedelta(minutes=2)).isoformat()
    quote = {**fill.payload["quote"], "observedAt": old}
    case.quotes.append(_recorded(quote))
    case.restate("fill_booked", "quote", quote)


def _price_of_its_own(case: Case) -> None:
    fill = case.event("fill_booked")
    case.restate("fill_booked", "price", str(Decimal(fill.payload["price"]) + 1))


def _mid_of_its_own(case: Case) -> None:
    quote = case.event("fill_booked").payload["quote"]
    case.restate("fill_booked", "quote", {**quote, "mid": quote["ask"]})


def _marked_at_no_quote(case: Case) -> None:
    mark = case.event("mark_to_market")
    first, *others = mark.payload["marks"]
    case.restate("mark_to_market", "marks", [{**first, "observedAt": "2026-01-05T12:00:00.000001Z"}, *others])


def _marked_at_an_old_quote(case: Case) -> None:
    mark = case.event("mark_to_market")
    old = mark.at - timedelta(minutes=3)
    first, *others = mark.payload["marks"]
    price = Decimal(first["price"])
    case.quotes.append((first["symbol"], price - 1, price + 1, old))
    case.restate("mark_to_market", "marks", [{**first, "observedAt": old.isoformat()}, *others])


def _voided_after_the_end(case: Case) -> None:
    rows = next(rows for rows in case.accounts if _has(rows, "account_completed"))
    started = next(event for event in rows.events if event.type == "account_started")
    figures = dict.fromkeys(("cash", "equity", "highWatermark", "realizedPnl", "feesPaid"), "1.00000000")
    voided = {"fillIds": [], **figures}
    rows.events.append(replace(started, seq=len(rows.events) + 1, type="fill_voided", payload=voided))


def _position_left_out_of_a_mark(case: Case) -> None:
    case.restate("mark_to_market", "marks", [])


def _overtaken(case: Case) -> None:
    of_one = [each for each in case.operations if each.account_id == case.rows.account_id]
    last = case.operations.index(of_one[-1])
    case.operations[last] = replace(of_one[-1], sent_at=-2.0, ended_at=-1.0)


def _at_the_same_place(case: Case) -> None:
    of_one = [each for each in case.operations if each.account_id == case.rows.account_id]
    read_ = replace(of_one[-1], run="", actions=(), results=(), sent_at=-2.0, ended_at=-1.0)
    case.history.add(read_)


def _shown_what_was_never_written(case: Case) -> None:
    account_id, seq = case.rows.account_id, case.rows.last_seq + 1
    case.history.add(Operation(client="c", account_id=account_id, sent_at=1e6, ended_at=1e6, outcome="ok", seq=seq))


def _stale_read(case: Case) -> None:
    account_id = case.rows.account_id
    read_ = Operation(client="c", account_id=account_id, sent_at=1e6, ended_at=1e6 + 1, outcome="ok", seq=1)
    case.history.add(read_)


def _time_runs_backwards(case: Case) -> None:
    event = case.event("order_validated")
    case.put(event, replace(event, at=event.at - timedelta(hours=1)))


@pytest.mark.parametrize(
    ("invariant", "tamper", "what"),
    [
        ("I1", _receipt_lost, "was acknowledged and has no receipt"),
        ("I1", _answer_changed, "and is stored as"),
        ("I1", _judged_as_another_action, "the ledger has another"),
        ("I1", _account_lost, "an account that is not stored"),
        ("I1", _shown_what_was_never_written, "was shown seq"),
        ("I2", _never_sent, "which nobody sent"),
        ("I2", _sent_otherwise, "which nobody sent as it stands there"),
        ("I2", _done_though_refused, "everybody was told that nothing was done"),
        ("I3", _event_lost, "where 2 should be"),
        ("I3", _event_doubled, "event 2 where 3 should be"),
        ("I3", _tail_lost, "the head row says"),
        ("I3", _head_row_ahead, "the head row says"),
        ("I3", _ledger_lost, "the ledger ends at 0"),
        ("I4", _epoch_falls, "after one of 99"),
        ("I5", _judged_twice, "and again at"),
        ("I5", _two_receipts, "has two receipts"),
        ("I5", _receipt_of_another_event, "names event"),
        ("I5", _receipt_of_nothing, "the ledger None"),
        ("I5", _receipt_lost, "and has no receipt"),
        ("I5", _answered_in_two_ways, "was answered in two ways"),
        ("I7", _cash_invented, "states realizedPnl"),
        ("I7", _fee_invented, "states fee"),
        ("I7", _cost_invented, "states entryNotional"),
        ("I7", _balance_row_differs, "the balance row holds"),
        ("I7", _quantity_invented, "states notional"),
        ("I7", _equity_invented, "states equity"),
        ("I7", _watermark_falls, "states highWatermark"),
        ("I7", _position_left_out_of_a_mark, "what is held makes"),
        ("I8", _traded_after_the_end, "after the end at 2"),
        ("I8", _voided_after_the_end, "(fill_voided) after the end"),
        ("I8", _ended_twice, "after the end"),
        ("I9", _unrecorded_quote, "at a quote that nobody recorded"),
        ("I9", _mid_of_its_own, "at a quote that nobody recorded"),
        ("I9", _stale_quote, "was filled at a quote of"),
        ("I9", _price_of_its_own, "its quote makes"),
        ("I9", _marked_at_no_quote, "which is no quote of"),
        ("I9", _marked_at_an_old_quote, "marks at a quote of"),
        ("I10", _overtaken, "was shown or acknowledged before it was sent"),
        ("I10", _at_the_same_place, "was shown or acknowledged before it was sent"),
        ("I10", _stale_read, "a read by c"),
        ("I13", _time_runs_backwards, "after one of"),
    ],
)
def test_what_is_tampered_with_is_found(case: Case, invariant: str, tamper: Callable[[Case], None], what: str) -> None:
    tamper(case)
    assert any(each.invariant == invariant and what in each.what for each in case.audited())


def test_an_account_that_was_refused_first_and_served_later_is_sound(case: Case) -> None:
    first = case.operations[0]
    early = replace(first, outcome="refused", code="overloaded", seq=None, results=(), sent_at=-2.0, ended_at=-1.0)
    case.operations.insert(0, early)
    assert case.audited() == []


@pytest.mark.parametrize(
    ("sent", "stored", "is_same"),
    [
        ("0.5", "0.50000000", True),
        ("100", "100.00000000", True),
        ("0.5", "0.50000001", False),
        ("BTC-USD", "ETH-USD", False),
        ("x", "1", False),
        (1, "1", False),
        (None, "1", False),
    ],
)
def test_money_is_the_same_with_more_zeros_and_nothing_else_is(sent: object, stored: object, is_same: bool) -> None:
    assert _same(sent, stored) is is_same


def test_a_history_is_read_back_from_its_file(case: Case, tmp_path: Path) -> None:
    path = tmp_path / "history.jsonl"
    kept = History(path)
    for operation in case.history:
        kept.add(operation)
    assert read(path).operations == case.operations
    assert read(path).outcomes() == {"ok": len(case.operations)}
