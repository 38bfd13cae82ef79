"""`python -m benchmarks.plots FILE ...`: the curves of `python -m benchmarks NAME ... --json`, as SVG.

What a file has no figures for is not drawn and said; nothing is measured here. The pictures have no background, and
their text takes the reader's light or dark: `prefers-color-scheme` decides inside the file.
"""

import argparse
import io
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final, NamedTuple

import matplotlib as mpl
import msgspec
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Picture
from matplotlib.ticker import FuncFormatter, MaxNLocator

FOLDER: Final = Path(__file__).parents[1] / "docs" / "images" / "performance"
INK: Final = "#010203"
"""Stands for the reader's colour of text until the file is written."""
ENGINE, BASELINE, THIRD = "#2f81f7", "#d4721c", "#2da44e"
"""Readable on white as on near black."""
STYLE: Final = "<style>svg{color:#24292f}@media(prefers-color-scheme:dark){svg{color:#d0d7de}}</style>"
INCHES: Final = (6.4, 3.6)


class Row(msgspec.Struct, frozen=True):
    """A figure, as `--json` prints it: microseconds (or bytes) of one operation, ours and the baseline's."""

    benchmark: str
    name: str
    each: float
    baseline: float


class Point(NamedTuple):
    x: float
    row: Row


Draw = Callable[[Picture, Sequence[Row]], bool]
"""Draws from rows what there is; whether there was anything."""


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.plots", description=__doc__)
    parser.add_argument("files", nargs="+", type=Path, help="what `python -m benchmarks NAME --json` printed")
    parser.add_argument("--folder", type=Path, default=FOLDER, help="where the pictures go")
    options = parser.parse_args()
    rows = [row for file in options.files for row in _read(file)]
    options.folder.mkdir(parents=True, exist_ok=True)
    for name, draw in PICTURES.items():
        picture = drawn(draw, rows)
        if picture is None:
            print(f"  {name}: no figures")
        else:
            (options.folder / f"{name}.svg").write_text(picture)
            print(f"  {name}: {options.folder / f'{name}.svg'}")
    return 0


def drawn(draw: Draw, rows: Sequence[Row]) -> str | None:
    """An SVG, the same for the same rows; None where they have nothing for it."""
    with mpl.rc_context(
        {
            "svg.fonttype": "none",
            "svg.hashsalt": "prop",
            "font.family": "sans-serif",
            "font.size": 9,
            "text.color": INK,
            "axes.labelcolor": INK,
            "axes.edgecolor": INK,
            "xtick.color": INK,
            "ytick.color": INK,
        }
    ):
        picture = Picture(figsize=INCHES, layout="constrained")
        if not draw(picture, rows):
            return None
        written = io.StringIO()
        picture.savefig(written, format="svg", transparent=True, metadata={"Date": None})
    head, definitions, rest = written.getvalue().replace(INK, "currentColor").partition("<defs>")
    return f"{head}{STYLE}\n {definitions}{rest}"


def _read(file: Path) -> Iterator[Row]:
    for line in file.read_bytes().splitlines():
        yield msgspec.json.decode(line, type=Row)


# ---------------------------------------------------------------- the pictures


def _marking(picture: Picture, rows: Sequence[Row]) -> bool:
    points = list(_points(rows, "marking", r"([\d,]+) accounts, 1 position each"))
    axes = _axes(picture, "open accounts", "µs an account", "A durable marking pass, one position each")
    _pair(axes, points, "engine", "one SQL statement that writes the same rows")
    return bool(points)


def _recovery(picture: Picture, rows: Sequence[Row]) -> bool:
    points = list(_points(rows, "recovery", r"([\d,]+) accounts, 1 host"))
    axes = _axes(picture, "accounts", "µs an account", "Recovery from snapshots with five events behind each")
    _pair(axes, points, "one account actor", "COPY of the same rows, decoded")
    _curve(axes, list(_points(rows, "recovery", r"([\d,]+) accounts, 2 hosts")), "two account actors", THIRD)
    return bool(points)


