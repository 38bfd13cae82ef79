"""Canonical form and the hash chain, against vectors computed by hand."""

import json
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from decimal import Decimal
from hashlib import blake2b

import msgspec
import pytest

from engine.book import replayed, verified
from engine.canonical import GENESIS, canonical, chained, plain, timestamp
from engine.commands import CreateAccount, differing
from engine.events import EVENT_TYPES, AccountCreated, AccountPaused, RecordedEvent
from engine.invariants import InvariantBroken
from engine.rejections import Failure, GateCode
from tests.support.ledger_page import (
    ACCOUNT_ID,
    Page,
    close_long,
    decoded,
    given,
    later,
    mark,
    open_long,
    opened,
    pause,
    priced,
)

AT = datetime(2026, 1, 2, 3, 4, 5, 6, tzinfo=UTC)


def test_canonical_form():
    value = {
        "z": Decimal("1E-8"),
        "a": [Decimal("50000.25000000"), True, None, 7],
        "m": {"é": "ü", "b": AT},
        "code": GateCode.PRICE_MISSING,
    }
    assert (
        canonical(value)
        == (
            '{"a":["50000.25000000",true,null,7],"code":"price_missing",'
            '"m":{"b":"2026-01-02T03:04:05.000006Z","é":"ü"},"z":"0.00000001"}'
        ).encode()
    )


def test_structs_have_wire_names():
    assert canonical(Failure(GateCode.PRICE_STALE, {"symbol": "X", "ageMs": 7})) == (
        b'{"code":"price_stale","context":{"ageMs":7,"symbol":"X"}}'
    )


@pytest.mark.parametrize(
    ("at", "told"),
    [
        (AT, "2026-01-02T03:04:05.000006Z"),
        (datetime(2026, 1, 2, tzinfo=UTC), "2026-01-02T00:00:00.000000Z"),
        (datetime(2026, 1, 2, 1, tzinfo=timezone(timedelta(hours=2))), "2026-01-01T23:00:00.000000Z"),
    ],
)
def test_times_are_utc_with_six_digits(at, told):
    assert timestamp(at) == told


class SetBack(tzinfo):
    """A zone in the hour that its clocks go through twice."""

    def utcoffset(self, at: datetime | None) -> timedelta:
        return timedelta(hours=1 if at is not None and at.fold else 2)

    def dst(self, _: datetime | None) -> None:
        return None

    def tzname(self, _: datetime | None) -> None:
        return None


def test_the_two_hours_of_a_clock_that_is_set_back_are_two():
    zone = SetBack()
    told = [timestamp(datetime(2026, 10, 25, 2, 30, tzinfo=zone, fold=fold)) for fold in (0, 1)]
    assert told == ["2026-10-25T00:30:00.000000Z", "2026-10-25T01:30:00.000000Z"]


@pytest.mark.parametrize("value", [1.5, b"bytes", {1, 2}, object()])
def test_what_has_no_canonical_form_is_refused(value):
    with pytest.raises(TypeError, match="no canonical form"):
        plain(value)


def test_key_order_does_not_matter():
    event = {"reason": "x", "context": {"b": 1, "a": {"d": 1, "c": 2}}}
    other = {"context": {"a": {"c": 2, "d": 1}, "b": 1}, "reason": "x"}
    assert canonical(event) == canonical(other)


def test_a_payload_read_back_in_any_key_order_has_the_same_bytes():
    for recorded in busy().ledger:
        shuffled = dict(reversed(list(json.loads(recorded.payload).items())))
        assert canonical(shuffled) == recorded.payload
        assert canonical(decoded(recorded)) == recorded.payload


# The chain by hand: blake2b-256 over the hash before, `[account, seq, type, version, time]` and the payload.
HEAD_1 = b'["acc-1",1,"account_paused",1,"2026-01-02T03:04:05.000006Z"]'
HEAD_2 = b'["acc-1",2,"account_resumed",1,"2026-01-02T03:04:05.000006Z"]'
VECTOR_1 = "ec0cf50ec0a07546223785d68db4a1bad3b33e92bf6e911b1ea3b35a8df52bc0"
VECTOR_2 = "3fd18f853ec1f1b8aee2f73273fdaed3bad2b89ba3e8cb6fbcf7ed173ffdbbf7"


def link(previous: bytes, seq: int, type_: str, payload: bytes) -> bytes:
    return chained(previous, account_id="acc-1", seq=seq, type_=type_, version=1, occurred_at=AT, payload=payload)


def test_the_chain_is_the_one_computed_by_hand():
    first = link(GENESIS, 1, "account_paused", canonical(AccountPaused(reason="lunch")))
    assert first.hex() == VECTOR_1 == blake2b(bytes(32) + HEAD_1 + b'{"reason":"lunch"}', digest_size=32).hexdigest()
    second = link(first, 2, "account_resumed", b'{"reason":"coffee"}')
    assert second.hex() == VECTOR_2 == blake2b(first + HEAD_2 + b'{"reason":"coffee"}', digest_size=32).hexdigest()


