"""Canonical form and the hash chain (G10).

One form for the ledger's payload, the wire and the hash: camelCase names sorted, decimals in plain
notation, times RFC 3339 UTC with six digits, UTF-8, no spaces. A payload read back from jsonb, whatever
order its keys come in, has the same canonical bytes.

A struct that grew names its younger fields in `LATER`. While such a field is null the stored form leaves it out, so
that what does not use it is written, and hashed, as it was before the field existed; the wire always shows it.
"""

from collections.abc import Callable
from datetime import UTC, date, datetime
from decimal import Decimal
from enum import Enum
from hashlib import blake2b
from operator import attrgetter
from typing import Any, Final

import msgspec

GENESIS: Final = bytes(32)
"""The hash before the first event."""

_ENCODER: Final = msgspec.json.Encoder(order="sorted")


def timestamp(at: datetime) -> str:
    """`2026-01-02T03:04:05.000006Z`."""
    return at.astimezone(UTC).isoformat(timespec="microseconds")[:-6] + "Z"


class _Form:
    """Structs and what they hold as builtins: structs become dicts with their wire names."""

    def __init__(self, *, shows_later: bool) -> None:
        self._shows_later = shows_later
        self._into: dict[type, Callable[[Any], Any]] = {
            **_PLAIN,
            dict: lambda value: {key: self(item) for key, item in value.items()},
            list: lambda value: [self(item) for item in value],
            tuple: lambda value: [self(item) for item in value],
        }

    def __call__(self, value: Any) -> Any:
        into = self._into.get(type(value))
        if into is not None:
            return into(value)
        if isinstance(value, msgspec.Struct):
            into = self._into[type(value)] = self._learnt(type(value))
            return into(value)
        if isinstance(value, Enum):
            return value.value
        raise TypeError(f"{type(value).__name__} has no canonical form")

    def _learnt(self, struct: type[msgspec.Struct]) -> Callable[[Any], dict[str, Any]]:
        """How instances of a struct become a dict: found out once, since all that happens goes through it."""
        fields = msgspec.structs.fields(struct)
        names, wires = [field.name for field in fields], [field.encode_name for field in fields]
        later = () if self._shows_later else getattr(struct, "LATER", ())
        left_out = tuple(field.encode_name for field in fields if field.name in later)
        got = attrgetter(*names) if len(names) > 1 else None  # which gives a tuple of two and more only

        def into(value: Any) -> dict[str, Any]:
            found = got(value) if got is not None else [getattr(value, name) for name in names]
            made: dict[str, Any] = dict(zip(wires, found, strict=True))
            for wire, item in made.items():
                if type(item) not in _AS_IT_IS:
                    made[wire] = self(item)
            for wire in left_out:
                if made[wire] is None:
                    del made[wire]
            return made

        return into


def canonical(value: Any) -> bytes:
    """Canonical JSON of a struct or of builtins, as it is stored."""
    return _ENCODER.encode(_stored(value))


def chained(
    previous: bytes, *, account_id: str, seq: int, type_: str, version: int, occurred_at: datetime, payload: bytes
) -> bytes:
    """blake2b-256 of one ledger event; `payload` is already canonical and `previous` the hash before it."""
    head = _ENCODER.encode([account_id, seq, type_, version, timestamp(occurred_at)])
    return blake2b(previous + head + payload, digest_size=32).digest()


def _same(value: Any) -> Any:
    return value


def _digits(value: Decimal) -> str:
    """Plain notation. `str` is quicker, and gives it for every figure that is not very small."""
    text = str(value)
    return format(value, "f") if "E" in text else text


_AS_IT_IS: Final = frozenset({str, int, bool, type(None)})
_PLAIN: Final[dict[type, Callable[[Any], Any]]] = {
    str: _same,
    int: _same,
    bool: _same,
    type(None): _same,
    Decimal: _digits,
    datetime: timestamp,
    date: date.isoformat,
}

plain: Final = _Form(shows_later=True)
"""The builtins that a value is on the wire."""
_stored: Final = _Form(shows_later=False)
