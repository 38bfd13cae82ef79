"""EventLog: the events of all accounts in one order that misses none and repeats none.

A sequence would not do: numbers are drawn before their transactions commit, so a reader that has seen 8 may have
overtaken 7, for ever. Here the order is (transaction, account, seq), and only events of transactions older than any
that still runs are shown (`pg_snapshot_xmin`): what is shown cannot be preceded by anything that comes later.
An account's events keep their order in it, since an append is made only once the one before it is durable.

The price: a transaction that writes and stays open, anywhere in the cluster, holds the end of the log back (never
loses anything). Transaction ids belong to one PostgreSQL cluster, so a place is only good in the cluster it comes from
(`cluster`); `migrations.restored` says what a restore means.
"""

from typing import Any, Final

import msgspec
from psycopg.rows import kwargs_row, tuple_row

from persistence.pools import Pool, rows
from persistence.queries import LIMIT_MAX, LedgerRow


class Place(msgspec.Struct, frozen=True, array_like=True, order=True):
    """Where an event stands in the log."""

    xid: int
    account_id: str
    seq: int


BEGINNING: Final = Place(0, "00000000-0000-0000-0000-000000000000", 0)
"""Before every event."""
_LAST_ACCOUNT: Final = "ffffffff-ffff-ffff-ffff-ffffffffffff"


class LoggedEvent(msgspec.Struct, frozen=True):
    """An event and its place."""

    place: Place
    event: LedgerRow


_AFTER: Final = """
select commit_xid::text as xid, account_id::text, seq, type, version, occurred_at, recorded_at, epoch, request_id,
       payload, encode(hash, 'hex') as hash
from prop_ledger_events
where (commit_xid, account_id, seq) > (%(xid)s::text::xid8, %(account_id)s::uuid, %(seq)s::bigint)
  and commit_xid < pg_snapshot_xmin(pg_current_snapshot())
order by prop_ledger_events.commit_xid, prop_ledger_events.account_id, prop_ledger_events.seq
limit %(limit)s
"""
_END: Final = "select pg_snapshot_xmin(pg_current_snapshot())::text"
_CLUSTER: Final = "select system_identifier::text from pg_control_system()"
_OF_CURSORS: Final = "select cursor_secret from prop_installation"


class EventLog:
    """Reads on one pool, which may be read-only. Every method raises `StoreUnavailable`."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def after(self, place: Place, *, limit: int) -> list[LoggedEvent]:
        """The next events, at most `limit` of them; fewer mean that there are no more now."""
        if not 1 <= limit <= LIMIT_MAX + 1:  # one more than a page tells whether there is a next
            raise ValueError(f"limit must be 1 to {LIMIT_MAX + 1}, not {limit}")
        asked = {"xid": str(place.xid), "account_id": place.account_id, "seq": place.seq, "limit": limit}
        return await rows(self._pool, kwargs_row(_logged), _AFTER, asked)

    async def end(self) -> Place:
        """A place that everything shown so far precedes, and nothing that will be shown."""
        found = await rows(self._pool, tuple_row, _END)
        return Place(int(found[0][0]) - 1, _LAST_ACCOUNT, 2**63 - 1)

    async def cluster(self) -> str:
        """Which PostgreSQL cluster the places belong to."""
        found = await rows(self._pool, tuple_row, _CLUSTER)
        return str(found[0][0])

    async def secret(self) -> bytes:
        """What every gateway of this installation signs cursors with, through restarts and moves of the database."""
        found = await rows(self._pool, tuple_row, _OF_CURSORS)
        return bytes(found[0][0])


def _logged(*, xid: str, **columns: Any) -> LoggedEvent:
    event = LedgerRow(**columns)
    return LoggedEvent(Place(int(xid), event.account_id, event.seq), event)
