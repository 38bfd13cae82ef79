"""The auditor of a whole system: holds what clients were told to what the ledger says, from plain rows.

Written from the guarantees and from none of the engine's code, so that a fault in the engine cannot excuse itself.
Invariants are numbered as the fault catalogue numbers them::

    I1   an acknowledged action is in the ledger, with the result that was acknowledged; nothing was shown that is not
    I2   an action in the ledger was sent, as it stands there, and not every answer to it was that nothing was done
    I3   seq is 1, 2, ... n, and the head row says n
    I4   epochs never fall along seq
    I5   one outcome a key, in the ledger, in its receipt and in every answer
    I7   cash = start + realized - fees; a position is the sum of its fills; equity = cash + unrealized; the high
         watermark is the greatest equity: all of it computed anew from quantities and prices, without what was voided
    I8   nothing but refusals and notes of a recompute after an account has ended, and it ends once
    I9   a fill's price is what the policy makes of a recorded quote, a mark's is the middle of one, and neither quote
         is older than the policy allows
    I10  what was acknowledged before a request was sent lies before what the request did; a read shows what was
         acknowledged a read lease before it was sent
    I13  time does not run backwards along seq

I6 (replay = tables = live) is `prop verify`'s: see `persistence.reconcile`.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal, InvalidOperation
from typing import Any, Final

from tests.support.audit_money import money
from tests.support.audit_prices import QuoteKey, prices
from tests.support.history import History, Operation

Key = tuple[str, str]
READ_LEASE_S: Final = 5.0
"""How long an activation may answer reads on the strength of its last confirmed epoch (DESIGN section 9)."""

ENDINGS: Final = {"account_liquidated", "account_completed"}
AFTER_THE_END: Final = {"action_rejected", "account_recomputed"}
AFTER_AN_ORDER: Final = 2
"""A filled order's decision ends with the second event after it: its fill, and the position it made."""


@dataclass(frozen=True)
class Violation:
    """One broken invariant, and where."""

    invariant: str
    account_id: str
    what: str

    def __str__(self) -> str:
        return f"{self.invariant} {self.account_id}: {self.what}"


@dataclass(frozen=True, kw_only=True)
class EventRow:
    """A ledger row; `payload` as JSON gives it, money as strings."""

    seq: int
    epoch: int
    type: str
    at: datetime
    payload: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class ReceiptRow:
    """A row of `prop_decision_actions`."""

    key: Key
    seq: int
    action: Mapping[str, Any]
    result: Mapping[str, Any]


@dataclass(kw_only=True)
class AccountRows:
    """What is stored of one account. `events` in whatever order they were read, `cash` that of the balance row."""

    account_id: str
    last_seq: int
    cash: Decimal
    events: list[EventRow] = field(default_factory=list)
    receipts: list[ReceiptRow] = field(default_factory=list)


def audit(history: History, accounts: Iterable[AccountRows], quotes: Iterable[QuoteKey]) -> list[Violation]:
    """Every violation, account by account. `quotes` are all that were ever recorded."""
    told: dict[str, list[Operation]] = defaultdict(list)
    for operation in history:
        told[operation.account_id].append(operation)
    recorded = set(quotes)
    found: list[Violation] = []
    for rows in accounts:
        operations = told.pop(rows.account_id, [])
        found += _audited(rows, operations, recorded)
    for account_id, operations in told.items():
        if any(operation.outcome == "ok" for operation in operations):
            found.append(Violation("I1", account_id, "answers were given for an account that is not stored"))
    return found


def _audited(rows: AccountRows, operations: Sequence[Operation], recorded: set[QuoteKey]) -> Iterator[Violation]:
    ledger = sorted(rows.events, key=lambda event: event.seq)
    checks: tuple[tuple[str, Iterator[str]], ...] = (
        ("I1", _acknowledged(rows, operations)),
        ("I2", _sent(ledger, operations)),
        ("I3", _contiguous(ledger, rows.last_seq)),
        ("I4", _rising_epochs(ledger)),
        ("I5", _one_outcome(ledger, rows.receipts, operations)),
        ("I7", money(ledger, rows.cash)),
        ("I8", _ended_once(ledger)),
        ("I9", prices(ledger, recorded)),
        ("I10", _ordered(rows.receipts, operations)),
        ("I13", _in_time(ledger)),
    )
    for invariant, found in checks:
        for what in found:
            yield Violation(invariant, rows.account_id, what)


def _acknowledged(rows: AccountRows, operations: Sequence[Operation]) -> Iterator[str]:
    receipts = {receipt.key: receipt for receipt in rows.receipts}
    judged = {_key(event): event.payload["propActionId"] for event in rows.events if _key(event) is not None}
    for operation in operations:
        if operation.outcome == "ok" and (operation.seq or 0) > rows.last_seq:
            yield f"{operation.client} was shown seq {operation.seq}, the ledger ends at {rows.last_seq}"
        for key, result in _results(operation):
            receipt = receipts.get(key)
            if receipt is None:
                yield f"{key} was acknowledged and has no receipt"
            elif _essence(receipt.result) != _essence(result):
                yield f"{key} was acknowledged as {_essence(result)} and is stored as {_essence(receipt.result)}"
            elif judged.get(key) != result["propActionId"]:
                yield f"{key} was acknowledged as action {result['propActionId']}, the ledger has {judged.get(key)}"


