"""Canonical form and the hash chain (G10).

One form for the ledger's payload, the wire and the hash: camelCase names sorted, decimals in plain
notation, times RFC 3339 UTC with six digits, UTF-8, no spaces. A payload read back from jsonb, whatever
order its keys come in, has the same canonical bytes.

A struct that grew names its younger fields in `LATER`. While such a field is null the stored form leaves it out, so
that what does not use it is written, and hashed, as it was before the field existed; the wire always shows it.
"""

from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime
from decimal import Decimal
from enum import Enum
from functools import lru_cache
from hashlib import blake2b
from operator import attrgetter
from typing import Any, Final

import msgspec

from engine.direct import ENCODER, direct

GENESIS: Final = bytes(32)
"""The hash before the first event."""

TIMESTAMPS_REMEMBERED: Final = 1_024
"""Of one decision every event, order and fill names the same moments."""

_WIRE: Final = msgspec.json.Encoder()
_Into = Callable[[Any], Any]


def timestamp(at: datetime) -> str:
    """`2026-01-02T03:04:05.000006Z`."""
    return _timestamp(at if at.tzinfo is UTC else at.astimezone(UTC))


@lru_cache(maxsize=TIMESTAMPS_REMEMBERED)
def _timestamp(at: datetime) -> str:
    """Of a moment in UTC: elsewhere two different ones may be equal, where clocks are set back."""
    return at.isoformat(timespec="microseconds")[:-6] + "Z"


class _Form(dict[type, "_Into | None"]):
    """Structs and what they hold as builtins: structs become dicts with their wire names.

    By type, how its values become builtins; None: they are one. A struct is learnt when it is first met, since all that
    happens goes through here.
    """

    def __init__(self, *, shows_later: bool) -> None:
        super().__init__(_PLAIN)
        self._shows_later = shows_later
        self[dict] = lambda value: {key: self.of(item) for key, item in value.items()}
        self[list] = self[tuple] = lambda value: [self.of(item) for item in value]

    def of(self, value: Any) -> Any:
        into = self[type(value)]
        return value if into is None else into(value)

    def __missing__(self, kind: type) -> "_Into":
        if issubclass(kind, msgspec.Struct):
            into = self[kind] = self._learnt(kind)
        elif issubclass(kind, Enum):
            into = self[kind] = attrgetter("value")
        else:
            raise TypeError(f"{kind.__name__} has no canonical form")
        return into

    def _learnt(self, struct: type[msgspec.Struct]) -> "_Into":
        fields = msgspec.structs.fields(struct)
        names, wires = [field.name for field in fields], [field.encode_name for field in fields]
        later = () if self._shows_later else getattr(struct, "LATER", ())
        left_out = tuple(field.encode_name for field in fields if field.name in later)
        got = attrgetter(*names) if len(names) > 1 else None  # which gives a tuple of two and more only

        def into(value: Any) -> dict[str, Any]:
            found = got(value) if got is not None else [getattr(value, name) for name in names]
            made = {
                wire: item if (into := self[type(item)]) is None else into(item)
                for wire, item in zip(wires, found, strict=True)
            }
            for wire in left_out:
                if made[wire] is None:
                    del made[wire]
            return made

        return into


def canonical(value: Any) -> bytes:
    """Canonical JSON of a struct or of builtins, as it is stored."""
    written = _directly(value, ENCODER)
    return by_type(value) if written is None else written


def by_type(value: Any) -> bytes:
    """The same, of anything that has a canonical form: what `direct` must be equal to, and leaves over."""
    return ENCODER.encode(_stored.of(value))


def chained(
    previous: bytes, *, account_id: str, seq: int, type_: str, version: int, occurred_at: datetime, payload: bytes
) -> bytes:
    """blake2b-256 of one ledger event; `payload` is already canonical and `previous` the hash before it."""
    # The encoder writes six digits, too, but none where all of them are 0.
    moment = occurred_at if occurred_at.microsecond and occurred_at.tzinfo is UTC else timestamp(occurred_at)
    head = ENCODER.encode([account_id, seq, type_, version, moment])
    return blake2b(previous + head + payload, digest_size=32).digest()


def _digits(value: Decimal) -> str:
    """Plain notation. `str` is quicker, and gives it for every figure that is not very small."""
    text = str(value)
    return format(value, "f") if "E" in text else text


_PLAIN: Final[Mapping[type, _Into | None]] = {
    str: None,
    int: None,
    bool: None,
    type(None): None,
    Decimal: _digits,
    datetime: timestamp,
    date: date.isoformat,
}

_stored: Final = _Form(shows_later=False)
_shown: Final = _Form(shows_later=True)


def plain(value: Any) -> Any:
    """The builtins that a value is on the wire."""
    return _shown.of(value)


def shown(value: Any) -> bytes:
    """JSON of a struct or of builtins, as the wire shows it: fields in their order, younger ones too."""
    written = _directly(value, _WIRE)
    return shown_by_type(value) if written is None else written


def shown_by_type(value: Any) -> bytes:
    """The same, as `by_type` is to `canonical`."""
    return _WIRE.encode(_shown.of(value))


def _directly(value: Any, encoder: msgspec.json.Encoder) -> bytes | None:
    kind: type = type(value)
    quick = direct(kind)
    return None if quick is None else quick.encoded(value, encoder)
