"""Charts: the plots of a report, as SVG that needs nothing but a page to stand in.

The same run draws the same bytes: no date, no random ids. Text stays text, so that it can be selected and read aloud.
"""

import io
import re
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, Final, Literal

import matplotlib as mpl
import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, PercentFormatter

from engine.rejections import GateCode
from gateway.simulation.summary import FAN, Summary

WIDTH: Final = 9.0
HEIGHT: Final = 3.6
PANELS_MAX: Final = 4
"""Fans side by side; of more variants the first, the last and some between."""
LINES_MAX: Final = 6
"""In one plot, likewise."""
STYLE: Final[dict[Any, Any]] = {
    "svg.hashsalt": "prop",
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#e3e6ea",
    "axes.edgecolor": "#8a929c",
    "axes.titlelocation": "left",
    "axes.titlesize": 9,
    "legend.frameon": False,
    "legend.fontsize": 8,
}
ENDED: Final = GateCode.ACCOUNT_NOT_ACTIVE.value
METADATA: Final = re.compile(r" *<metadata>.*?</metadata>\n", re.DOTALL)
INK: Final = "#1f4e79"
RED: Final = "#b3261e"


def styled() -> AbstractContextManager[None]:
    """How all of them look: charts are drawn inside."""
    return mpl.rc_context(STYLE)


