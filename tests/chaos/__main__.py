"""Load and faults on a real system, then the audit: `python -m tests.chaos --seed 1 --minutes 10`. Exit 1 if it fails.

The history of what clients were told stays in the folder that is printed, when something was wrong.
"""

import argparse
import shutil
import sys
import tempfile
from pathlib import Path

from tests.chaos.faults import FAULTS, NOT_EVERYWHERE
from tests.chaos.run import run


def main() -> int:
    options = _options()
    kinds = options.faults.split(",") if options.faults else list(FAULTS)
    left_out = {kind: why for kind in kinds if (why := NOT_EVERYWHERE.get(kind, lambda: None)()) is not None}
    kinds = [kind for kind in kinds if kind not in left_out]
    folder = Path(tempfile.mkdtemp(prefix="prop-chaos-"))  # short, so that the unix socket fits
    print(f"seed {options.seed}, {options.minutes:g} minutes, faults: {', '.join(kinds)}", flush=True)
    for kind, why in left_out.items():
        print(f"LEFT OUT {kind}: {why}", flush=True)
    report = run(
        folder, seed=options.seed, seconds=60 * options.minutes, kinds=kinds, say=lambda said: print(said, flush=True)
    )
    print(report)
    if report.violations:
        print(f"history and logs: {folder}")
        return 1
    shutil.rmtree(folder)
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tests.chaos", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seed", type=int, default=1, help="decides faults and load (1)")
    parser.add_argument("--minutes", type=float, default=10, help="how long faults go on (10)")
    parser.add_argument("--faults", default="", help=f"only these, by comma: {', '.join(FAULTS)}")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