def _sent(ledger: Sequence[EventRow], operations: Sequence[Operation]) -> Iterator[str]:
    sent: dict[Key, list[dict[str, Any]]] = defaultdict(list)
    may_be_done: set[Key] = set()
    for operation in operations:
        for key, action in zip(operation.keys, operation.actions, strict=True):
            sent[key].append(action)
            if operation.outcome != "refused":
                may_be_done.add(key)
    for event in ledger:
        judged = _key(event)
        if judged is None:
            continue
        if not any(_asks(action, event.payload["action"]) for action in sent[judged]):
            yield f"event {event.seq} judges {judged}, which nobody sent as it stands there"
        elif judged not in may_be_done:
            yield f"event {event.seq} judges {judged}, of which everybody was told that nothing was done"


def _contiguous(ledger: Sequence[EventRow], last_seq: int) -> Iterator[str]:
    expected = 1
    for event in ledger:
        if event.seq != expected:
            yield f"event {event.seq} where {expected} should be"
        expected = event.seq + 1
    if last_seq != expected - 1:
        yield f"the head row says {last_seq}, the ledger ends at {expected - 1}"


def _rising_epochs(ledger: Sequence[EventRow]) -> Iterator[str]:
    epoch = 0
    for event in ledger:
        if event.epoch < epoch:
            yield f"event {event.seq} is of epoch {event.epoch}, after one of {epoch}"
        epoch = max(epoch, event.epoch)


def _one_outcome(
    ledger: Sequence[EventRow], receipts: Sequence[ReceiptRow], operations: Sequence[Operation]
) -> Iterator[str]:
    judged: dict[Key, int] = {}
    for event in ledger:
        key = _key(event)
        if key is not None and key in judged:
            yield f"{key} was judged at {judged[key]} and again at {event.seq}"
        elif key is not None:
            judged[key] = event.seq + (0 if event.type == "action_rejected" else AFTER_AN_ORDER)
    seen: set[Key] = set()
    for receipt in receipts:
        if receipt.key in seen:
            yield f"{receipt.key} has two receipts"
        seen.add(receipt.key)
        if judged.get(receipt.key) != receipt.seq:
            yield f"the receipt of {receipt.key} names event {receipt.seq}, the ledger {judged.get(receipt.key)}"
    for key in judged.keys() - seen:
        yield f"{key} was judged at {judged[key]} and has no receipt"
    answers: dict[Key, dict[str, Any]] = {}
    for operation in operations:
        for key, result in _results(operation):
            if answers.setdefault(key, _essence(result)) != _essence(result):
                yield f"{key} was answered in two ways: {answers[key]} and {_essence(result)}"


def _ended_once(ledger: Sequence[EventRow]) -> Iterator[str]:
    ended: int | None = None
    for event in ledger:
        if ended is not None and event.type not in AFTER_THE_END:
            yield f"event {event.seq} ({event.type}) after the end at {ended}"
        if event.type in ENDINGS:
            ended = event.seq


def _ordered(receipts: Sequence[ReceiptRow], operations: Sequence[Operation]) -> Iterator[str]:
    """Real-time order: a key from when it was first sent, a read from a read lease before it was sent."""
    seq_of = {receipt.key: receipt.seq for receipt in receipts}
    first_sent: dict[Key, float] = {}
    for operation in operations:
        for key in operation.keys:
            first_sent[key] = min(operation.sent_at, first_sent.get(key, operation.sent_at))
    answered = [each for each in operations if each.outcome == "ok" and each.seq is not None]
    acknowledged = sorted((each.ended_at, each.seq or 0) for each in answered)
    did = [(sent_at, seq_of[key] - 1, str(key)) for key, sent_at in first_sent.items() if key in seq_of]
    did += [
        (each.sent_at - READ_LEASE_S, each.seq or 0, f"a read by {each.client}")
        for each in answered
        if not each.actions
    ]
    greatest = place = 0
    for sent_at, reach, name in sorted(did):
        while place < len(acknowledged) and acknowledged[place][0] < sent_at:
            greatest = max(greatest, acknowledged[place][1])
            place += 1
        if reach < greatest:
            yield f"{name} comes after {reach}, though {greatest} was shown or acknowledged before it was sent"


def _in_time(ledger: Sequence[EventRow]) -> Iterator[str]:
    latest: datetime | None = None
    for event in ledger:
        if latest is not None and event.at < latest:
            yield f"event {event.seq} is of {event.at}, after one of {latest}"
        latest = event.at


def _results(operation: Operation) -> Iterator[tuple[Key, dict[str, Any]]]:
    if operation.outcome == "ok":
        yield from zip(operation.keys, operation.results, strict=bool(operation.actions))


def _essence(result: Mapping[str, Any]) -> dict[str, Any]:
    """A result without the one field in which a repeated answer differs."""
    return {name: value for name, value in result.items() if name != "replayed"}


def _key(event: EventRow) -> Key | None:
    """Of the event that judges a client's action: its refusal, or its order."""
    if event.type == "action_rejected" or (event.type == "order_validated" and event.payload["action"] is not None):
        return event.payload["decisionRunId"], event.payload["action"]["decisionActionId"]
    return None


def _asks(sent: Mapping[str, Any], stored: Mapping[str, Any]) -> bool:
    """Whether what is stored is what was sent: money may have more zeros, what was not sent may have its default."""
    return all(_same(value, stored.get(name)) for name, value in sent.items())


def _same(sent: object, stored: object) -> bool:
    if sent == stored:
        return True
    if not (isinstance(sent, str) and isinstance(stored, str)):
        return False
    try:
        return Decimal(sent) == Decimal(stored)
    except InvalidOperation:
        return False
