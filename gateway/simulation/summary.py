"""Summary: what a run comes to, gathered shard by shard in memory that does not grow with the ticks.

Owns the figures that the terminal shows and that the report draws. Floats are meant here: these are pictures of money,
the money itself is in the tables.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from engine.simulation.plan import Plan
from engine.simulation.results import GATES
from engine.simulation.schedule import mark_ticks

POINTS_MAX: Final = 200
"""Moments at which the equity of every account is kept: 4 bytes each."""
FAN: Final = (5, 25, 50, 75, 95)
"""Percentiles."""

Array = npt.NDArray[Any]


class Line(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """One variant in figures. Shares are fractions; `return_*` are percentiles of the total return."""

    variant: str
    accounts: int
    liquidated: float
    completed: float
    return_p5: float
    return_median: float
    return_p95: float
    return_mean: float
    drawdown_median: float
    drawdown_p95: float
    sharpe_median: float | None
    fees_mean: float
    fills: int
    rejections: int


class Part(msgspec.Struct, frozen=True):
    """What is kept of the accounts of one variant. `equity` is [accounts, points]."""

    equity: Array
    returns: Array
    drawdowns: Array
    sharpes: Array
    fees: Array
    statuses: Array
    ended_points: Array


class Summary:
    """Takes the tables of shards, in order."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        kept = mark_ticks(plan.prices.ticks, plan.mark_every)
        kept = kept[mark_ticks(len(kept), plan.equity_every)]
        every = max(1, -(-len(kept) // POINTS_MAX))
        self._chosen = mark_ticks(len(kept), every)
        self.ticks = kept[self._chosen]
        self.names = [variant.name for variant in plan.variants]
        self._parts: dict[int, list[Part]] = {place: [] for place in range(len(self.names))}
        self._rejections = np.zeros((len(self.names), len(GATES)), np.int64)
        self._fills = np.zeros(len(self.names), np.int64)

    @property
    def times(self) -> list[Any]:
        """Of the points, as UTC datetimes."""
        at: list[Any] = pa.array(self._plan.prices.times[self.ticks], pa.timestamp("us", "UTC")).to_pylist()
        return at

    @property
    def starting_balance(self) -> float:
        origin = self._plan.origin
        return float(self._plan.starting_balance if origin is None else origin.account.starting_balance)

    def add(self, tables: Mapping[str, pa.Table]) -> None:
        """One shard's, which are of one variant."""
        accounts = tables["accounts"]
        place = int(accounts["account"][0].as_py()) // self._plan.accounts
        count = accounts.num_rows
        equity = _floats(tables["equity"]["equity"]).reshape(count, -1)[:, self._chosen].astype(np.float32)
        ended = accounts["ended_at"].cast(pa.int64()).fill_null(-1).to_numpy()
        point = np.searchsorted(self._plan.prices.times[self.ticks], ended)
        self._parts[place].append(
            Part(
                equity=equity,
                returns=_floats(accounts["total_return"]),
                drawdowns=_floats(accounts["max_drawdown"]),
                sharpes=_floats(accounts["sharpe"]),
                fees=_floats(accounts["fees"]),
                statuses=np.array(accounts["status"].cast(pa.string()).to_pylist()),
                ended_points=np.where(ended < 0, -1, point),
            )
        )
        self._fills[place] += tables["fills"].num_rows
        counted = pc.value_counts(tables["rejections"]["code"].combine_chunks().cast(pa.string())).to_pylist()
        for each in counted:
            self._rejections[place, GATES.index(each["values"])] += each["counts"]

    def part(self, place: int) -> Part:
        """All accounts of a variant; put together when first asked for."""
        parts = self._parts[place]
        if len(parts) > 1:
            whole = (np.concatenate([getattr(part, name) for part in parts]) for name in Part.__struct_fields__)
            parts[:] = [Part(*whole)]
        return parts[0]

    def rejections(self, place: int) -> Mapping[str, int]:
        """By gate, only those that refused something."""
        counts = self._rejections[place].tolist()
        return {gate: count for gate, count in zip(GATES, counts, strict=True) if count}

    def fan(self, place: int) -> Array:
        """Percentiles of equity [of FAN, points]."""
        fan: Array = np.percentile(self.part(place).equity, FAN, axis=0)
        return fan

    def gone(self, place: int) -> Array:
        """Share of the accounts that were liquidated by each point."""
        part = self.part(place)
        at = part.ended_points[part.statuses == "liquidated"]
        counts = np.bincount(at, minlength=len(self.ticks))[: len(self.ticks)]
        share: Array = counts.cumsum() / len(part.statuses)
        return share

    def lines(self) -> list[Line]:
        """One a variant."""
        return [self._line(place) for place in range(len(self.names))]

    def _line(self, place: int) -> Line:
        part = self.part(place)
        low, middle, high = np.percentile(part.returns, (5, 50, 95)).tolist()
        sharpes = part.sharpes[~np.isnan(part.sharpes)]
        return Line(
            variant=self.names[place],
            accounts=len(part.returns),
            liquidated=float(np.mean(part.statuses == "liquidated")),
            completed=float(np.mean(part.statuses == "completed")),
            return_p5=low,
            return_median=middle,
            return_p95=high,
            return_mean=float(part.returns.mean()),
            drawdown_median=float(np.median(part.drawdowns)),
            drawdown_p95=float(np.percentile(part.drawdowns, 95)),
            sharpe_median=float(np.median(sharpes)) if len(sharpes) else None,
            fees_mean=float(part.fees.mean()),
            fills=int(self._fills[place]),
            rejections=int(self._rejections[place].sum()),
        )


def swept(plan: Plan) -> Sequence[str]:
    """The fields that a sweep varied."""
    return [name for name, _ in plan.variants[0].settings]


def _floats(column: pa.ChunkedArray) -> Array:
    """NaN where there is none."""
    values: Array = column.cast(pa.float64()).fill_null(np.nan).to_numpy()
    return values
