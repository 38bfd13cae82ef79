"""Faults of a simulation's inputs: stable codes, the figures at fault, and the limits they broke.

Exceptions:
    BadInput (ValueError)
    StrategyFailed (Exception)
    ShardLost (Exception)
"""

from enum import StrEnum


class InputCode(StrEnum):
    """Why a simulation was not begun. Part of the API: codes are added, never renamed."""

    EMPTY = "empty"
    WRONG_SHAPE = "wrong_shape"
    MISSING_COLUMN = "missing_column"
    WRONG_TYPE = "wrong_type"
    NOT_SORTED = "not_sorted"
    DUPLICATE = "duplicate"
    NOT_A_NUMBER = "not_a_number"
    TOO_MANY_DECIMALS = "too_many_decimals"
    OUT_OF_RANGE = "out_of_range"
    UNKNOWN_SYMBOL = "unknown_symbol"
    UNKNOWN_WORD = "unknown_word"
    TOO_MANY = "too_many"
    UNSUPPORTED = "unsupported"
    UNREADABLE = "unreadable"


class BadInput(ValueError):
    """An input that cannot be simulated. `context` names what was found and the limit, if there is one."""

    def __init__(self, code: InputCode, detail: str, **context: str | int) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail
        self.context = context

    def __str__(self) -> str:
        return f"{self.code}: {self.detail}"

    def __reduce__(self) -> tuple[object, ...]:
        """Keyword arguments survive the way back from a worker."""
        return _rebuilt, (self.code, self.detail, self.context)


def _rebuilt(code: InputCode, detail: str, context: dict[str, str | int]) -> BadInput:
    return BadInput(code, detail, **context)


class StrategyFailed(Exception):
    """A strategy raised something. The message says which account's, at which tick, what, and where in its code."""


class ShardLost(Exception):
    """A shard's worker died again and again, or the cluster that it ran on is gone."""
