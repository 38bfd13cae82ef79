"""Memory: what an account costs a host that nothing is asked of, and what each remembered receipt adds to it.

Measured from outside, as a node's memory is used up: by what the resident set of a fresh process grows when it
recovers accounts from Postgres and keeps them. Baselines: of a packed account the design's 10 KB, so that its target
is a ratio of 1; of a receipt its stored form, which is the JSON of its action and its result; of an account that has
an actor to itself, an actor of Ray that does nothing.
"""

import subprocess
import sys
from collections.abc import Iterator, Sequence
from statistics import median
from typing import Final

from benchmarks import ledgers
from benchmarks.fleet import filled
from benchmarks.timing import Figure
from engine.canonical import canonical
from persistence.embedded import EmbeddedPostgres
from tests.support.postgres import make_template, temporary_database, temporary_postgres

ACCOUNT_BYTES_MAX: Final = 10 * 1024
"""Of a packed account: DESIGN section 11."""
ROUNDS: Final = 3
PACKED: Final = {10_000: ROUNDS, 50_000: 1}
"""Rounds by how many accounts are packed."""
RECEIPT_ACCOUNTS: Final = 700
RECEIPTS: Final = (10, 60)
"""Of an account: what lies between two processes is theirs."""


def figures() -> Iterator[Figure]:
    """Packed accounts, receipts, and accounts with an actor each."""
    with temporary_postgres() as server:
        template = make_template(server)
        for accounts, rounds in PACKED.items():
            with temporary_database(server, template) as url:
                filled(url, accounts, positions=1)
                sizes = [_account_bytes(url) for _ in range(rounds)]
                yield _row(f"packed account of {accounts:,}, 1 position", sizes, [ACCOUNT_BYTES_MAX], target=1.0)
        yield _of_receipts(server, template)
        with temporary_database(server, template) as url:
            yield from _of_actors(url, filled(url, ROUNDS, positions=1))


def _of_receipts(server: EmbeddedPostgres, template: str) -> Figure:
    with temporary_database(server, template) as url:
        filled(url, RECEIPT_ACCOUNTS, positions=1)
        sizes = [[_account_bytes(url, receipts) for _ in range(ROUNDS)] for receipts in RECEIPTS]
    few, many = RECEIPTS
    added = [(large - small) / (many - few) for small, large in zip(*sizes, strict=True)]
    stored = [len(canonical(each.action) + canonical(each.result)) for each in ledgers.receipts(many)]
    return _row("receipt", added, stored)


def _of_actors(url: str, ids: Sequence[str]) -> Iterator[Figure]:
    from benchmarks.dedicated import footprints  # imports Ray, which the other benchmarks need not wait for

    pairs = footprints(url, ids)
    for place, name in enumerate(("resident", "proportional")):
        hosting, idle = ([footprint[place] / 1024 for footprint in side] for side in zip(*pairs, strict=True))
        yield _row(f"account actor with one account, {name}", hosting, idle, unit="KB")


def _row(
    name: str, sizes: Sequence[float], baselines: Sequence[float], *, unit: str = "B", target: float | None = None
) -> Figure:
    each, baseline = median(sizes), median(baselines)
    return Figure(name, each, baseline, each / baseline, (max(sizes) - min(sizes)) / each, target, unit)


def _account_bytes(url: str, receipts: int = 0) -> float:
    """What a fresh process grows by, an account."""
    command = [sys.executable, "-m", "benchmarks.hosting", url, str(receipts)]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
