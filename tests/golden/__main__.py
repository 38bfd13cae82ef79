"""Record new golden ledgers: `python -m tests.golden`, after adding a scenario. Those that exist are never touched."""

import sys

from tests.golden.kept import names, record
from tests.golden.scenarios import SCENARIOS


def main() -> int:
    missing = [name for name in SCENARIOS if name not in names()]
    for name in missing:
        record(name, SCENARIOS[name]().ledger)
        print(f"recorded {name}")
    if not missing:
        print("every scenario is recorded; to keep an event of a new version, add a scenario under a new name")
    return 0


if __name__ == "__main__":
    sys.exit(main())
