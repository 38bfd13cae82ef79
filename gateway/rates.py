"""Rates: how many requests a second one token may make. A bucket for each token, in memory, at each gateway.

Guarantee: over any time `t` seconds long a token gets at most `burst + rate * t` requests; what it does not use of a
second is kept up to `burst`. Memory is bounded: a bucket that is full again is forgotten.
"""

import math
from collections.abc import Callable
from typing import Final

import msgspec

PER_SECOND: Final = 20_000
"""More than one gateway serves on two cores: by default it is the places in flight that hold a token back."""
BUCKETS_MAX: Final = 1_024
"""Buckets at which the full ones are forgotten."""


class RateLimit(msgspec.Struct, frozen=True, kw_only=True):
    """Requests a second that a token may keep up, and how many at once after a rest."""

    per_second: int = PER_SECOND
    burst: int = PER_SECOND


class _Bucket(msgspec.Struct):
    left: float
    at: float


class Rates:
    """The buckets of one gateway. `monotonic` gives seconds."""

    def __init__(self, limit: RateLimit, *, monotonic: Callable[[], float]) -> None:
        self._limit = limit
        self._monotonic = monotonic
        self._buckets: dict[str, _Bucket] = {}

    def take(self, token_id: str) -> int:
        """Take one request from the token's bucket: 0, or where it is empty the whole seconds to wait."""
        now = self._monotonic()
        bucket = self._buckets.get(token_id)
        if bucket is None:
            if len(self._buckets) >= BUCKETS_MAX:
                self._forget_full(now)
            bucket = self._buckets[token_id] = _Bucket(self._limit.burst, now)
        bucket.left, bucket.at = self._filled(bucket, now), now
        if bucket.left < 1:
            return math.ceil((1 - bucket.left) / self._limit.per_second)
        bucket.left -= 1
        return 0

    def _filled(self, bucket: _Bucket, now: float) -> float:
        return min(self._limit.burst, bucket.left + (now - bucket.at) * self._limit.per_second)

    def _forget_full(self, now: float) -> None:
        self._buckets = {
            token_id: bucket
            for token_id, bucket in self._buckets.items()
            if self._filled(bucket, now) < self._limit.burst
        }
