"""The SQL of the Postgres store, in the open. Every statement is set-based: one for any number of accounts.

Head rows are always locked in account order, so no two of these transactions can wait for each other.
"""

from typing import Final

from psycopg.sql import SQL, Composable, Identifier

from persistence.columns import Columns, parameter
from persistence.rows import (
    ACTIONS,
    AUDIT,
    EVENTS,
    FILLS,
    GONE,
    HEADS,
    ORDERS,
    POSITIONS,
    RESTATED,
    RESULTS,
    REVALUED,
    STATES,
    VOIDED,
)


def _named(shape: Columns) -> Composable:
    return SQL(", ").join(map(Identifier, shape.names))


def _arrays(shape: Columns) -> Composable:
    """`%s::uuid[], %s::bigint[], ...`"""
    return SQL(", ").join(SQL(parameter(type_).format("%s")) for _, type_ in shape.columns)


def _insert(shape: Columns) -> bytes:
    statement = SQL("INSERT INTO {} ({}) SELECT * FROM unnest({})")
    return statement.format(Identifier(shape.table), _named(shape), _arrays(shape)).as_bytes()


def _copy(shape: Columns) -> bytes:
    return SQL("COPY {} ({}) FROM STDIN").format(Identifier(shape.table), _named(shape)).as_bytes()


WRITTEN: Final = (EVENTS, ORDERS, FILLS, ACTIONS)
"""Tables that only grow."""
INSERT: Final = {shape.table: _insert(shape) for shape in (*WRITTEN, AUDIT, RESULTS)}
COPY: Final = {shape.table: _copy(shape) for shape in WRITTEN}

LOCK_HEADS: Final = """
SELECT account_id::text, epoch, last_seq, head_hash FROM prop_account_balances
WHERE account_id = ANY(%s::uuid[]) ORDER BY account_id FOR UPDATE
"""

# Those that nobody else has locked. One that is left out is locked, or is no account: `EPOCHS` tells.
LOCK_FREE_HEADS: Final = LOCK_HEADS.rstrip() + " SKIP LOCKED"

_HEAD_SET: Final = SQL("""
    last_seq = new.last_seq, head_hash = new.head_hash, cash = new.cash, equity = new.equity,
    realized_pnl = new.realized_pnl, unrealized_pnl = new.unrealized_pnl, fees_paid = new.fees_paid,
    adjustments = new.adjustments, margin_used = new.margin_used, free_margin = new.free_margin,
    high_watermark = new.high_watermark, drawdown = new.drawdown, liquidation_equity = new.liquidation_equity
""")
_HEAD_TO = SQL("""
UPDATE prop_account_balances head SET {}
FROM unnest({}) AS new ({})
WHERE head.account_id = new.account_id AND head.epoch = new.epoch
""").format(_HEAD_SET, _arrays(HEADS), _named(HEADS))
_MOVED: Final = SQL(" RETURNING head.account_id::text")

# The fence (G4). Each row that comes back is an append that may be written.
MOVE_HEADS: Final = (_HEAD_TO + SQL("AND head.last_seq = new.expected_seq") + _MOVED).as_bytes()
# Of a head row that may be wrong itself only the epoch is believed; the ledger's key refuses a seq that is taken.
MEND_HEAD: Final = (_HEAD_TO + _MOVED).as_bytes()

# Oldest episode first: one must be closed before the next of its symbol and side may be open.
_POSITION_PUT: Final = SQL("""
ORDER BY new.account_id, new.opened_seq
ON CONFLICT (account_id, opened_seq) DO UPDATE
SET status = excluded.status, quantity = excluded.quantity, entry_notional = excluded.entry_notional,
    avg_entry_price = excluded.avg_entry_price, leverage = excluded.leverage, margin_used = excluded.margin_used,
    mark_price = excluded.mark_price, mark_notional = excluded.mark_notional, marked_at = excluded.marked_at,
    unrealized_pnl = excluded.unrealized_pnl, realized_pnl = excluded.realized_pnl, fees = excluded.fees,
    closed_at = excluded.closed_at
""")
PUT_POSITIONS: Final = (
    SQL("INSERT INTO prop_positions ({}) SELECT * FROM unnest({}) AS new ({})").format(
        _named(POSITIONS), _arrays(POSITIONS), _named(POSITIONS)
    )
    + _POSITION_PUT
).as_bytes()


_REVALUE = SQL("""
UPDATE prop_positions held
SET margin_used = new.margin_used, mark_price = new.mark_price, mark_notional = new.mark_notional,
    marked_at = new.marked_at, unrealized_pnl = new.unrealized_pnl
FROM unnest({}) AS new ({})
WHERE held.account_id = new.account_id AND held.opened_seq = new.opened_seq
""").format(_arrays(REVALUED), _named(REVALUED))
REVALUE_POSITIONS: Final = _REVALUE.as_bytes()


def _numbered(statement: Composable) -> bytes:
    """With `$1`, `$2`, ... for its parameters, as Postgres itself counts them: it goes out as it is."""
    parts = statement.as_bytes().split(b"%s")
    return b"".join(part + (b"$%d" % place if place < len(parts) else b"") for place, part in enumerate(parts, 1))


