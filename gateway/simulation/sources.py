"""Sources: prices, recorded actions and strategies by the words that name them on the command line."""

import importlib
import sys
from datetime import UTC, date, datetime, time
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
from pyarrow import csv, parquet

from engine.simulation.actions import ActionTable
from engine.simulation.faults import BadInput, InputCode
from engine.simulation.frames import actions_of, prices_of
from engine.simulation.prices import PriceTable
from engine.simulation.scripts import SCRIPTS, Script
from engine.simulation.strategies import MakesStrategy
from engine.simulation.synthetic import REGIMES, TICKS, synthetic
from engine.simulation.traders import TRADERS
from gateway.demo.feed import HALF_SPREAD_BPS, SOURCE, SYMBOLS, NoPrices, Replay

REAL: Final = "real"
SYNTHETIC: Final = "synthetic"
CLOSING_TIME: Final = time(21, tzinfo=UTC)
"""Of the exchange the real bars are from, in winter."""


def prices(source: str, *, ticks: int | None = None, half_spread_bps: Decimal | None = None) -> PriceTable:
    """`real[:SYMBOL,...]`, `synthetic:SEED[:REGIME,...]`, or a CSV or Parquet file. Raises `BadInput`.

    `ticks`: how many synthetic ones to make, or at most how many of others to take. `half_spread_bps`: around the
    closes of bars.
    """
    word, _, rest = source.partition(":")
    if word == SYNTHETIC:
        seed, _, regimes = rest.partition(":")
        if not seed.isascii() or not seed.isdigit():
            raise BadInput(InputCode.UNKNOWN_WORD, f"{source!r} has no seed: synthetic:7", source=source)
        named = tuple(regimes.split(",")) if regimes else tuple(REGIMES)
        return synthetic(int(seed), regimes=named, ticks=TICKS if ticks is None else ticks)
    if word == REAL:
        table = real(tuple(rest.split(",")) if rest else SYMBOLS, half_spread_bps)
    else:
        spread = {} if half_spread_bps is None else {"half_spread_bps": half_spread_bps}
        table = prices_of(read(Path(source)), source=Path(source).name, **spread)
    return table if ticks is None else table.between(0, ticks)


def real(symbols: tuple[str, ...] = SYMBOLS, half_spread_bps: Decimal | None = None) -> PriceTable:
    """The bundled daily bars as the demo replays them: a tick a trading day, at the close. Raises `BadInput`."""
    for symbol in symbols:
        if symbol not in SYMBOLS:
            raise BadInput(InputCode.UNKNOWN_SYMBOL, f"no bars of {symbol!r}: {', '.join(SYMBOLS)}", symbol=symbol)
    try:
        replay = Replay.recorded()
    except NoPrices as error:
        raise BadInput(InputCode.UNREADABLE, str(error)) from None
    rows: list[tuple[datetime, str, Decimal]] = []
    for step, day in enumerate(replay.days):
        closes = replay.closes(step)
        rows += [(_closing(day), symbol, closes[symbol]) for symbol in symbols if symbol in closes]
    at, names, closing = zip(*rows, strict=True)
    bars = pa.table({"time": pa.array(at), "symbol": pa.array(names), "close": pa.array(closing, pa.decimal128(18, 8))})
    return prices_of(
        bars, half_spread_bps=HALF_SPREAD_BPS if half_spread_bps is None else half_spread_bps, source=SOURCE
    )


def recorded(path: Path, table: PriceTable) -> ActionTable:
    """Recorded actions from a CSV or Parquet file. Raises `BadInput`."""
    return actions_of(read(path), table)


def strategy(name: str) -> MakesStrategy | Script:
    """A built-in one by its name, or `module:Class`, looked for where the command runs, too. Raises `BadInput`."""
    if name in TRADERS:
        return TRADERS[name]
    if name in SCRIPTS:
        return SCRIPTS[name]
    module, _, attribute = name.partition(":")
    if not attribute:
        known = ", ".join([*TRADERS, *SCRIPTS])
        raise BadInput(InputCode.UNKNOWN_WORD, f"no strategy {name!r}: one of {known}, or module:Class", strategy=name)
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        found = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise BadInput(InputCode.UNREADABLE, f"no strategy {name!r}: {error}", strategy=name) from None
    if not (isinstance(found, Script) or callable(found)):
        raise BadInput(InputCode.WRONG_TYPE, f"{name!r} makes no strategies", strategy=name)
    made: MakesStrategy | Script = found
    return made


def read(path: Path) -> pa.Table:
    """A file's rows. The figures of a CSV stay text until they are read exactly; an empty field is null."""
    try:
        match path.suffix.lower():
            case ".parquet":
                return parquet.read_table(path)
            case ".csv":
                return _csv(path)
    except FileNotFoundError:
        raise BadInput(InputCode.UNREADABLE, f"there is no file {path}", path=str(path)) from None
    except (OSError, pa.ArrowException) as error:
        raise BadInput(InputCode.UNREADABLE, f"{path}: {error}", path=str(path)) from None
    detail = f"{str(path)!r}: a .csv or .parquet file, {REAL!r}, or {SYNTHETIC}:SEED"
    raise BadInput(InputCode.UNREADABLE, detail, path=str(path))


def _csv(path: Path) -> pa.Table:
    with path.open("rb") as file:
        names = csv.read_csv(file, read_options=csv.ReadOptions(block_size=1 << 16)).schema.names
    texts: dict[str, Any] = dict.fromkeys(names, pa.string())
    options = csv.ConvertOptions(
        column_types=texts, strings_can_be_null=True, quoted_strings_can_be_null=False, null_values=[""]
    )
    return csv.read_csv(path, convert_options=options)


def _closing(day: date) -> datetime:
    return datetime.combine(day, CLOSING_TIME)
