"""Growth: what a mark leaves behind, on disk and in the log of Postgres. The baseline is the mark's payload as JSON.

Bytes, unlike microseconds, are the same on every machine; they say which of a large installation's limits comes first.
"""

from collections.abc import Iterator
from typing import Final

from benchmarks.marking import Connection, desk
from benchmarks.timing import Figure
from tests.support.postgres import make_template, temporary_postgres

ACCOUNTS: Final = 2_000
PASSES: Final = 10
POSITIONS: Final = (1, 5)

LEDGER: Final = """
SELECT sum(pg_total_relation_size(inhrelid))::bigint FROM pg_inherits WHERE inhparent = 'prop_ledger_events'::regclass
"""
WAL: Final = "SELECT pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0')::bigint"
PAYLOAD: Final = """
SELECT avg(octet_length(payload::text))::bigint FROM prop_ledger_events WHERE type = 'mark_to_market'
"""


def figures() -> Iterator[Figure]:
    """By open positions."""
    with temporary_postgres() as server:
        make_template(server)
        for positions in POSITIONS:
            with desk(server, ACCOUNTS, positions) as held:
                held.by_engine()
                held.written.execute("CHECKPOINT")  # whose full pages are no mark's
                before = [_number(held.written, query) for query in (LEDGER, WAL)]
                for _ in range(PASSES):
                    held.by_engine()
                payload = _number(held.written, PAYLOAD)
                for name, query, began in zip(("ledger", "write-ahead log"), (LEDGER, WAL), before, strict=True):
                    each = (_number(held.written, query) - began) / (ACCOUNTS * PASSES)
                    said = f"{name}, mark of {positions} position{'s' * (positions > 1)}"
                    yield Figure(said, each, payload, each / payload, 0.0, None, "B")


def _number(connection: Connection, query: str) -> int:
    row = connection.execute(query.encode()).fetchone()
    return int(row[0]) if row else 0
