"""Receipts: the remembered outcomes of action keys (G2). Looked up before anything is judged.

Recent receipts are held, packed, since hardly any is ever asked for again; of older ones only a 64-bit digest of the
key is, which says that the receipt must be fetched from `prop_decision_actions` before its key may be judged. A key
whose digest is unknown is new. A receipt leaves memory only once it is durable; one that a replay came by is, and does
not come into memory.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime
from hashlib import blake2b
from typing import Final

import msgspec

from engine.commands import Action
from engine.views import ActionResult, View

RECENT_MAX: Final = 256
ActionKey = tuple[str, str]
"""(decisionRunId, decisionActionId): judged once for ever in an account."""


class Receipt(View, frozen=True, kw_only=True):
    """A remembered outcome: what was asked under a key, what became of it, and by which event."""

    decision_run_id: str
    action: Action
    result: ActionResult
    seq: int
    decided_at: datetime

    @property
    def key(self) -> ActionKey:
        return self.decision_run_id, self.action.decision_action_id


SEQ_BYTES: Final = 8

_ENCODER: Final = msgspec.msgpack.Encoder()
_DECODER: Final = msgspec.msgpack.Decoder(Receipt)


def digest(key: ActionKey) -> int:
    """64 bits of blake2b over the key."""
    return int.from_bytes(blake2b(_name(key).encode(), digest_size=8).digest(), "big")


def _name(key: ActionKey) -> str:
    """A key in one string, which no other key makes: no id holds a NUL."""
    return "\0".join(key)


class Receipts:
    """The keys one account has answered."""

    __slots__ = ("_recent", "_recent_max", "_seen")

    def __init__(self, seen: Iterable[int] = (), *, recent_max: int = RECENT_MAX) -> None:
        self._recent: dict[str, bytes] = {}  # by name of the key, the oldest first: the seq and the packed receipt
        self._recent_max = recent_max
        self._seen = set(seen)

    def get(self, key: ActionKey) -> Receipt | None:
        packed = self._recent.get(_name(key))
        return None if packed is None else _DECODER.decode(memoryview(packed)[SEQ_BYTES:])

    def add(self, receipt: Receipt) -> None:
        self._recent[_name(receipt.key)] = receipt.seq.to_bytes(SEQ_BYTES, "big") + _ENCODER.encode(receipt)
        self._seen.add(digest(receipt.key))

    def keep(self, key: ActionKey) -> None:
        """The key was answered, and its receipt is in storage."""
        self._seen.add(digest(key))

    def elsewhere(self, keys: Sequence[ActionKey]) -> list[ActionKey]:
        """Keys that were (all but surely) answered before and whose receipts are not in memory."""
        return [key for key in keys if _name(key) not in self._recent and digest(key) in self._seen]

    def trim(self, durable_seq: int) -> None:
        """Forget the oldest durable receipts past the limit."""
        while len(self._recent) > self._recent_max:
            name, packed = next(iter(self._recent.items()))
            if int.from_bytes(packed[:SEQ_BYTES], "big") > durable_seq:
                return
            del self._recent[name]

    def fork(self) -> "Receipts":
        """An independent copy, for a dry run."""
        copy = Receipts(self._seen, recent_max=self._recent_max)
        copy._recent = dict(self._recent)
        return copy

    @property
    def seen(self) -> frozenset[int]:
        """Digests of every key ever answered, for the snapshot."""
        return frozenset(self._seen)
