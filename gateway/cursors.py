"""Cursors: where a list goes on, opaque to clients and only good for the list that gave them.

A cursor is base64url of a MAC and a msgpack struct: the list's name, what it lists (account, filters), and the typed
keyset key of the last row. Guarantee: a key comes out only if this installation made the cursor for this very list.
"""

import base64
import binascii
import hmac
from collections.abc import Iterable
from hashlib import blake2b
from typing import Final, TypeVar

import msgspec

from gateway.problems import Problem

CURSOR_CHARACTERS_MAX: Final = 1_024
MAC_BYTES: Final = 16

Key = TypeVar("Key")


class _Place(msgspec.Struct, frozen=True, array_like=True):
    """What the MAC covers; `scope` is a digest of everything the list was asked with."""

    listing: str
    scope: bytes
    key: msgspec.Raw


def scope_of(*parts: str | None) -> bytes:
    """Digest of an account id or of filters, so that a cursor does not fit the list with others."""
    return blake2b(msgspec.msgpack.encode(parts), digest_size=16).digest()


class Cursors:
    """Signs and opens cursors. `secret` belongs to the installation: gateways that share it share cursors."""

    def __init__(self, secret: bytes) -> None:
        self._key = blake2b(b"cursors", key=secret[:64], digest_size=32).digest()

    def write(self, listing: str, scope: Iterable[str | None], key: object) -> str:
        """The cursor after the row that has `key`."""
        place = _Place(listing, scope_of(*scope), msgspec.Raw(msgspec.msgpack.encode(key)))
        packed = msgspec.msgpack.encode(place)
        return base64.urlsafe_b64encode(self._mac(packed) + packed).rstrip(b"=").decode()

    def read(self, cursor: str, listing: str, scope: Iterable[str | None], key_type: type[Key]) -> Key:
        """The key in `cursor`. Raises `Problem` `invalid_cursor` for a foreign, forged or cut one."""
        try:
            if len(cursor) > CURSOR_CHARACTERS_MAX:
                raise ValueError
            whole = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
            mac, packed = whole[:MAC_BYTES], whole[MAC_BYTES:]
            if not hmac.compare_digest(mac, self._mac(packed)):
                raise ValueError
            place = msgspec.msgpack.decode(packed, type=_Place)
            if place.listing != listing or place.scope != scope_of(*scope):
                raise ValueError
            return msgspec.msgpack.decode(place.key, type=key_type)
        except (ValueError, binascii.Error, msgspec.MsgspecError):
            raise Problem("invalid_cursor", "take nextCursor of this very list, unchanged") from None

    def _mac(self, packed: bytes) -> bytes:
        return hmac.digest(self._key, packed, "sha256")[:MAC_BYTES]
