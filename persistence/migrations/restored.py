"""Restored: a ledger that was loaded from a dump into another PostgreSQL cluster is given its place in the new order.

`commit_xid` counts the transactions of one cluster. Loaded into a younger one, old events would lie in its future:
invisible to the event stream, and behind what is written next. So they are put before everything, as the events that
are older than the column were. Cursors of the old cluster are refused (they name it); readers begin again, and drop
by `accountId` and `seq` what they know. Copies of the files themselves (base backups, standbys) need none of this.
"""

from sqlalchemy import Connection, text

LIES_AHEAD = """
SELECT EXISTS (SELECT FROM prop_ledger_events WHERE commit_xid >= pg_snapshot_xmax(pg_current_snapshot()))
"""
PUT_FIRST = "ALTER TABLE prop_ledger_events ALTER COLUMN commit_xid TYPE xid8 USING '0'::xid8"


def put_in_order(connection: Connection) -> None:
    """Do what a restore needs, which is nothing in any other case. Rewrites the ledger; run before anything trades."""
    if connection.execute(text(LIES_AHEAD)).scalar_one():
        connection.execute(text(PUT_FIRST))
