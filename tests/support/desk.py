"""A desk: the whole engine in this process on a real Postgres, for tests of what stands on top of it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from decimal import Decimal

import psycopg

from actors.figures import Figures
from actors.hosting import utc_now
from actors.limits import ClientLimits, HostLimits, SupervisorLimits
from actors.local_client import LocalRuntime, local_runtime
from persistence.committer import Committer
from persistence.pools import Pool, connection_pool
from persistence.postgres_store import PostgresStore
from persistence.quotes import QuoteReader


class Desk:
    """A running engine: `client` is its door, `observe` what Data Ingestion would do."""

    def __init__(
        self,
        url: str,
        runtime: LocalRuntime,
        store: PostgresStore,
        committer: Committer,
        reading: Pool,
        writing: Pool,
    ) -> None:
        self.url = url
        self.runtime = runtime
        self.committer = committer
        self.client = runtime.client
        self.supervisor = runtime.supervisor
        self.store = store
        self.reading = reading
        self.writing = writing

    async def figures(self) -> Figures:
        """What hosts told with their last pulses, and the committer now."""
        return Figures(supervisor=await self.supervisor.figures(), persisters={"persister-0": self.committer.figures})

    async def observe(
        self, symbol: str, bid: str | Decimal | None, ask: str | Decimal | None = None, *, at: datetime | None = None
    ) -> None:
        """A new row of `market_prices`, seen by every host when this returns."""
        await observe(self.url, symbol, bid, ask, at=at)
        await self.supervisor.look()


async def observe(
    url: str, symbol: str, bid: str | Decimal | None, ask: str | Decimal | None = None, *, at: datetime | None = None
) -> None:
    """Append a quote to `market_prices`; one price is both bid and ask."""
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
        await connection.execute(
            "insert into market_prices (symbol, bid, ask, source, observed_at) values (%s, %s, %s, 'test', %s)",
            (symbol, bid, bid if ask is None else ask, at or utc_now()),
        )


@asynccontextmanager
async def desk(
    database_url: str,
    *,
    host_limits: HostLimits | None = None,
    supervisor_limits: SupervisorLimits | None = None,
    client_limits: ClientLimits | None = None,
    lock_timeout_ms: int = 1_000,
) -> AsyncIterator[Desk]:
    """An engine without Ray on `database_url`. Marking passes run only when asked for, unless limits say otherwise."""
    limits = supervisor_limits or SupervisorLimits(marking_cadence_ms=0)
    async with (
        PostgresStore.connect(database_url, application_name="desk", lock_timeout_ms=lock_timeout_ms) as store,
        QuoteReader(database_url) as quotes,
        connection_pool(database_url, connections_max=4, read_only=True) as reading,
        connection_pool(database_url, connections_max=2, read_only=False) as writing,
    ):
        committer = Committer(store)
        try:
            async with local_runtime(
                store,
                committer,
                quotes,
                host_limits=host_limits,
                supervisor_limits=limits,
                client_limits=client_limits,
            ) as runtime:
                yield Desk(database_url, runtime, store, committer, reading, writing)
        finally:
            await committer.close()
