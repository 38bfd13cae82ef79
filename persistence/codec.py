"""Stored events back into engine terms (STYLE rule 7: stored names are a contract).

Owns decoding by tag and version, and the upcasters that carry a payload of an older version up to the one the engine
knows. Refuses a tag it does not know and a version newer than the engine's: a program that is older than the ledger
must not guess. Guarantee: `canonical_payload` of what jsonb kept is byte for byte what was hashed.
"""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Final

import msgspec

from engine.commands import Action
from engine.events import EVENT_TYPES, Event
from engine.receipts import Receipt
from engine.views import ActionResult

Payload = dict[str, Any]
Upcaster = Callable[[Payload], Payload]

UPCASTERS: Final[Mapping[tuple[str, int], Upcaster]] = {}
"""By (type, version): makes a payload of that version one of the next. Each step is one version."""


class UndecodableEvent(Exception):
    """A stored event that this program cannot read; nothing may be derived from the ledger that holds it.

    Above it in the tree: Exception. Below: `UnknownEventType`, `NewerEventVersion`, `MalformedPayload`.
    """


class UnknownEventType(UndecodableEvent):
    """No such tag: written by a later program, or not by this engine at all."""


class NewerEventVersion(UndecodableEvent):
    """A version that only a later program writes."""


class MalformedPayload(UndecodableEvent):
    """The payload does not have the fields of its type and version, or an older version has no upcaster."""


_SORTED: Final = msgspec.json.Encoder(order="sorted")
_ACTION: Final = msgspec.json.Decoder(Action)
_RESULT: Final = msgspec.json.Decoder(ActionResult)
_DECODERS: Final = {type_: msgspec.json.Decoder(event) for type_, event in EVENT_TYPES.items()}


def canonical_payload(stored: bytes | str) -> bytes:
    """The canonical bytes of a payload as jsonb gives its text, in whatever order its keys come."""
    return _SORTED.encode(msgspec.json.decode(stored))


def decode(
    type_: str, version: int, payload: bytes, upcasters: Mapping[tuple[str, int], Upcaster] = UPCASTERS
) -> Event:
    """The event of a ledger row, in the engine's present version; raises `UndecodableEvent`."""
    event = EVENT_TYPES.get(type_)
    if event is None:
        raise UnknownEventType(f"{type_!r} is no event type of this program: upgrade it")
    if version > event.VERSION:
        raise NewerEventVersion(f"{type_} version {version} is newer than {event.VERSION}: upgrade this program")
    try:
        if version == event.VERSION:
            return _DECODERS[type_].decode(payload)
        return _DECODERS[type_].decode(_SORTED.encode(_upcast(type_, version, event.VERSION, payload, upcasters)))
    except msgspec.MsgspecError as error:
        raise MalformedPayload(f"{type_} version {version}: {error}") from error


def receipt(
    *, decision_run_id: str, action: bytes | str, result: bytes | str, seq: int, decided_at: datetime
) -> Receipt:
    """A receipt from its columns, `action` and `result` as jsonb gives their text."""
    return Receipt(
        decision_run_id=decision_run_id,
        action=_ACTION.decode(action),
        result=_RESULT.decode(result),
        seq=seq,
        decided_at=decided_at,
    )


def _upcast(
    type_: str, version: int, wanted: int, payload: bytes, upcasters: Mapping[tuple[str, int], Upcaster]
) -> Payload:
    fields: Payload = msgspec.json.decode(payload)
    for step in range(version, wanted):
        upcaster = upcasters.get((type_, step))
        if upcaster is None:
            raise MalformedPayload(f"{type_} version {step} has no upcaster to version {step + 1}")
        fields = upcaster(fields)
    return fields
