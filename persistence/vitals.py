"""Vitals: what Postgres says of itself and of all accounts, in one cheap query."""

from typing import Final

import msgspec
from psycopg.rows import class_row

from persistence.pools import Pool, rows

_VITALS: Final = """
select coalesce((select jsonb_object_agg(status, accounts)
                 from (select status, count(*) as accounts from prop_accounts group by status) by_status),
                '{}') as accounts,
       (select count(*) from pg_stat_activity where datname = current_database()) as connections,
       current_setting('max_connections')::int as connections_max,
       pg_database_size(current_database()) as database_bytes,
       coalesce((select max(extract(epoch from clock_timestamp() - xact_start))::float8 from pg_stat_activity
                 where datname = current_database() and pid <> pg_backend_pid()), 0) as transaction_seconds
"""


class Vitals(msgspec.Struct, frozen=True, kw_only=True):
    """Accounts by status; and of our database its connections, its size and the age of its oldest open transaction."""

    accounts: dict[str, int]
    connections: int
    connections_max: int
    database_bytes: int
    transaction_seconds: float


async def vitals(pool: Pool) -> Vitals:
    """As they are now. Counts every account: for some times a minute. Raises `StoreUnavailable`."""
    (found,) = await rows(pool, class_row(Vitals), _VITALS)
    return found
