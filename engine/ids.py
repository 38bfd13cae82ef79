"""Identities: UUIDv7 for what the engine makes, made from arguments alone.

An order, fill or action id is a function of its account, the seq of its event and the time of the
decision, so replay and retry arrive at the same id and the core needs no chance.
Layout of UUIDv7: RFC 9562 section 5.7.
"""

from datetime import UTC, datetime, timedelta
from functools import lru_cache
from hashlib import blake2b
from typing import Final

MOMENTS_REMEMBERED: Final = 1_024
"""All ids of one decision, and of one tick or pass, begin alike."""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND: Final = timedelta(milliseconds=1)
_VARIANTS: Final = {digit: "89ab"[int(digit, 16) & 0b11] for digit in "0123456789abcdef"}
"""0b10, then two bits of chance."""


def uuid7(at: datetime, entropy: bytes) -> str:
    """UUIDv7 of the millisecond of `at` and at least 10 bytes of `entropy`."""
    chance = entropy.hex()
    begun = _begun(at if at.tzinfo is UTC else at.astimezone(UTC))
    return f"{begun}{chance[:3]}-{_VARIANTS[chance[4]]}{chance[5:8]}-{chance[8:20]}"


@lru_cache(maxsize=MOMENTS_REMEMBERED)
def _begun(at: datetime) -> str:
    """How ids of a moment in UTC begin: elsewhere two different ones may be equal, where clocks are set back."""
    millis = f"{(at - _EPOCH) // _MILLISECOND:012x}"
    return f"{millis[:8]}-{millis[8:]}-7"


def derived_id(kind: str, account_id: str, seq: int, at: datetime) -> str:
    """The id of the `kind` (action, order, fill, pass) that the account's event `seq` brings about."""
    return uuid7(at, blake2b(f"{kind}\0{account_id}\0{seq}".encode(), digest_size=10).digest())
