"""The ledger stream, and what Postgres reads for it: the events asked for and no others, however long the ledger is."""

from collections.abc import Iterator, Mapping
from typing import Any

import psycopg
import pytest

from persistence import statements

pytestmark = pytest.mark.postgres

ACCOUNTS, EVENTS = 2_000, 5
ASKED = 100

FILL = """
insert into prop_ledger_events (account_id, seq, type, version, occurred_at, epoch, request_id, payload, hash)
select lpad(account::text, 32, '0')::uuid, seq, 't', 1, now(), 0, 'r', '{}', sha256('x')
from generate_series(1, %s) account, generate_series(1, %s) seq
"""


def scans(plan: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    if plan.get("Relation Name", "").startswith("prop_ledger_events"):
        yield plan
    for below in plan.get("Plans", ()):
        yield from scans(below)


def test_the_last_accounts_of_a_long_ledger_are_read_without_the_others(database_url: str):
    asked = [f"00000000-0000-0000-0000-{number:012}" for number in range(ACCOUNTS - ASKED + 1, ACCOUNTS + 1)]
    after = EVENTS - 1
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(FILL, (ACCOUNTS, EVENTS))
        connection.execute("analyze prop_ledger_events")
        connection.execute("set enable_seqscan = off")  # as the connections of the store have it
        explained = connection.execute(
            f"explain (analyze, format json) declare ledger cursor for {statements.LEDGER}".encode(),
            (asked, [after] * ASKED),
        ).fetchone()
    assert explained is not None
    read = [scan["Actual Rows"] * scan["Actual Loops"] for scan in scans(explained[0][0]["Plan"])]
    assert round(sum(read)) == ASKED * (EVENTS - after)
