"""Snapshots as bytes: a book state with the version of its shape and a checksum.

A cache, never truth: `unpacked` answers None for whatever it cannot vouch for, and the ledger rebuilds the account.
"""

from hashlib import sha256
from typing import Final

import msgspec
import structlog

from engine.book import BookState
from persistence.store import StoredSnapshot

SCHEMA_VERSION: Final = 4
"""Of `BookState` and all in it. Raise it whenever a field there changes its meaning, and older ones are passed over."""
KEPT: Final = 3
"""Snapshots kept of an account, newest first."""

_log = structlog.get_logger(__name__)
_DECODER: Final = msgspec.msgpack.Decoder(BookState)


class PackedSnapshot(msgspec.Struct, frozen=True, gc=False):
    """A row of `prop_account_snapshots`; `sha256` covers `state`."""

    account_id: str
    seq: int
    epoch: int
    schema_version: int
    state: bytes
    sha256: bytes


def packed(snapshot: StoredSnapshot) -> PackedSnapshot:
    state = msgspec.msgpack.encode(snapshot.state)
    return PackedSnapshot(
        snapshot.account_id, snapshot.seq, snapshot.epoch, SCHEMA_VERSION, state, sha256(state).digest()
    )


def unpacked(row: PackedSnapshot) -> StoredSnapshot | None:
    """The snapshot, or None (and a line in the log) where it is corrupt or of another program's making."""
    fault = None
    if row.schema_version != SCHEMA_VERSION:
        fault = f"schema version {row.schema_version}, not {SCHEMA_VERSION}"
    elif sha256(row.state).digest() != row.sha256:
        fault = "checksum differs"
    else:
        try:
            state = _DECODER.decode(row.state)
        except msgspec.MsgspecError as error:
            fault = str(error)
        else:
            if state.account.id == row.account_id and state.account.seq == row.seq:
                return StoredSnapshot(row.account_id, row.seq, row.epoch, state)
            fault = f"holds {state.account.id} at seq {state.account.seq}"
    _log.warning("snapshot_passed_over", account_id=row.account_id, seq=row.seq, fault=fault)
    return None
