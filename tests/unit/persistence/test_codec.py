"""Stored events: read by tag and version, brought up to date, refused when they are of a later program."""

import json
from typing import Any, ClassVar

import msgspec
import pytest

from engine.canonical import canonical
from engine.events import EVENT_TYPES, AccountPaused, Event
from persistence import codec
from persistence.codec import MalformedPayload, NewerEventVersion, UnknownEventType
from tests.support.authors import Author


def test_every_recorded_event_decodes_to_what_was_recorded():
    author = Author()
    appends = [author.first, author.start(), author.open(), author.close(), author.take(("hold", "X", {}))]
    for event in (event for append in appends for event in append.events):
        decoded = codec.decode(event.type, event.version, event.payload)
        assert type(decoded) is EVENT_TYPES[event.type]
        assert canonical(decoded) == event.payload


def test_payloads_are_canonical_again_whatever_order_their_keys_come_in():
    (event,) = Author().first.events
    fields = json.loads(event.payload)
    shuffled = json.dumps(dict(reversed(fields.items())), indent=1)
    assert codec.canonical_payload(shuffled) == event.payload
    assert codec.canonical_payload(shuffled.encode()) == event.payload


def test_an_unknown_type_is_refused():
    with pytest.raises(UnknownEventType, match="account_teleported"):
        codec.decode("account_teleported", 1, b"{}")


def test_a_newer_version_is_refused():
    with pytest.raises(NewerEventVersion, match="account_paused version 2"):
        codec.decode("account_paused", 2, b'{"reason":"r"}')


@pytest.mark.parametrize("payload", [b"{}", b'{"reason":1}', b"[]", b"{", b""])
def test_a_payload_of_another_shape_is_refused(payload: bytes):
    with pytest.raises(MalformedPayload, match="account_paused version 1"):
        codec.decode("account_paused", 1, payload)


class Paused3(Event, frozen=True, kw_only=True):
    """An event that had two shapes before this one."""

    TYPE: ClassVar[str] = "account_paused"
    VERSION: ClassVar[int] = 3
    reason: str
    by: str


def named(payload: dict[str, Any]) -> dict[str, Any]:
    return {"reason": payload["why"]}


def signed(payload: dict[str, Any]) -> dict[str, Any]:
    return payload | {"by": "unknown"}


UPCASTERS = {("account_paused", 1): named, ("account_paused", 2): signed}


@pytest.fixture
def third_version(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(EVENT_TYPES, "account_paused", Paused3)
    monkeypatch.setitem(codec._DECODERS, "account_paused", msgspec.json.Decoder(Paused3))


@pytest.mark.usefixtures("third_version")
@pytest.mark.parametrize(
    ("version", "payload"),
    [(1, b'{"why":"r"}'), (2, b'{"reason":"r"}'), (3, b'{"reason":"r","by":"unknown"}')],
)
def test_older_versions_are_upcast_step_by_step(version: int, payload: bytes):
    assert codec.decode("account_paused", version, payload, UPCASTERS) == Paused3(reason="r", by="unknown")


@pytest.mark.usefixtures("third_version")
def test_an_older_version_without_an_upcaster_is_refused():
    with pytest.raises(MalformedPayload, match="version 2 has no upcaster"):
        codec.decode("account_paused", 1, b'{"why":"r"}', {("account_paused", 1): named})


def test_the_table_reaches_the_present_version_of_every_event():
    for type_, event in EVENT_TYPES.items():
        for version in range(1, event.VERSION):
            assert (type_, version) in codec.UPCASTERS


def test_tags_are_the_ledger_contract():
    assert EVENT_TYPES["account_paused"] is AccountPaused
    assert all(tag == event.TYPE and event.VERSION >= 1 for tag, event in EVENT_TYPES.items())


def test_receipts_decode_to_what_was_answered():
    author = Author()
    author.start()
    for append in (author.open(), author.take(("hold", "X", {}))):
        for receipt in append.receipts:
            found = codec.receipt(
                decision_run_id=receipt.decision_run_id,
                action=canonical(receipt.action),
                result=canonical(receipt.result),
                seq=receipt.seq,
                decided_at=receipt.decided_at,
            )
            assert found == receipt