def _insert_of_moved(shape: Columns) -> Composable:
    """The rows of accounts whose heads were moved by the same statement."""
    return SQL("INSERT INTO {} ({}) SELECT * FROM unnest({}) AS new ({}) WHERE {}").format(
        Identifier(shape.table), _named(shape), _arrays(shape), _named(shape), _MOVED_ACCOUNT
    )


_MOVED_ACCOUNT = SQL("new.account_id IN (SELECT account_id FROM moved)")
AT_ONCE: Final = (HEADS, EVENTS, ORDERS, FILLS, ACTIONS, POSITIONS, REVALUED)
"""The shapes of `COMMIT_AT_ONCE`, whose parameters are their columns, one after another."""

# A whole commit in one statement, which is a transaction by itself: locked in account order, fenced, written.
COMMIT_AT_ONCE: Final = _numbered(
    SQL("""
WITH new AS MATERIALIZED (SELECT * FROM unnest({heads}) AS new ({head_names})),
locked AS MATERIALIZED (
    SELECT account_id FROM prop_account_balances WHERE account_id IN (SELECT account_id FROM new)
    ORDER BY account_id FOR UPDATE
), moved AS (
    UPDATE prop_account_balances head
    SET {head_set}
    FROM new JOIN locked ON locked.account_id = new.account_id
    WHERE head.account_id = new.account_id AND head.epoch = new.epoch AND head.last_seq = new.expected_seq
    RETURNING head.account_id
), events AS ({events}), orders AS ({orders}), fills AS ({fills}), actions AS ({actions}), positions AS ({positions}),
revalued AS ({revalued})
SELECT account_id::text FROM moved
""").format(
        heads=_arrays(HEADS),
        head_names=_named(HEADS),
        head_set=_HEAD_SET,
        events=_insert_of_moved(EVENTS),
        orders=_insert_of_moved(ORDERS),
        fills=_insert_of_moved(FILLS),
        actions=_insert_of_moved(ACTIONS),
        positions=_insert_of_moved(POSITIONS) + _POSITION_PUT,
        revalued=_REVALUE + SQL("AND ") + _MOVED_ACCOUNT,
    )
)

PUT_STATES: Final = (
    SQL("""
UPDATE prop_accounts account
SET status = new.status, started_at = new.started_at, ended_at = new.ended_at, end_reason = new.end_reason
FROM unnest({}) AS new ({})
WHERE account.id = new.id AND account.status <> new.status
""")
    .format(_arrays(STATES), _named(STATES))
    .as_bytes()
)


def _amend(statement: str, shape: Columns) -> bytes:
    """`{}` stands for the rows, as `new`."""
    rows = SQL("unnest({}) AS new ({})").format(_arrays(shape), _named(shape))
    return SQL(statement).format(rows).as_bytes()


VOID_ORDERS: Final = _amend("UPDATE prop_orders SET status = 'voided' FROM {} WHERE prop_orders.id = new.id", VOIDED)
VOID_FILLS: Final = _amend("UPDATE prop_fills SET status = 'voided' FROM {} WHERE prop_fills.id = new.id", VOIDED)
RESTATE_FILLS: Final = _amend(
    "UPDATE prop_fills SET realized_pnl = new.realized_pnl FROM {} WHERE prop_fills.id = new.id", RESTATED
)
DROP_POSITIONS: Final = _amend(
    "DELETE FROM prop_positions old USING {} WHERE (old.account_id, old.opened_seq) = (new.account_id, new.opened_seq)",
    GONE,
)

# What is wrong, and whatever else stands where the ledger's own rows have to go. `keys` and `more` are columns of keys.
DROP_DRIFTED: Final = {
    "prop_orders": "DELETE FROM prop_orders WHERE id = ANY(%(keys)s::uuid[])",
    "prop_fills": "DELETE FROM prop_fills WHERE id = ANY(%(keys)s::uuid[])",
    "prop_positions": """
DELETE FROM prop_positions WHERE account_id = %(account_id)s AND opened_seq = ANY(%(keys)s::bigint[])
""",
    "prop_decision_actions": """
DELETE FROM prop_decision_actions USING unnest(%(keys)s::text[], %(more)s::text[]) AS old (run, action)
WHERE account_id = %(account_id)s AND (decision_run_id, decision_action_id) = (old.run, old.action)
""",
    "prop_account_results": "DELETE FROM prop_account_results WHERE account_id = ANY(%(keys)s::uuid[])",
    "prop_account_snapshots": """
DELETE FROM prop_account_snapshots WHERE account_id = %(account_id)s AND seq = ANY(%(keys)s::bigint[])
""",
}

MEND_ACCOUNT: Final = """
UPDATE prop_accounts
SET (status, owner_id, clone_id, parent_account_id, race_id, mode, currency, starting_balance, policy, metadata,
    opening, idempotency_key, created_at, started_at, ended_at, end_reason)
    = (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)
WHERE id = %s
"""

