"""Identities: UUIDv7 for what the engine makes, made from arguments alone.

An order, fill or action id is a function of its account, the seq of its event and the time of the
decision, so replay and retry arrive at the same id and the core needs no chance.
Layout of UUIDv7: RFC 9562 section 5.7.
"""

from datetime import UTC, datetime, timedelta
from hashlib import blake2b
from typing import Final

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND: Final = timedelta(milliseconds=1)


def uuid7(at: datetime, entropy: bytes) -> str:
    """UUIDv7 of the millisecond of `at` and at least 10 bytes of `entropy`."""
    millis, chance = f"{(at - _EPOCH) // _MILLISECOND:012x}", entropy[:10].hex()
    variant = "89ab"[entropy[2] >> 4 & 0b11]  # 0b10, then two more bits of chance
    return f"{millis[:8]}-{millis[8:]}-7{chance[:3]}-{variant}{chance[5:8]}-{chance[8:]}"


def derived_id(kind: str, account_id: str, seq: int, at: datetime) -> str:
    """The id of the `kind` (action, order, fill, pass) that the account's event `seq` brings about."""
    return uuid7(at, blake2b(f"{kind}\0{account_id}\0{seq}".encode(), digest_size=10).digest())
