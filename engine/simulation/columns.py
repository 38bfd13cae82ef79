"""Columns: what a data frame holds, as exact figures, times and words, or a fault that names column and row.

Any frame that speaks Arrow's C stream is read alike: polars, pandas, pyarrow, and text columns as a CSV has them.
"""

import re
from decimal import Decimal
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from engine.simulation.faults import BadInput, InputCode
from engine.simulation.units import FIGURE_MAX, SCALE, Flags, Floats, Ints, decimal

EXACT_DOUBLES_MAX: Final = 2.0**26
"""Below it doubles lie closer than 1e-8, so one stands for at most one figure of 8 decimals."""
TEXT_CHARACTERS_MAX: Final = 38
"""Of a figure: as many digits as 128 bits hold. Arrow reads longer ones modulo 2^128: 5,000 nines are -1 to it."""
FIGURE: Final = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d{1,4})?", re.ASCII)
"""What Arrow takes for one. `Decimal` would take blanks, underscores and other digits, too."""


def arrow(frame: Any, what: str) -> pa.Table:
    """The frame as an Arrow table; raises `BadInput` where it is none."""
    if isinstance(frame, pa.Table):
        return frame
    try:
        return pa.table(frame)
    except (TypeError, ValueError, pa.ArrowException) as error:
        kind = type(frame).__name__
        lazy = "collect it first" if hasattr(frame, "collect") else error
        detail = f"{what}: a {kind} is no data frame that Arrow can read ({lazy})"
        raise BadInput(InputCode.WRONG_TYPE, detail, type=kind) from None


def column(table: pa.Table, name: str, what: str) -> pa.Array:
    """One column in one piece; raises `BadInput` where it is missing or named twice."""
    found = table.schema.get_all_field_indices(name)
    if len(found) != 1:
        code = InputCode.MISSING_COLUMN if not found else InputCode.DUPLICATE
        names = ", ".join(table.schema.names)
        raise BadInput(code, f"{what} {'have no' if not found else 'repeat the'} column {name!r}: {names}", name=name)
    whole = table.column(found[0]).combine_chunks()
    return pa.concat_arrays(whole.chunks) if isinstance(whole, pa.ChunkedArray) else whole


def figures(values: pa.Array, name: str) -> tuple[Ints, Flags]:
    """Units of 1e-8, and where there is a value at all (0 stands where there is none)."""
    known = _flags(pc.is_valid(values))
    kind = values.type
    if pa.types.is_null(kind):
        return np.zeros(len(values), np.int64), known
    if pa.types.is_floating(kind):
        return _of_doubles(np.asarray(values.fill_null(0.0).cast(pa.float64()), np.float64), name), known
    if pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        values = _without_exponents(values.cast(pa.string()))
        if (pc.max(pc.utf8_length(values)).as_py() or 0) > TEXT_CHARACTERS_MAX:
            raise _unexact(values, name)
    elif not (pa.types.is_integer(kind) or pa.types.is_decimal(kind)):
        raise BadInput(InputCode.WRONG_TYPE, f"{name} is {kind}: a decimal, a whole number or a text", name=name)
    try:
        exact = values.cast(pa.decimal128(38, 8))
    except pa.ArrowException:
        raise _unexact(values, name) from None
    return _of_decimals(exact, name), known


def times(values: pa.Array, name: str) -> Ints:
    """Microseconds since 1970; a time without a zone is UTC, a date is its midnight."""
    if values.null_count:
        row = int(np.argmin(_flags(pc.is_valid(values))))
        raise BadInput(InputCode.WRONG_TYPE, f"{name} of row {row} is missing", name=name, row=row)
    kind = values.type
    if pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        values = _parsed(values.cast(pa.string()), name)
    elif not (pa.types.is_timestamp(kind) or pa.types.is_date(kind)):
        raise BadInput(InputCode.WRONG_TYPE, f"{name} is {kind}: a timestamp, a date or an ISO 8601 text", name=name)
    try:
        zone = values.type.tz if pa.types.is_timestamp(values.type) else None
        whole = values.cast(pa.timestamp("us", zone)).cast(pa.int64())
    except pa.ArrowException as error:
        raise BadInput(InputCode.OUT_OF_RANGE, f"{name} is finer than a microsecond: {error}", name=name) from None
    return np.array(whole, np.int64)


def words(values: pa.Array, name: str) -> tuple[Ints, list[str]]:
    """An index of each value in the list of different ones, -1 where there is none."""
    if not (pa.types.is_null(values.type) or _is_text(values.type)):
        raise BadInput(InputCode.WRONG_TYPE, f"{name} is {values.type}: a text", name=name)
    if pa.types.is_dictionary(values.type):  # Arrow decodes no dictionary of views, which polars makes
        values = pa.DictionaryArray.from_arrays(values.indices, values.dictionary.cast(pa.string()))
    encoded = values.cast(pa.string()).dictionary_encode()
    return np.array(encoded.indices.fill_null(-1), np.int64), encoded.dictionary.to_pylist()


def whole_numbers(values: pa.Array, name: str) -> Ints:
    """Whole numbers; texts of them, too."""
    try:
        return np.array(values.cast(pa.int64()), np.int64) if not values.null_count else _refuse(values, name)
    except pa.ArrowException:
        return _refuse(values, name)


