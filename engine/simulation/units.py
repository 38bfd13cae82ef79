"""Units: decimals of 8 places as whole numbers of 1e-8, and times as microseconds since 1970 UTC.

Exact in both directions; nothing here rounds. A figure in a table is an int64, so it lies below `FIGURE_MAX`.
"""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Final

import numpy as np
import numpy.typing as npt

from engine.money import EXACT, UNIT
from engine.simulation.faults import BadInput, InputCode

Ints = npt.NDArray[np.int64]
Int32s = npt.NDArray[np.int32]
Int16s = npt.NDArray[np.int16]
Int8s = npt.NDArray[np.int8]
Flags = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]

SCALE: Final = 100_000_000
FIGURE_MAX: Final = 2**63 - 1
"""In units of 1e-8: 92,233,720,368.54775807. The live engine takes figures below 1e12; a table holds no such one."""

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND: Final = timedelta(microseconds=1)
TIME_US_MAX: Final = (datetime(9999, 1, 1, tzinfo=UTC) - EPOCH) // MICROSECOND
"""A year and more before `datetime` ends, since an account's day and a quote's age reach past a moment."""


def units(value: Decimal, name: str) -> int:
    """A decimal in units of 1e-8; raises `BadInput` where it has more than 8 decimals or is too large for a table."""
    whole = int(value.scaleb(8, EXACT))
    if value.same_quantum(UNIT) and -FIGURE_MAX <= whole <= FIGURE_MAX:
        return whole  # as good as always: the engine keeps its figures at 8 decimals
    if whole != value.scaleb(8, EXACT):
        raise BadInput(InputCode.TOO_MANY_DECIMALS, f"{name} is {value}: at most 8 decimals", name=name)
    if abs(whole) > FIGURE_MAX:
        limit = str(decimal(FIGURE_MAX))
        raise BadInput(InputCode.OUT_OF_RANGE, f"{name} is {value}: at most {limit} either way", name=name, limit=limit)
    return whole


def figure(value: object, name: str) -> Decimal:
    """What a caller gave as a decimal or a whole number; raises `BadInput` for anything else."""
    if isinstance(value, int) and not isinstance(value, bool):
        return Decimal(value)
    if not isinstance(value, Decimal):
        kind = type(value).__name__
        raise BadInput(InputCode.WRONG_TYPE, f"{name} is {value!r}, a {kind}: a Decimal or a whole number", type=kind)
    if not value.is_finite():
        raise BadInput(InputCode.NOT_A_NUMBER, f"{name} is {value}", name=name)
    return value


def decimal(whole: int) -> Decimal:
    """Units of 1e-8 as a decimal at scale 8."""
    return Decimal(whole).scaleb(-8, EXACT)


def moment(at_us: int) -> datetime:
    """Microseconds since 1970 as a UTC time."""
    return EPOCH + timedelta(microseconds=at_us)


def microseconds(at: datetime) -> int:
    """A time as microseconds since 1970 UTC."""
    return (at - EPOCH) // MICROSECOND
