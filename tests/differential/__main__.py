"""Compare many worlds: `python -m tests.differential --seeds 1000`. Exit 1 where the engines differ in one of them."""

import argparse
import os
import sys
import time
from concurrent.futures import ProcessPoolExecutor

import numba

from engine.rejections import GateCode
from engine.simulation.kernel import NOT_JUDGED
from tests.differential.compared import Report, compared

SAID_EVERY_S = 5.0


def main() -> int:
    options = _options()
    seeds = range(options.first, options.first + options.seeds)
    began = said_at = time.monotonic()
    total = Report()
    with ProcessPoolExecutor(options.workers, initializer=numba.set_num_threads, initargs=(1,)) as workers:
        for count, report in enumerate(workers.map(compared, seeds, chunksize=4), 1):
            total.add(report)
            for difference in report.differences:
                print(difference, flush=True)
            if time.monotonic() - said_at > SAID_EVERY_S:
                said_at = time.monotonic()
                print(
                    f"{count} of {len(seeds)} worlds, {len(total.differences)} differences", file=sys.stderr, flush=True
                )
    took_s = time.monotonic() - began
    print(f"{len(seeds)} worlds, {total.accounts} accounts, {total.actions} actions, {total.equities} equities")
    print(f"in {took_s:.0f} s: {len(total.differences)} differences, {total.given_up} accounts given up")
    names = dict(enumerate(("filled", *GateCode))) | {NOT_JUDGED: "not judged"}
    print("verdicts: " + ", ".join(f"{names[code]} {number}" for code, number in sorted(total.codes.items())))
    print("ends: " + ", ".join(f"{reason or 'none'} {number}" for reason, number in sorted(total.ends.items())))
    return 1 if total.differences else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.differential", description=__doc__)
    parser.add_argument("--seeds", type=int, default=200, help="how many worlds (200)")
    parser.add_argument("--from", dest="first", type=int, default=0, help="the first seed (0)")
    parser.add_argument("--workers", type=int, default=os.cpu_count(), help="processes (one a core)")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
