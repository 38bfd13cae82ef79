"""The auditor finds what it is there to find: each invariant, broken by hand in rows that were sound."""

import asyncio
from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from persistence.memory_store import MemoryStore
from tests.support.audit import AccountRows, EventRow, Violation, audit
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
            quote = event.payload["quote"]
            quotes.append((quote["symbol"], Decimal(quote["bid"]), Decimal(quote["ask"]), event.at))
        for mark in event.payload.get("marks", ()):
            quotes.append((mark["symbol"], Decimal(mark["price"]) - 1, Decimal(mark["price"]) + 1, event.at))
    return Case(history, accounts, quotes)


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


def _epoch_falls(case: Case) -> None:
    case.put(case.event("account_started"), replace(case.event("account_started"), epoch=99))


def _judged_twice(case: Case) -> None:
    event = case.event("order_validated")
    started = case.event("account_started")
    case.put(started, replace(started, type="order_validated", payload=event.payload))


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


def _unrecorded_quote(case: Case) -> None:
    case.quotes.clear()


def _stale_quote(case: Case) -> None:
    fill = case.event("fill_booked")
    old = (fill.at - timedelta(minutes=2)).isoformat()
    quote = {**fill.payload["quote"], "observedAt": old}
    case.quotes.append((quote["symbol"], Decimal(quote["bid"]), Decimal(quote["ask"]), fill.at - timedelta(minutes=2)))
    case.restate("fill_booked", "quote", quote)


def _price_of_its_own(case: Case) -> None:
    fill = case.event("fill_booked")
    case.restate("fill_booked", "price", str(Decimal(fill.payload["price"]) + 1))


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
    ("invariant", "tamper"),
    [
        ("I1", _receipt_lost),
        ("I1", _answer_changed),
        ("I1", _account_lost),
        ("I1", _shown_what_was_never_written),
        ("I2", _never_sent),
        ("I2", _sent_otherwise),
        ("I3", _event_lost),
        ("I3", _event_doubled),
        ("I3", _tail_lost),
        ("I4", _epoch_falls),
        ("I5", _judged_twice),
        ("I5", _answered_in_two_ways),
        ("I7", _cash_invented),
        ("I7", _fee_invented),
        ("I7", _cost_invented),
        ("I7", _balance_row_differs),
        ("I7", _quantity_invented),
        ("I7", _equity_invented),
        ("I7", _watermark_falls),
        ("I8", _traded_after_the_end),
        ("I8", _voided_after_the_end),
        ("I9", _unrecorded_quote),
        ("I9", _stale_quote),
        ("I9", _price_of_its_own),
        ("I9", _marked_at_no_quote),
        ("I9", _marked_at_an_old_quote),
        ("I10", _overtaken),
        ("I10", _at_the_same_place),
        ("I10", _stale_read),
        ("I13", _time_runs_backwards),
    ],
)
def test_what_is_tampered_with_is_found(case: Case, invariant: str, tamper: Callable[[Case], None]) -> None:
    tamper(case)
    assert invariant in {violation.invariant for violation in case.audited()}


def test_a_history_is_read_back_from_its_file(case: Case, tmp_path: Path) -> None:
    path = tmp_path / "history.jsonl"
    kept = History(path)
    for operation in case.history:
        kept.add(operation)
    assert read(path).operations == case.operations
    assert read(path).outcomes() == {"ok": len(case.operations)}
