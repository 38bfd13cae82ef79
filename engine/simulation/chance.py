"""Chance: numbers that only look random, the same for the same seed on every machine and in every order.

Counter based: the n-th number of a stream is a function of (seed, stream, n), so an account draws the same numbers
whichever shard it is in. The function is the finalizer of SplitMix64 (G. L. Steele, D. Lea, C. H. Flood, "Fast
Splittable Pseudorandom Number Generators", 2014), in whole numbers only: no platform's logarithm rounds another way.
"""

from typing import Final

import numpy as np
import numpy.typing as npt

from engine.simulation.units import Ints

SEED_MAX: Final = 2**63 - 1
_GAMMA: Final = 0x9E3779B97F4A7C15
_MASK: Final = 2**64 - 1
_PIECES: Final = 16
_PIECE_MEAN: Final = (2**16 - 1) / 2
_DEVIATION: Final = (_PIECES * (2**32 - 1) / 12) ** 0.5
"""Of a sum of `_PIECES` numbers of 16 bits."""
MILLIONTHS: Final = 1_000_000


def mixed(value: int) -> int:
    """64 bits to 64 bits, each of which depends on all."""
    value = ((value ^ (value >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    value = ((value ^ (value >> 27)) * 0x94D049BB133111EB) & _MASK
    return value ^ (value >> 31)


class Chance:
    """One stream of numbers."""

    __slots__ = ("_key", "_next")

    def __init__(self, seed: int, stream: int) -> None:
        self._key = mixed(mixed(seed & _MASK) ^ (stream * _GAMMA & _MASK))
        self._next = 0

    def below(self, limit: int) -> int:
        """A whole number from 0 to `limit` - 1, each alike (but for 1 in 2**64)."""
        return self._draw() * limit >> 64

    def happens(self, one_in: int) -> bool:
        """True once in so many times."""
        return self.below(one_in) == 0

    def _draw(self) -> int:
        self._next += 1
        return mixed((self._key + self._next * _GAMMA) & _MASK)


def bell(seed: int, stream: int, count: int) -> Ints:
    """`count` numbers of a bell curve with mean 0 and deviation 1, in millionths: sums of 16 even ones."""
    key = mixed(mixed(seed & _MASK) ^ (stream * _GAMMA & _MASK))
    places = np.arange(1, count * _PIECES // 4 + 1, dtype=np.uint64)
    drawn = _mixed(places * np.uint64(_GAMMA) + np.uint64(key))
    pieces = drawn[:, None] >> np.array([0, 16, 32, 48], np.uint64) & np.uint64(0xFFFF)
    sums = pieces.reshape(count, _PIECES).sum(axis=1).astype(np.int64)
    twice = 2 * sums - np.int64(2 * _PIECES * _PIECE_MEAN)
    curve: Ints = twice * MILLIONTHS // np.int64(2 * _DEVIATION)
    return curve


def _mixed(values: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


def draws(seed: int, streams: npt.NDArray[np.int64], count: int) -> npt.NDArray[np.uint64]:
    """The first `count` numbers of each stream [streams, count], all 64 bits of them: those that `Chance` draws."""
    keys = np.array([mixed(mixed(seed & _MASK) ^ (stream * _GAMMA & _MASK)) for stream in streams.tolist()], np.uint64)
    places = np.arange(1, count + 1, dtype=np.uint64) * np.uint64(_GAMMA)
    return _mixed(keys[:, None] + places)


def even(drawn: npt.NDArray[np.uint64], limit: int) -> Ints:
    """Whole numbers from 0 to `limit` - 1, by the upper 32 bits of each draw; `limit` is at most 2**31."""
    whole: Ints = ((drawn >> np.uint64(32)) * np.uint64(limit) >> np.uint64(32)).astype(np.int64)
    return whole