def equity_fan(summary: Summary) -> str:
    """Percentiles of equity over time, a panel a variant."""
    places = _some(len(summary.names), PANELS_MAX)
    figure = _figure(HEIGHT)
    axes = figure.subplots(1, len(places), sharey=True, squeeze=False)[0]
    for axis, place in zip(axes, places, strict=True):
        low, lower, middle, upper, high = summary.fan(place)
        axis.fill_between(summary.times, low, high, color=INK, alpha=0.15, lw=0, label=f"{FAN[0]} to {FAN[4]} %")
        axis.fill_between(summary.times, lower, upper, color=INK, alpha=0.3, lw=0, label=f"{FAN[1]} to {FAN[3]} %")
        axis.plot(summary.times, middle, color=INK, lw=1.4, label="median")
        axis.axhline(summary.starting_balance, color="#8a929c", lw=0.8, ls="--")
        axis.set_title(summary.names[place].replace(", ", "\n") if len(summary.names) > 1 else "")
        _dated(axis, ticks_max=max(4, 9 // len(places)))
    axes[0].yaxis.set_major_formatter(FuncFormatter(_money))
    axes[0].legend(loc="upper left")
    return _svg(figure)


def outcomes(summary: Summary) -> str:
    """How total returns are distributed."""
    lines = _lines(summary)
    every = np.concatenate([summary.part(place).returns for place, _, _ in lines])
    lowest, highest = np.percentile(every, (0.5, 99.5)).tolist()
    if highest - lowest < 1e-9:
        lowest, highest = lowest - 0.01, highest + 0.01
    edges: list[float] = np.linspace(lowest, highest, 61).tolist()
    figure = _figure(HEIGHT)
    axis = figure.subplots()
    for place, name, colour in lines:
        found = np.clip(summary.part(place).returns, lowest, highest)
        weights = np.full(len(found), 1 / len(found))
        fill: Literal["stepfilled", "step"] = "stepfilled" if len(lines) == 1 else "step"
        axis.hist(found, bins=edges, weights=weights, histtype=fill, color=colour, alpha=0.9, lw=1.4, label=name)
    axis.axvline(0, color="#8a929c", lw=0.8, ls="--")
    axis.xaxis.set_major_formatter(PercentFormatter(1, decimals=None))
    axis.yaxis.set_major_formatter(PercentFormatter(1, decimals=None))
    axis.set_xlabel("total return (outermost half per cent gathered at the ends)")
    axis.set_ylabel("accounts")
    _legend(axis, len(lines))
    return _svg(figure)


def drawdowns(summary: Summary) -> str:
    """Share of accounts whose largest drawdown was no more than so much."""
    figure = _figure(HEIGHT)
    axis = figure.subplots()
    lines = _lines(summary)
    for place, name, colour in lines:
        found = summary.part(place).drawdowns
        steps = np.percentile(found, np.linspace(0, 100, min(len(found), 200)))
        axis.plot(steps, np.linspace(0, 1, len(steps)), color=colour, lw=1.4, label=name)
    axis.xaxis.set_major_formatter(PercentFormatter(1, decimals=None))
    axis.yaxis.set_major_formatter(PercentFormatter(1, decimals=None))
    axis.set_xlabel("largest fall below the high watermark")
    axis.set_ylabel("accounts with no more")
    axis.set_ylim(0, 1.02)
    _legend(axis, len(lines))
    return _svg(figure)


def liquidation_odds(summary: Summary) -> str:
    """Share of accounts that were liquidated by then."""
    figure = _figure(HEIGHT)
    axis = figure.subplots()
    lines = _lines(summary)
    for place, name, colour in lines:
        drawn = RED if len(lines) == 1 else colour
        axis.plot(summary.times, summary.gone(place), color=drawn, lw=1.4, drawstyle="steps-post", label=name)
    axis.yaxis.set_major_formatter(PercentFormatter(1, decimals=None))
    axis.set_ylabel("liquidated by then")
    axis.set_ylim(bottom=0)
    _dated(axis)
    _legend(axis, len(lines))
    return _svg(figure)


def rejections(summary: Summary) -> str | None:
    """How often each gate said no first; None where none ever did. That accounts have ended is not worth a bar."""
    counts = [
        {gate: count for gate, count in summary.rejections(place).items() if gate != ENDED}
        for place in range(len(summary.names))
    ]
    gates = sorted(
        {gate for each in counts for gate in each}, key=lambda gate: sum(each.get(gate, 0) for each in counts)
    )
    if not gates:
        return None
    names = summary.names
    if len(names) > LINES_MAX:
        counts, names = [{gate: sum(each.get(gate, 0) for each in counts) for gate in gates}], ["all variants"]
    figure = _figure(0.9 + 0.34 * len(gates))
    axis = figure.subplots()
    left = np.zeros(len(gates))
    for each, name, colour in zip(counts, names, _colours(len(counts)), strict=True):
        values = np.array([each.get(gate, 0) for gate in gates], np.float64)
        axis.barh([gate.replace("_", " ") for gate in gates], values, left=left, color=colour, height=0.65, label=name)
        left += values
    axis.xaxis.set_major_formatter(FuncFormatter(_count))
    axis.grid(axis="y", visible=False)
    axis.set_xlabel("actions refused")
    _legend(axis, len(counts))
    return _svg(figure)


def sensitivity(summary: Summary, field: str, values: Sequence[str]) -> str:
    """Total return and odds of liquidation over the figures of one swept field."""
    places, labels = _ordered(values)
    figure = _figure(HEIGHT)
    left, right = figure.subplots(1, 2)
    bands = np.array([np.percentile(summary.part(place).returns, FAN) for place in range(len(values))])
    order = np.argsort(places, kind="stable")
    at, bands = np.array(places)[order], bands[order]
    left.fill_between(at, bands[:, 0], bands[:, 4], color=INK, alpha=0.15, lw=0, label=f"{FAN[0]} to {FAN[4]} %")
    left.fill_between(at, bands[:, 1], bands[:, 3], color=INK, alpha=0.3, lw=0, label=f"{FAN[1]} to {FAN[3]} %")
    left.plot(at, bands[:, 2], color=INK, lw=1.4, marker="o", ms=3, label="median")
    left.axhline(0, color="#8a929c", lw=0.8, ls="--")
    left.set_title("total return")
    left.legend(loc="best")
    gone = np.array([np.mean(summary.part(place).statuses == "liquidated") for place in range(len(values))])[order]
    right.plot(at, gone, color=RED, lw=1.4, marker="o", ms=3)
    right.set_title("liquidated")
    right.set_ylim(bottom=0)
    for axis in (left, right):
        axis.yaxis.set_major_formatter(PercentFormatter(1, decimals=None))
        axis.set_xlabel(field)
        axis.set_xticks(at, [labels[place] for place in order.tolist()])
    return _svg(figure)


def grid(summary: Summary, fields: Sequence[str], settings: Sequence[Mapping[str, str]]) -> str:
    """Odds of liquidation over the figures of two swept fields."""
    across, down = ([*dict.fromkeys(each[field] for each in settings)] for field in fields)
    shares = np.zeros((len(down), len(across)))
    for place, each in enumerate(settings):
        share = np.mean(summary.part(place).statuses == "liquidated")
        shares[down.index(each[fields[1]]), across.index(each[fields[0]])] = share
    figure = _figure(1.2 + 0.42 * len(down))
    axis = figure.subplots()
    axis.pcolormesh(shares, cmap="Reds", vmin=0, vmax=1, edgecolors="white", linewidth=1.5)
    axis.invert_yaxis()
    for (row, column), share in np.ndenumerate(shares):
        colour = "white" if share > 0.6 else "black"
        axis.text(column + 0.5, row + 0.5, f"{share:.0%}", ha="center", va="center", color=colour)
    axis.set_xticks([place + 0.5 for place in range(len(across))], across)
    axis.set_yticks([place + 0.5 for place in range(len(down))], down)
    axis.set_xlabel(fields[0])
    axis.set_ylabel(fields[1])
    axis.grid(visible=False)
    return _svg(figure)


def _ordered(values: Sequence[str]) -> tuple[list[float], list[str]]:
    """Where each value stands: at its figure, or, where one is a word, at its place."""
    try:
        return [float(value) for value in values], list(values)
    except ValueError:
        return [float(place) for place in range(len(values))], list(values)


def _figure(height: float) -> Figure:
    return Figure(figsize=(WIDTH, height), layout="constrained")


def _svg(figure: Figure) -> str:
    text = io.StringIO()
    figure.savefig(text, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    drawn = METADATA.sub("", text.getvalue())
    return drawn[drawn.index("<svg") :]


def _lines(summary: Summary) -> list[tuple[int, str, Any]]:
    """Place, name and colour of each variant that is drawn."""
    places = _some(len(summary.names), LINES_MAX)
    return [(place, summary.names[place], colour) for place, colour in zip(places, _colours(len(places)), strict=True)]


def _some(count: int, most: int) -> list[int]:
    if count <= most:
        return list(range(count))
    return [place * (count - 1) // (most - 1) for place in range(most)]


def _colours(count: int) -> list[Any]:
    return [INK] if count == 1 else [colormaps["viridis"](0.05 + 0.8 * place / (count - 1)) for place in range(count)]


def _legend(axis: Axes, count: int) -> None:
    if count > 1:
        axis.legend(loc="best")


def _dated(axis: Axes, *, ticks_max: int = 9) -> None:
    places = AutoDateLocator(minticks=2, maxticks=ticks_max)  # type: ignore[no-untyped-call]  # matplotlib leaves it untyped
    axis.xaxis.set_major_locator(places)
    axis.xaxis.set_major_formatter(ConciseDateFormatter(places))  # type: ignore[no-untyped-call]  # as above


def _money(value: float, _: Any) -> str:
    return f"{value:,.0f}"


def _count(value: float, _: Any) -> str:
    return f"{value:,.0f}"
