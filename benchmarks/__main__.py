"""`python -m benchmarks [NAME ...] [--json]`: each prints ratios against a baseline timed in the same run."""

import argparse
import json
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import Final

from benchmarks import core, growth, marking, memory, recovery, scaling
from benchmarks.actions import table as actions
from benchmarks.simulation import table as simulation
from benchmarks.timing import Figure

BENCHMARKS: Final[Mapping[str, Callable[[], Iterator[Figure]]]] = {
    "core": core.figures,
    "actions": actions.figures,
    "marking": marking.figures,
    "recovery": recovery.figures,
    "memory": memory.figures,
    "growth": growth.figures,
    "scaling": scaling.figures,
    "simulation": simulation.figures,
}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", choices=[*BENCHMARKS, []], help="which ones (all)")
    parser.add_argument("--json", action="store_true", help="one JSON document a line")
    options = parser.parse_args()
    for name in options.names or BENCHMARKS:
        if not options.json:
            print(f"{name:48} {'each':>12} {'baseline':>12} {'ratio':>7} {'spread':>7} {'target':>7}")
        for figure in BENCHMARKS[name]():
            print(_as_json(name, figure) if options.json else _as_row(figure), flush=True)
    return 0


def _as_json(benchmark: str, figure: Figure) -> str:
    return json.dumps({"benchmark": benchmark, **figure._asdict(), "verdict": figure.verdict or None})


def _as_row(figure: Figure) -> str:
    each, baseline = f"{figure.each:,.1f} {figure.unit}", f"{figure.baseline:,.1f} {figure.unit}"
    target = "" if figure.target is None else f"{figure.target:7.3g} {figure.verdict}"
    return f"  {figure.name:46} {each:>12} {baseline:>12} {figure.ratio:7.3g} {figure.spread:7.0%} {target}"


if __name__ == "__main__":
    sys.exit(main())
