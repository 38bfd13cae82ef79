"""Marking: one durable pass over open accounts, as an account actor with a committer of its own makes it.

The subject is what runs in that actor, in this process: `AccountHost`, `Committer` and `PostgresStore` with the limits
of `configs/scale.toml`. The baseline is what a service without an engine would do: one SQL statement that values every
open position in Postgres itself and writes the same rows into the same tables (the ledger's event with its payload and
a chained hash, the balance with the head, the positions). Both have a database of their own on one server, with fsync
and synchronous_commit on, and see the same price vectors in turn.
"""

import asyncio
import itertools
from collections.abc import Iterator, Sequence
from contextlib import AsyncExitStack, contextmanager
from typing import Any, Final

import psycopg
from psycopg.conninfo import conninfo_to_dict

from actors.collecting import collect_seldom
from actors.hosting import AccountHost
from actors.persister import committer_over
from benchmarks.fleet import Market, filled
from benchmarks.timing import Figure, side_by_side
from configs.settings import load_settings
from engine.money import UNIT
from gateway.bootstrap import runtime_config
from persistence.embedded import EmbeddedPostgres
from persistence.postgres_store import PostgresStore
from tests.support.postgres import TEMPLATE, make_template, temporary_database, temporary_postgres

Connection = psycopg.Connection[tuple[Any, ...]]

TARGET: Final = 3.0
ACTIVATED_AT_ONCE: Final = 500
CONNECTIONS_MAX: Final = 4
SETTINGS: Final = "configs/scale.toml"

MARK_ALL: Final = """
WITH quote AS (
    SELECT * FROM unnest(%(symbols)s::text[], %(mids)s::numeric[], %(sources)s::text[], %(observed)s::timestamptz[])
        AS quote (symbol, mid, source, observed_at)
), worth AS (
    SELECT position.account_id, position.opened_seq, position.symbol, position.side, quote.mid, quote.source,
        quote.observed_at, round(position.quantity * quote.mid, 8) AS notional, position.entry_notional,
        position.leverage
    FROM prop_positions position JOIN quote USING (symbol) WHERE position.status = 'open'
), priced AS MATERIALIZED (
    SELECT account_id, opened_seq, symbol, side, mid, source, observed_at, notional,
        CASE side WHEN 'long' THEN notional - entry_notional ELSE entry_notional - notional END AS gain,
        round(notional / leverage, 8) AS margin
    FROM worth
), summed AS (
    SELECT account_id, sum(gain) AS gain, sum(margin) AS margin, jsonb_agg(jsonb_build_object(
        'symbol', symbol, 'side', side, 'price', mid::text, 'unrealizedPnl', gain::text, 'source', source,
        'observedAt', observed_at) ORDER BY symbol, side) AS marks
    FROM priced GROUP BY account_id
), marked AS (
    SELECT head.account_id, head.cash + summed.gain AS equity, summed.gain, summed.margin,
        greatest(head.high_watermark, head.cash + summed.gain) AS high_watermark,
        greatest(0, round(1 - (head.cash + summed.gain) / account.starting_balance, 8)) AS drawdown,
        jsonb_build_object('passId', %(pass_id)s::text, 'marks', summed.marks, 'cash', head.cash::text,
            'equity', (head.cash + summed.gain)::text, 'unrealizedPnl', summed.gain::text,
            'highWatermark', greatest(head.high_watermark, head.cash + summed.gain)::text) AS payload
    FROM summed JOIN prop_account_balances head USING (account_id) JOIN prop_accounts account ON account.id = account_id
    WHERE account.status IN ('active', 'paused')
), moved AS (
    UPDATE prop_account_balances head
    SET equity = marked.equity, unrealized_pnl = marked.gain, margin_used = marked.margin,
        free_margin = marked.equity - marked.margin, high_watermark = marked.high_watermark, drawdown = marked.drawdown,
        last_seq = head.last_seq + 1, head_hash = sha256(head.head_hash || convert_to(marked.payload::text, 'UTF8'))
    FROM marked WHERE head.account_id = marked.account_id
    RETURNING head.account_id, head.last_seq, head.epoch, head.head_hash, marked.payload
), logged AS (
    INSERT INTO prop_ledger_events (account_id, seq, type, version, occurred_at, epoch, request_id, payload, hash)
    SELECT account_id, last_seq, 'mark_to_market', 1, now(), epoch, %(pass_id)s::text, payload, head_hash FROM moved
)
UPDATE prop_positions position
SET mark_price = priced.mid, mark_notional = priced.notional, unrealized_pnl = priced.gain, margin_used = priced.margin,
    marked_at = now()
FROM priced WHERE position.account_id = priced.account_id AND position.opened_seq = priced.opened_seq
"""
SUMS: Final = """
SELECT (SELECT count(*) FROM prop_ledger_events), sum(last_seq), sum(equity), sum(high_watermark),
    (SELECT sum(unrealized_pnl) FROM prop_positions)
FROM prop_account_balances
"""
SIZES: Final = ((1_000, 1, 9), (1_000, 5, 9), (10_000, 1, 5), (100_000, 1, 3))
"""Accounts, open positions of each, rounds."""