INSERT_ACCOUNT: Final = """
INSERT INTO prop_accounts (id, status, owner_id, clone_id, parent_account_id, race_id, mode, currency,
    starting_balance, policy, metadata, opening, idempotency_key, created_at)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)
ON CONFLICT DO NOTHING
"""

INSERT_HEAD: Final = (
    SQL("""
INSERT INTO prop_account_balances (account_id, epoch, last_seq, head_hash, cash, equity, realized_pnl, unrealized_pnl,
    fees_paid, adjustments, margin_used, free_margin, high_watermark, drawdown, liquidation_equity)
SELECT account_id, epoch, last_seq, head_hash, cash, equity, realized_pnl, unrealized_pnl,
    fees_paid, adjustments, margin_used, free_margin, high_watermark, drawdown, liquidation_equity
FROM unnest({}) AS new ({})
""")
    .format(_arrays(HEADS), _named(HEADS))
    .as_bytes()
)

EXISTING_ACCOUNT: Final = """
SELECT account.id::text, account.status, account.created_at, account.started_at, account.ended_at, account.end_reason,
    head.last_seq, account.opening::text
FROM prop_accounts account JOIN prop_account_balances head ON head.account_id = account.id
WHERE account.idempotency_key = %s OR account.id = %s
"""

RAISE_EPOCHS: Final = """
UPDATE prop_account_balances SET epoch = epoch + 1 WHERE account_id = ANY(%s::uuid[])
RETURNING account_id::text, epoch, last_seq, head_hash
"""

EPOCHS: Final = "SELECT account_id::text, epoch FROM prop_account_balances WHERE account_id = ANY(%s::uuid[])"

# Snapshots carry the epoch guard too: a stale activation must not plant one.
PUT_SNAPSHOTS: Final = """
INSERT INTO prop_account_snapshots (account_id, seq, epoch, schema_version, state, sha256)
SELECT new.account_id, new.seq, new.epoch, new.schema_version, new.state, new.sha256
FROM unnest(%s::uuid[], %s::bigint[], %s::bigint[], %s::integer[], %b::bytea[], %b::bytea[])
    AS new (account_id, seq, epoch, schema_version, state, sha256)
JOIN prop_account_balances head ON head.account_id = new.account_id AND head.epoch = new.epoch
ON CONFLICT (account_id, seq) DO UPDATE SET epoch = excluded.epoch, schema_version = excluded.schema_version,
    state = excluded.state, sha256 = excluded.sha256, created_at = now()
"""

PRUNE_SNAPSHOTS: Final = """
DELETE FROM prop_account_snapshots old USING unnest(%s::uuid[]) AS pruned (account_id)
WHERE old.account_id = pruned.account_id AND old.seq < (
    SELECT seq FROM prop_account_snapshots WHERE account_id = pruned.account_id ORDER BY seq DESC OFFSET %s LIMIT 1)
"""

NEWEST_SNAPSHOTS: Final = """
SELECT newest.account_id::text, newest.seq, newest.epoch, newest.schema_version, newest.state, newest.sha256
FROM unnest(%s::uuid[], %s::bigint[]) AS wanted (account_id, below)
CROSS JOIN LATERAL (
    SELECT * FROM prop_account_snapshots WHERE account_id = wanted.account_id AND seq < wanted.below
    ORDER BY seq DESC LIMIT 1) newest
"""

# An account at a time. A cursor is planned for its first rows: a plain join is answered by reading the whole ledger in
# order until the last account that was asked for comes by.
LEDGER: Final = """
SELECT event.account_id::text, event.seq, event.type, event.version, event.occurred_at, event.epoch, event.request_id,
    event.payload::text, event.hash
FROM (SELECT * FROM unnest(%s::uuid[], %s::bigint[]) AS asked (account_id, after) ORDER BY account_id) wanted
CROSS JOIN LATERAL (
    SELECT * FROM prop_ledger_events WHERE account_id = wanted.account_id AND seq > wanted.after
    ORDER BY seq OFFSET 0) event
ORDER BY wanted.account_id, event.seq
"""

RECEIPTS: Final = """
SELECT receipt.decision_run_id, receipt.action::text, receipt.result::text, receipt.seq, receipt.decided_at
FROM unnest(%s::text[], %s::text[]) AS wanted (decision_run_id, decision_action_id)
JOIN prop_decision_actions receipt ON receipt.account_id = %s
    AND receipt.decision_run_id = wanted.decision_run_id AND receipt.decision_action_id = wanted.decision_action_id
"""

HOSTABLE: Final = """
SELECT account.id::text FROM prop_accounts account WHERE account.status IN ('active', 'paused', 'locked')
ORDER BY EXISTS (SELECT FROM prop_positions WHERE account_id = account.id AND status = 'open') DESC,
    account.created_at, account.id
"""

END_BACKENDS: Final = """
SELECT pg_terminate_backend(pid, %s) FROM pg_stat_activity WHERE pid = ANY(%s) AND application_name = %s
"""
