"""Canonical form and the hash chain (G10).

One form for the ledger's payload, the wire and the hash: camelCase names sorted, decimals in plain
notation, times RFC 3339 UTC with six digits, UTF-8, no spaces. A payload read back from jsonb, whatever
order its keys come in, has the same canonical bytes.
"""

from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from enum import Enum
from hashlib import blake2b
from typing import Any, Final

import msgspec

GENESIS: Final = bytes(32)
"""The hash before the first event."""

_ENCODER: Final = msgspec.json.Encoder(order="sorted")
_FIELDS: dict[type, tuple[tuple[str, str], ...]] = {}


def timestamp(at: datetime) -> str:
    """`2026-01-02T03:04:05.000006Z`."""
    return at.astimezone(UTC).isoformat(timespec="microseconds")[:-6] + "Z"


def plain(value: Any) -> Any:
    """The builtins that `value` is on the wire: structs become dicts with their wire names."""
    into = _PLAIN.get(type(value))
    if into is not None:
        return into(value)
    if isinstance(value, msgspec.Struct):
        names = _FIELDS.get(type(value))
        if names is None:
            fields = msgspec.structs.fields(type(value))
            names = _FIELDS[type(value)] = tuple((field.name, field.encode_name) for field in fields)
        return {wire: plain(getattr(value, name)) for name, wire in names}
    if isinstance(value, Enum):
        return value.value
    raise TypeError(f"{type(value).__name__} has no canonical form")


def canonical(value: Any) -> bytes:
    """Canonical JSON of a struct or of builtins."""
    return _ENCODER.encode(plain(value))


def chained(
    previous: bytes, *, account_id: str, seq: int, type_: str, version: int, occurred_at: datetime, payload: bytes
) -> bytes:
    """blake2b-256 of one ledger event; `payload` is already canonical and `previous` the hash before it."""
    head = _ENCODER.encode([account_id, seq, type_, version, timestamp(occurred_at)])
    return blake2b(previous + head + payload, digest_size=32).digest()


def _same(value: Any) -> Any:
    return value


_PLAIN: Final[dict[type, Callable[[Any], Any]]] = {
    str: _same,
    int: _same,
    bool: _same,
    type(None): _same,
    Decimal: lambda value: format(value, "f"),
    datetime: timestamp,
    dict: lambda value: {key: plain(item) for key, item in value.items()},
    list: lambda value: [plain(item) for item in value],
    tuple: lambda value: [plain(item) for item in value],
}
