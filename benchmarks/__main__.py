"""`python -m benchmarks [NAME ...] [--json]`: each prints ratios against a baseline timed in the same run."""

import argparse
import json
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import Final

from benchmarks import core
from benchmarks.timing import Figure

BENCHMARKS: Final[Mapping[str, Callable[[], Iterator[Figure]]]] = {"core": core.figures}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", choices=[*BENCHMARKS, []], help="which ones (all)")
    parser.add_argument("--json", action="store_true", help="one JSON document a line")
    options = parser.parse_args()
    for name in options.names or BENCHMARKS:
        if not options.json:
            print(f"{name:40} {'each':>10} {'baseline':>10} {'ratio':>7} {'spread':>7}")
        for figure in BENCHMARKS[name]():
            if options.json:
                print(json.dumps({"benchmark": name, **figure._asdict()}), flush=True)
            else:
                each, baseline = f"{figure.each_us:.1f} us", f"{figure.baseline_us:.1f} us"
                print(
                    f"  {figure.name:38} {each:>10} {baseline:>10} {figure.ratio:7.2f} {figure.spread:7.0%}", flush=True
                )
    return 0


if __name__ == "__main__":
    sys.exit(main())
