"""Receipts: the remembered outcomes of action keys (G2). Looked up before anything is judged.

Recent receipts are held whole; of older ones only a 64-bit digest of the key is, which says that the receipt
must be fetched from `prop_decision_actions` before its key may be judged. A key whose digest is unknown is new.
A receipt leaves memory only once it is durable.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime
from hashlib import blake2b
from typing import Final

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


def digest(key: ActionKey) -> int:
    """64 bits of blake2b over the key."""
    return int.from_bytes(blake2b("\0".join(key).encode(), digest_size=8).digest(), "big")


class Receipts:
    """The keys one account has answered."""

    __slots__ = ("_recent", "_recent_max", "_seen")

    def __init__(self, seen: Iterable[int] = (), *, recent_max: int = RECENT_MAX) -> None:
        self._recent: dict[ActionKey, Receipt] = {}
        self._recent_max = recent_max
        self._seen = set(seen)

    def get(self, key: ActionKey) -> Receipt | None:
        return self._recent.get(key)

    def add(self, receipt: Receipt) -> None:
        self._recent[receipt.key] = receipt
        self._seen.add(digest(receipt.key))

    def elsewhere(self, keys: Sequence[ActionKey]) -> list[ActionKey]:
        """Keys that were (all but surely) answered before and whose receipts are not in memory."""
        return [key for key in keys if key not in self._recent and digest(key) in self._seen]

    def trim(self, durable_seq: int) -> None:
        """Forget the oldest durable receipts past the limit."""
        while len(self._recent) > self._recent_max:
            oldest = next(iter(self._recent.values()))
            if oldest.seq > durable_seq:
                return
            del self._recent[oldest.key]

    def fork(self) -> "Receipts":
        """An independent copy, for a dry run."""
        copy = Receipts(self._seen, recent_max=self._recent_max)
        copy._recent = dict(self._recent)
        return copy

    @property
    def seen(self) -> frozenset[int]:
        """Digests of every key ever answered, for the snapshot."""
        return frozenset(self._seen)