def figures() -> Iterator[Figure]:
    """A pass, by how many accounts there are and how many positions each holds."""
    with temporary_postgres() as server:
        make_template(server)
        for accounts, positions, rounds in SIZES:
            with desk(server, accounts, positions) as held:
                yield side_by_side(
                    f"{accounts:,} accounts, {positions} position{'s' * (positions > 1)} each",
                    held.by_engine,
                    held.by_sql,
                    operations=accounts,
                    rounds=rounds,
                    target=TARGET,
                )
                held.check()


class Desk:
    """The same accounts twice: hosted by the engine in one database, left to SQL in the other."""

    def __init__(self, runner: asyncio.Runner, host: AccountHost, written: Connection, marked: Connection) -> None:
        self._runner = runner
        self._host = host
        self.written = written
        self._marked = marked
        self._markets = Market(1), Market(1)
        self._passes = itertools.count(1)
        self._accounts = len(runner.run(host.roster()))

    def by_engine(self) -> None:
        tally = self._runner.run(self._host.mark(f"engine-{next(self._passes)}", self._markets[0].look()))
        if tally.marked != self._accounts:
            raise RuntimeError(f"not everybody was marked: {tally}")

    def by_sql(self) -> None:
        quotes = self._markets[1].look().values()
        vector = {
            "symbols": [quote.symbol for quote in quotes],
            "mids": [quote.mid for quote in quotes],
            "sources": [quote.source for quote in quotes],
            "observed": [quote.observed_at for quote in quotes],
        }
        self._marked.execute(MARK_ALL, {**vector, "pass_id": "by-sql"})

    def check(self) -> None:
        """Both wrote an event an account and pass, and came to the same balances; raises `RuntimeError`.

        Of sums a unit an account is let through: SQL rounds a tie up, the engine to even.
        """
        written, marked = (connection.execute(SUMS).fetchone() or () for connection in (self.written, self._marked))
        slack = self._accounts * UNIT
        if not all(abs(ours - its) <= slack for ours, its in zip(written, marked, strict=True)):
            raise RuntimeError(f"the engine made {written} of what SQL made {marked}")


@contextmanager
def desk(server: EmbeddedPostgres, accounts: int, positions: int) -> Iterator[Desk]:
    """So many accounts with so many open positions each, to be marked by either."""
    with temporary_database(server, TEMPLATE) as url:
        ids = filled(url, accounts, positions=positions)
        with (
            temporary_database(server, str(conninfo_to_dict(url)["dbname"])) as baseline_url,
            psycopg.connect(url, autocommit=True) as written,
            psycopg.connect(baseline_url, autocommit=True, options="-c work_mem=256MB") as marked,
            asyncio.Runner() as runner,
        ):
            resources = AsyncExitStack()
            try:
                yield Desk(runner, runner.run(_hosting(resources, url, ids)), written, marked)
            finally:
                runner.run(resources.aclose())


async def _hosting(resources: AsyncExitStack, url: str, ids: Sequence[str]) -> AccountHost:
    """What an account actor with a local committer holds, all accounts activated."""
    collect_seldom()
    config = runtime_config(load_settings(SETTINGS), url, room=1)
    store = await resources.enter_async_context(PostgresStore.connect(url, pool_size_max=CONNECTIONS_MAX))
    committer = committer_over(store, config.persister)
    resources.push_async_callback(committer.close)
    host = AccountHost("bench", store, committer, config.host)
    for start in range(0, len(ids), ACTIVATED_AT_ONCE):
        await host.activate(ids[start : start + ACTIVATED_AT_ONCE])
    return host