def _history(picture: Picture, rows: Sequence[Row]) -> bool:
    deciding = list(_points(rows, "core", r"open, ([\d,]+) actions behind it"))
    replaying = list(_points(rows, "recovery", r"1,000 accounts, no snapshot, ([\d,]+) events"))
    left, right = picture.subplots(1, 2)
    _dress(left, "actions behind it", "µs an action", "One action, decided and hashed")
    _pair(left, deciding, "engine", "canonical form and hash alone")
    _dress(right, "events of an account", "µs an account", "Recovery without a snapshot")
    _pair(right, replaying, "engine", "COPY, decoded")
    return bool(deciding and replaying)


def _batches(picture: Picture, rows: Sequence[Row]) -> bool:
    points = list(_points(rows, "scaling", r"([\d,]+) actions? a request.*"))
    axes = _axes(picture, "actions a request", "µs from one action to the next", "Durable actions over HTTP by batch")
    _pair(axes, points, "measured", "model: CPU of all processes over the cores")
    return bool(points)


def _processes(picture: Picture, rows: Sequence[Row]) -> bool:
    """Bars to the right: what a number of processes does, and what the model says it would."""
    shapes = {"singles": "one action a request", "tens": "ten actions a request"}
    settings = {
        shape: [(found[1], row) for row in rows if (found := re.fullmatch(rf"(\d.*), {shape} \(by .*\)", row.name))]
        for shape in shapes
    }
    if not all(settings.values()):
        return False
    picture.set_size_inches(8.0, 4.4)
    for place, (axes, (shape, title)) in enumerate(zip(picture.subplots(1, 2), shapes.items(), strict=True)):
        names = [name for name, _ in settings[shape]]
        measured = [1e6 / row.each for _, row in settings[shape]]
        foretold = [1e6 / row.baseline for _, row in settings[shape]]
        places = list(range(len(names)))
        axes.barh(places, measured, height=0.6, color=ENGINE, label="measured")
        axes.plot(foretold, places, "D", color=BASELINE, markersize=5, linestyle="", label="model")
        axes.set_yticks(places, names if place == 0 else [""] * len(names))
        axes.invert_yaxis()
        _plain(axes, "durable actions a second", "", title)
        axes.xaxis.set_major_locator(MaxNLocator(5))
        if place == 0:
            picture.legend(frameon=False, loc="outside lower left", ncols=2)
    return True


PICTURES: Final[Mapping[str, Draw]] = {
    "marking": _marking,
    "recovery": _recovery,
    "history": _history,
    "batches": _batches,
    "processes": _processes,
}

# ---------------------------------------------------------------- what they are made of


def _points(rows: Iterable[Row], benchmark: str, pattern: str) -> Iterator[Point]:
    """Of the rows whose whole name fits, in the order of the number in it."""
    found = [
        Point(float(match[1].replace(",", "")), row)
        for row in rows
        if row.benchmark == benchmark and (match := re.fullmatch(pattern, row.name))
    ]
    yield from sorted(found)


def _pair(axes: Axes, points: Sequence[Point], ours: str, theirs: str) -> None:
    _curve(axes, points, ours, ENGINE)
    axes.plot(
        [point.x for point in points], [point.row.baseline for point in points], "s--", color=BASELINE, label=theirs
    )
    axes.set_ylim(bottom=0)
    axes.set_xticks([point.x for point in points])
    axes.legend(frameon=False)


def _curve(axes: Axes, points: Sequence[Point], name: str, color: str) -> None:
    if points:
        axes.plot([point.x for point in points], [point.row.each for point in points], "o-", color=color, label=name)
        axes.legend(frameon=False)


def _axes(picture: Picture, x: str, y: str, title: str) -> Axes:
    axes = picture.subplots()
    _dress(axes, x, y, title)
    return axes


def _dress(axes: Axes, x: str, y: str, title: str) -> None:
    axes.set_xscale("log")
    axes.minorticks_off()
    _plain(axes, x, y, title)


def _plain(axes: Axes, x: str, y: str, title: str) -> None:
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    axes.set_title(title, fontsize=10)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y" if y else "x", color=INK, alpha=0.15)
    axes.set_axisbelow(True)
    axes.xaxis.set_major_formatter(_THOUSANDS)
    axes.yaxis.set_major_formatter(_THOUSANDS) if y else None


_THOUSANDS: Final = FuncFormatter(lambda number, _: f"{number:,.0f}")

if __name__ == "__main__":
    sys.exit(main())
