"""Run many seeds: `python -m tests.simulation --seeds 2000`. Exit 1 where one of them found a violation."""

import argparse
import os
import sys
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor

from tests.simulation.faults import FAULTS
from tests.simulation.run import Run, run

SAID_EVERY_S = 5.0


def main() -> int:
    options = _options()
    seeds = range(options.first, options.first + options.seeds)
    if options.trace:
        return max(_traced(run(seed)) for seed in seeds)
    began = said_at = time.monotonic()
    broken, outcomes, faults, events, count = 0, Counter[str](), Counter[str](), 0, 0
    with ProcessPoolExecutor(options.workers) as workers:
        for count, made in enumerate(workers.map(_told_briefly, seeds, chunksize=8), 1):
            outcomes.update(made.outcomes)
            faults.update(fault.split()[-1] for fault in made.faults)
            events += made.events
            if made.violations:
                broken += 1
                print(made.report(), flush=True)
            if time.monotonic() - said_at > SAID_EVERY_S:
                said_at = time.monotonic()
                print(f"{count} of {len(seeds)} seeds, {broken} broken", file=sys.stderr, flush=True)
    took_s = time.monotonic() - began
    print(f"{count} runs in {took_s:.0f} s ({count / took_s * 60:.0f} a minute), {events} events, {broken} broken")
    print("operations: " + ", ".join(f"{name} {number}" for name, number in sorted(outcomes.items())))
    print("faults: " + ", ".join(f"{name} {faults[name]}" for name in FAULTS))
    return 1 if broken else 0


def _told_briefly(seed: int) -> Run:
    """What a worker sends back: a trace is long, and one seed's is soon made again."""
    made = run(seed)
    made.trace.clear()
    return made


def _traced(made: Run) -> int:
    print("\n".join(made.trace))
    print(made.report())
    return 1 if made.violations else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seeds", type=int, default=200, help="how many runs (200)")
    parser.add_argument("--from", dest="first", type=int, default=0, help="the first seed (0)")
    parser.add_argument("--workers", type=int, default=os.cpu_count(), help="processes (one a core)")
    parser.add_argument("--trace", action="store_true", help="print everything that happens, in virtual seconds")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