def _refuse(values: pa.Array, name: str) -> Ints:
    raise BadInput(InputCode.WRONG_TYPE, f"{name} is {values.type}: a whole number in every row", name=name)


def _is_text(kind: pa.DataType) -> bool:
    if pa.types.is_dictionary(kind):
        return _is_text(kind.value_type)
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def _flags(values: pa.Array) -> Flags:
    return np.array(values.to_numpy(zero_copy_only=False), np.bool_)


def _parsed(texts: pa.Array, name: str) -> pa.Array:
    for zone in ("UTC", None):
        try:
            return texts.cast(pa.timestamp("us", zone))
        except pa.ArrowException:
            continue
    row, fault = _unread(texts)
    raise BadInput(
        InputCode.WRONG_TYPE, f"{name} of row {row} is {_short(texts[row].as_py())}: {fault}", name=name, row=row
    )


def _unread(texts: pa.Array) -> tuple[int, str]:
    """The first row that is no time, or of another kind than the first."""
    has_zone: bool | None = None
    for row in range(len(texts)):
        kinds = [zone is not None for zone in ("UTC", None) if _is_time(texts.slice(row, 1), zone)]
        if not kinds:
            return row, "an ISO 8601 time, like 2026-01-05T09:30:00Z"
        if has_zone is not None and kinds[0] != has_zone:
            return row, f"with {'a' if kinds[0] else 'no'} zone, unlike the rows above it"
        has_zone = kinds[0]
    raise AssertionError("times were refused, and none of them is")


def _is_time(text: pa.Array, zone: str | None) -> bool:
    try:
        text.cast(pa.timestamp("us", zone))
    except pa.ArrowException:
        return False
    return True


def _of_decimals(values: pa.Array, name: str) -> Ints:
    """From Arrow's 128 bits, whose upper half must only repeat the sign."""
    halves = np.frombuffer(values.buffers()[1], np.int64)[2 * values.offset : 2 * (values.offset + len(values))]
    low, high = halves[0::2], halves[1::2]
    known = _flags(pc.is_valid(values))
    beyond = known & (high != low >> 63)
    if beyond.any():
        row = int(np.argmax(beyond))
        raise _beyond(name, row, str(values[row].as_py()))
    return np.where(known, low, 0)


def _of_doubles(values: Floats, name: str) -> Ints:
    """Each the figure of 8 decimals whose nearest double it is."""
    wrong = ~np.isfinite(values)
    if wrong.any():
        row = int(np.argmax(wrong))
        raise BadInput(InputCode.NOT_A_NUMBER, f"{name} of row {row} is {float(values[row])}", name=name, row=row)
    beyond = np.abs(values) >= FIGURE_MAX / SCALE
    if beyond.any():
        row = int(np.argmax(beyond))
        raise _beyond(name, row, str(values[row]))
    units = np.rint(values * SCALE).astype(np.int64)
    for row in np.flatnonzero(np.abs(values) >= EXACT_DOUBLES_MAX).tolist():
        units[row] = int(Decimal(repr(float(values[row]))).scaleb(8))
    finer = units / SCALE != values
    if finer.any():
        row = int(np.argmax(finer))
        detail = f"{name} of row {row} is {float(values[row])!r}: at most 8 decimals; round it first"
        raise BadInput(InputCode.TOO_MANY_DECIMALS, detail, name=name, row=row)
    return units


def _without_exponents(texts: pa.Array) -> pa.Array:
    """Arrow loses digits in silence where there are some: 8e-42 is 0 to it."""
    if not pc.any(pc.match_substring(texts, "e", ignore_case=True)).as_py():
        return texts
    written = [f"{Decimal(text):f}" if text and FIGURE.fullmatch(text) else text for text in texts.to_pylist()]
    return pa.array(written, pa.string())


def _unexact(values: pa.Array, name: str) -> BadInput:
    """Which row it was, and what is wrong with it."""
    for row, value in enumerate(values.to_pylist()):
        if value is None:
            continue
        text = str(value)
        if not FIGURE.fullmatch(text):
            return BadInput(InputCode.NOT_A_NUMBER, f"{name} of row {row} is {_short(text)}", name=name, row=row)
        if abs(Decimal(text)) >= decimal(FIGURE_MAX):
            return _beyond(name, row, text)
        if len(text) > TEXT_CHARACTERS_MAX or not _is_exact(values.slice(row, 1)):
            detail = f"{name} of row {row} is {_short(text)}: at most 8 decimals; round it first"
            return BadInput(InputCode.TOO_MANY_DECIMALS, detail, name=name, row=row)
    raise AssertionError(f"{name} was refused, and none of its values is")


def _is_exact(value: pa.Array) -> bool:
    try:
        value.cast(pa.decimal128(38, 8))
    except pa.ArrowException:
        return False
    return True


def _short(text: str) -> str:
    """As much of a text as fits a line."""
    return repr(text if len(text) <= TEXT_CHARACTERS_MAX else f"{text[:TEXT_CHARACTERS_MAX]}...")


def _beyond(name: str, row: int, value: str) -> BadInput:
    limit = str(decimal(FIGURE_MAX))
    detail = f"{name} of row {row} is {_short(value)}: at most {limit} either way"
    return BadInput(InputCode.OUT_OF_RANGE, detail, name=name, row=row, limit=limit)