@pytest.mark.parametrize(
    "at",
    [
        AT,
        datetime(2026, 1, 2, 3, 4, 5, 120_000, tzinfo=UTC),
        datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
        datetime(2026, 1, 2, 3, 4, 5, 6, tzinfo=timezone(timedelta(hours=2))),
    ],
)
def test_a_moment_is_hashed_as_it_is_written(at: datetime):
    made = chained(GENESIS, account_id="acc-1", seq=1, type_="t", version=1, occurred_at=at, payload=b"{}")
    head = json.dumps(["acc-1", 1, "t", 1, timestamp(at)], separators=(",", ":")).encode()
    assert made == blake2b(GENESIS + head + b"{}", digest_size=32).digest()


def busy() -> Page:
    page = given(opened(), open_long(quantity="0.5"), later(1), open_long("ETH-USD", 1), priced("BTC-USD", 51_000))
    page.when(mark(), open_long(quantity=99), close_long(), pause("lunch"))
    return page


def test_the_head_is_the_hash_of_the_last_event():
    page = busy()
    assert page.book.head == page.ledger[-1].hash
    assert len({recorded.hash for recorded in page.ledger}) == len(page.ledger)
    assert all(len(recorded.hash) == 32 for recorded in page.ledger)


def altered(recorded: RecordedEvent, name: str) -> RecordedEvent:
    other = {
        "account_id": "another",
        "seq": recorded.seq + 1,
        "type": "account_started",
        "version": recorded.version + 1,
        "occurred_at": recorded.occurred_at + timedelta(microseconds=1),
        "payload": recorded.payload[:-1] + b" }",
        "hash": bytes(32),
    }
    return msgspec.structs.replace(recorded, **{name: other[name]})


@pytest.mark.parametrize("name", ["account_id", "seq", "type", "version", "occurred_at", "payload", "hash"])
@pytest.mark.parametrize("place", [0, 3, -1])
def test_altering_any_field_of_any_event_breaks_the_chain(name, place):
    ledger = busy().ledger
    previous = GENESIS if place == 0 else ledger[place - 1].hash
    assert verified(previous, ledger[place]) == ledger[place].hash
    with pytest.raises(InvariantBroken):
        verified(previous, altered(ledger[place], name))


@pytest.mark.parametrize("name", ["account_id", "seq", "version", "occurred_at", "payload", "hash"])
@pytest.mark.parametrize("place", [0, 3, -1])
def test_replay_refuses_an_altered_ledger(name, place):
    ledger = list(busy().ledger)
    events = [decoded(recorded) for recorded in ledger]
    ledger[place] = altered(ledger[place], name)
    with pytest.raises(InvariantBroken):
        replayed(zip(ledger, events, strict=True), receipts_in_memory_max=10)


def test_epoch_and_request_explain_and_are_not_hashed():
    recorded = busy().ledger[3]
    other = msgspec.structs.replace(recorded, epoch=99, request_id="other")
    assert verified(busy().ledger[2].hash, other) == recorded.hash


@pytest.mark.parametrize("gone", [0, 1, 4])
def test_replay_refuses_a_gap(gone):
    ledger = busy().ledger
    left = [(recorded, decoded(recorded)) for place, recorded in enumerate(ledger) if place != gone]
    with pytest.raises(InvariantBroken, match=f"seq {gone + 1} is missing, {gone + 2} found"):
        replayed(left, receipts_in_memory_max=10)


def test_replay_refuses_two_events_that_changed_places():
    ledger = busy().ledger
    ledger[2], ledger[3] = ledger[3], ledger[2]
    with pytest.raises(InvariantBroken):
        replayed([(recorded, decoded(recorded)) for recorded in ledger], receipts_in_memory_max=10)


def test_every_event_type_is_known_by_its_stored_name():
    assert list(EVENT_TYPES) == [
        "account_created",
        "account_started",
        "account_paused",
        "account_resumed",
        "account_locked",
        "account_completed",
        "account_liquidated",
        "action_rejected",
        "order_validated",
        "fill_booked",
        "position_opened",
        "position_increased",
        "position_reduced",
        "position_closed",
        "mark_to_market",
        "mark_to_market_failed",
        "rule_warning",
        "liquidation_triggered",
        "fill_voided",
        "account_recomputed",
    ]


def test_an_account_is_created_with_all_it_was_asked():
    opening = CreateAccount(owner_id="o", clone_id="c", metadata={"b": [1, {"x": None}], "a": "1.5"})
    event = AccountCreated(opening=opening)
    assert msgspec.json.decode(canonical(event), type=AccountCreated) == event


def test_differing_names_wire_fields():
    first = CreateAccount(owner_id="o", clone_id="c")
    second = CreateAccount(owner_id="o", clone_id="d", starting_balance=Decimal(1), metadata={"a": 1})
    assert differing(first, second) == ("cloneId", "startingBalance", "metadata")
    assert differing(first, first) == ()


def test_an_account_begins_in_epoch_0_at_seq_1():
    first = busy().ledger[0]
    assert (first.account_id, first.seq, first.type, first.epoch) == (ACCOUNT_ID, 1, "account_created", 0)
