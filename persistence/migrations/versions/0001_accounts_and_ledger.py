"""Accounts, their rows, and the insert-only ledger."""

from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

LEDGER_PARTITIONS = 8

# NaN sorts above every number, so `n > 0` and `n >= 0` let it in: each CHECK on money also asks for `< 'NaN'`.

ACCOUNTS = """
CREATE TABLE prop_accounts (
    id uuid CONSTRAINT prop_accounts_pkey PRIMARY KEY,
    status text NOT NULL,
    owner_id text NOT NULL,
    clone_id text NOT NULL,
    parent_account_id text,
    race_id text,
    mode text NOT NULL,
    currency text NOT NULL,
    starting_balance numeric(28, 8) NOT NULL,
    policy jsonb NOT NULL,
    metadata jsonb NOT NULL,
    opening jsonb NOT NULL,
    idempotency_key text CONSTRAINT prop_accounts_idempotency_key_key UNIQUE,
    created_at timestamptz NOT NULL,
    started_at timestamptz,
    ended_at timestamptz,
    end_reason text,
    CONSTRAINT prop_accounts_status CHECK
        (status IN ('pending', 'active', 'paused', 'locked', 'completed', 'liquidated')),
    CONSTRAINT prop_accounts_mode CHECK (mode IN ('audition', 'race', 'live_paper')),
    CONSTRAINT prop_accounts_starting_balance CHECK (starting_balance > 0 AND starting_balance < 'NaN'),
    CONSTRAINT prop_accounts_started CHECK ((status = 'pending') = (started_at IS NULL)),
    CONSTRAINT prop_accounts_ended CHECK ((status IN ('completed', 'liquidated')) = (ended_at IS NOT NULL)),
    CONSTRAINT prop_accounts_end_reason CHECK ((ended_at IS NULL) = (end_reason IS NULL))
);
CREATE INDEX prop_accounts_created ON prop_accounts (created_at, id);
CREATE INDEX prop_accounts_clone ON prop_accounts (clone_id, created_at, id);
CREATE INDEX prop_accounts_owner ON prop_accounts (owner_id, created_at, id);
CREATE INDEX prop_accounts_race ON prop_accounts (race_id, created_at, id) WHERE race_id IS NOT NULL;
CREATE INDEX prop_accounts_status ON prop_accounts (status, created_at, id);
"""

# Rewritten by every commit: room on the page keeps updates off the indexes.
BALANCES = """
CREATE TABLE prop_account_balances (
    account_id uuid CONSTRAINT prop_account_balances_pkey PRIMARY KEY
        CONSTRAINT prop_account_balances_account_id_fkey REFERENCES prop_accounts (id),
    cash numeric(28, 8) NOT NULL,
    equity numeric(28, 8) NOT NULL,
    realized_pnl numeric(28, 8) NOT NULL,
    unrealized_pnl numeric(28, 8) NOT NULL,
    fees_paid numeric(28, 8) NOT NULL,
    adjustments numeric(28, 8) NOT NULL,
    margin_used numeric(28, 8) NOT NULL,
    free_margin numeric(28, 8) NOT NULL,
    high_watermark numeric(28, 8) NOT NULL,
    drawdown numeric(28, 8) NOT NULL,
    liquidation_equity numeric(28, 8) NOT NULL,
    last_seq bigint NOT NULL,
    epoch bigint NOT NULL,
    head_hash bytea NOT NULL,
    CONSTRAINT prop_account_balances_numbers CHECK (greatest(cash, equity, realized_pnl, unrealized_pnl, fees_paid,
        adjustments, margin_used, free_margin, high_watermark, drawdown, liquidation_equity) < 'NaN'),
    CONSTRAINT prop_account_balances_equity CHECK (equity = cash + unrealized_pnl),
    CONSTRAINT prop_account_balances_free_margin CHECK (free_margin = equity - margin_used),
    CONSTRAINT prop_account_balances_signs CHECK (least(fees_paid, margin_used, drawdown) >= 0),
    CONSTRAINT prop_account_balances_head CHECK (last_seq >= 1 AND epoch >= 0 AND octet_length(head_hash) = 32)
) WITH (fillfactor = 50);
"""

ORDERS_AND_FILLS = """
CREATE TABLE prop_orders (
    id uuid CONSTRAINT prop_orders_pkey PRIMARY KEY,
    account_id uuid NOT NULL,
    account_seq bigint NOT NULL,
    prop_action_id uuid,
    symbol text NOT NULL,
    side text NOT NULL,
    intent text NOT NULL,
    quantity numeric(28, 8) NOT NULL,
    leverage numeric(28, 8) NOT NULL,
    status text NOT NULL,
    created_at timestamptz NOT NULL,
    CONSTRAINT prop_orders_words CHECK (side IN ('long', 'short')
        AND intent IN ('open', 'reduce', 'close', 'liquidate') AND status IN ('filled', 'voided')),
    CONSTRAINT prop_orders_numbers CHECK (quantity > 0 AND leverage >= 1 AND greatest(quantity, leverage) < 'NaN')
);
CREATE INDEX prop_orders_account ON prop_orders (account_id, account_seq);

CREATE TABLE prop_fills (
    id uuid CONSTRAINT prop_fills_pkey PRIMARY KEY,
    order_id uuid NOT NULL,
    account_id uuid NOT NULL,
    account_seq bigint NOT NULL,
    symbol text NOT NULL,
    side text NOT NULL,
    intent text NOT NULL,
    quantity numeric(28, 8) NOT NULL,
    price numeric(28, 8) NOT NULL,
    notional numeric(28, 8) NOT NULL,
    fee numeric(28, 8) NOT NULL,
    realized_pnl numeric(28, 8) NOT NULL,
    quote jsonb NOT NULL,
    status text NOT NULL,
    filled_at timestamptz NOT NULL,
    CONSTRAINT prop_fills_words CHECK (side IN ('long', 'short')
        AND intent IN ('open', 'reduce', 'close', 'liquidate') AND status IN ('booked', 'voided')),
    CONSTRAINT prop_fills_numbers CHECK (least(quantity, price) > 0 AND least(notional, fee) >= 0
        AND greatest(quantity, price, notional, fee, realized_pnl) < 'NaN')
);
CREATE INDEX prop_fills_account ON prop_fills (account_id, account_seq);
"""

POSITIONS = """
CREATE TABLE prop_positions (
    account_id uuid NOT NULL,
    opened_seq bigint NOT NULL,
    symbol text NOT NULL,
    side text NOT NULL,
    status text NOT NULL,
    quantity numeric(28, 8) NOT NULL,
    entry_notional numeric(28, 8) NOT NULL,
    avg_entry_price numeric(28, 8) NOT NULL,
    leverage numeric(28, 8) NOT NULL,
    margin_used numeric(28, 8) NOT NULL,
    mark_price numeric(28, 8) NOT NULL,
    mark_notional numeric(28, 8) NOT NULL,
    marked_at timestamptz NOT NULL,
    unrealized_pnl numeric(28, 8) NOT NULL,
    realized_pnl numeric(28, 8) NOT NULL,
    fees numeric(28, 8) NOT NULL,
    opened_at timestamptz NOT NULL,
    closed_at timestamptz,
    CONSTRAINT prop_positions_pkey PRIMARY KEY (account_id, opened_seq),
    CONSTRAINT prop_positions_side CHECK (side IN ('long', 'short')),
    CONSTRAINT prop_positions_open CHECK ((status = 'open' AND quantity > 0 AND closed_at IS NULL)
        OR (status = 'closed' AND quantity = 0 AND closed_at IS NOT NULL)),
    CONSTRAINT prop_positions_numbers CHECK (least(quantity, entry_notional, margin_used, mark_notional, fees) >= 0
        AND leverage >= 1 AND mark_price > 0 AND greatest(quantity, entry_notional, avg_entry_price, leverage,
        margin_used, mark_price, mark_notional, unrealized_pnl, realized_pnl, fees) < 'NaN')
) WITH (fillfactor = 70);
CREATE UNIQUE INDEX prop_positions_open ON prop_positions (account_id, symbol, side) WHERE status = 'open';
"""

# A receipt is about 2 KB, where Postgres would begin to compress it, for more time than all else its row costs.
DECISION_ACTIONS = """
CREATE TABLE prop_decision_actions (
    account_id uuid NOT NULL,
    decision_run_id text NOT NULL,
    decision_action_id text NOT NULL,
    prop_action_id uuid NOT NULL CONSTRAINT prop_decision_actions_prop_action_id_key UNIQUE,
    fingerprint bytea NOT NULL,
    action jsonb NOT NULL,
    result jsonb NOT NULL,
    status text NOT NULL,
    code text,
    seq bigint NOT NULL,
    decided_at timestamptz NOT NULL,
    CONSTRAINT prop_decision_actions_pkey PRIMARY KEY (account_id, decision_run_id, decision_action_id),
    CONSTRAINT prop_decision_actions_fingerprint CHECK (octet_length(fingerprint) = 32),
    CONSTRAINT prop_decision_actions_outcome CHECK
        ((status = 'executed' AND code IS NULL) OR (status = 'rejected' AND code IS NOT NULL))
) WITH (toast_tuple_target = 8160);
CREATE INDEX prop_decision_actions_account ON prop_decision_actions (account_id, seq);
"""

LEDGER = """
CREATE TABLE prop_ledger_events (
    account_id uuid NOT NULL,
    seq bigint NOT NULL,
    type text NOT NULL,
    version smallint NOT NULL,
    occurred_at timestamptz NOT NULL,
    recorded_at timestamptz NOT NULL DEFAULT now(),
    epoch bigint NOT NULL,
    request_id text NOT NULL,
    payload jsonb NOT NULL,
    hash bytea NOT NULL,
    CONSTRAINT prop_ledger_events_pkey PRIMARY KEY (account_id, seq),
    CONSTRAINT prop_ledger_events_place CHECK
        (seq >= 1 AND version >= 1 AND epoch >= 0 AND octet_length(hash) = 32)
) PARTITION BY HASH (account_id);
"""

PARTITION = """
CREATE TABLE prop_ledger_events_{part} PARTITION OF prop_ledger_events
    FOR VALUES WITH (MODULUS {parts}, REMAINDER {part});
CREATE TRIGGER prop_ledger_events_no_truncate BEFORE TRUNCATE ON prop_ledger_events_{part}
    FOR EACH STATEMENT EXECUTE FUNCTION prop_refuse_rewrite();
"""

INSERT_ONLY = """
CREATE FUNCTION prop_refuse_rewrite() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% is insert only: % refused', TG_TABLE_NAME, TG_OP
        USING ERRCODE = 'integrity_constraint_violation', HINT = 'Corrections are events of their own.';
END $$;
CREATE TRIGGER prop_ledger_events_insert_only BEFORE UPDATE OR DELETE ON prop_ledger_events
    FOR EACH ROW EXECUTE FUNCTION prop_refuse_rewrite();
CREATE TRIGGER prop_admin_audit_log_insert_only BEFORE UPDATE OR DELETE ON prop_admin_audit_log
    FOR EACH ROW EXECUTE FUNCTION prop_refuse_rewrite();
CREATE TRIGGER prop_admin_audit_log_no_truncate BEFORE TRUNCATE ON prop_admin_audit_log
    FOR EACH STATEMENT EXECUTE FUNCTION prop_refuse_rewrite();
"""

THE_REST = """
CREATE TABLE prop_admin_audit_log (
    id bigint GENERATED ALWAYS AS IDENTITY CONSTRAINT prop_admin_audit_log_pkey PRIMARY KEY,
    occurred_at timestamptz NOT NULL DEFAULT now(),
    token_name text NOT NULL,
    action text NOT NULL,
    account_id uuid,
    reason text NOT NULL,
    request_id text NOT NULL,
    before jsonb,
    after jsonb,
    CONSTRAINT prop_admin_audit_log_reason CHECK (length(reason) BETWEEN 1 AND 500)
);
CREATE INDEX prop_admin_audit_log_account ON prop_admin_audit_log (account_id, id);

CREATE TABLE prop_account_snapshots (
    account_id uuid NOT NULL,
    seq bigint NOT NULL,
    epoch bigint NOT NULL,
    schema_version integer NOT NULL,
    state bytea NOT NULL,
    sha256 bytea NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT prop_account_snapshots_pkey PRIMARY KEY (account_id, seq)
);

CREATE TABLE prop_account_results (
    account_id uuid CONSTRAINT prop_account_results_pkey PRIMARY KEY,
    account_seq bigint NOT NULL,
    status text NOT NULL,
    ended_at timestamptz NOT NULL,
    policy_hash bytea NOT NULL,
    head_hash bytea NOT NULL,
    result jsonb NOT NULL,
    recorded_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT prop_account_results_status CHECK (status IN ('completed', 'liquidated'))
);

CREATE TABLE prop_worker_heartbeats (
    worker text CONSTRAINT prop_worker_heartbeats_pkey PRIMARY KEY,
    kind text NOT NULL,
    host text NOT NULL,
    pid integer NOT NULL,
    started_at timestamptz NOT NULL,
    beat_at timestamptz NOT NULL,
    detail jsonb NOT NULL DEFAULT '{}'::jsonb
);

CREATE TABLE prop_service_tokens (
    id uuid CONSTRAINT prop_service_tokens_pkey PRIMARY KEY,
    name text NOT NULL,
    token_sha256 bytea NOT NULL CONSTRAINT prop_service_tokens_token_sha256_key UNIQUE,
    scopes text[] NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz,
    revoked_at timestamptz,
    CONSTRAINT prop_service_tokens_sha256 CHECK (octet_length(token_sha256) = 32),
    CONSTRAINT prop_service_tokens_scopes CHECK
        (cardinality(scopes) > 0 AND scopes <@ ARRAY['prop:read', 'prop:trade', 'prop:admin'])
);
CREATE INDEX prop_service_tokens_name ON prop_service_tokens (name);
"""

# Data Ingestion's table: made only where it is not there yet, so that the engine can run alone.
MARKET_PRICES = """
DO $$ BEGIN
    IF to_regclass('public.market_prices') IS NULL THEN
        CREATE TABLE public.market_prices (
            symbol text NOT NULL,
            bid numeric,
            ask numeric,
            mid numeric,
            source text,
            observed_at timestamptz NOT NULL
        );
        CREATE INDEX market_prices_symbol_observed_at ON public.market_prices (symbol, observed_at DESC);
    END IF;
END $$;
"""


def upgrade() -> None:
    for statements in (
        ACCOUNTS,
        BALANCES,
        ORDERS_AND_FILLS,
        POSITIONS,
        DECISION_ACTIONS,
        LEDGER,
        THE_REST,
        INSERT_ONLY,
    ):
        op.execute(statements)
    for part in range(LEDGER_PARTITIONS):
        op.execute(PARTITION.format(part=part, parts=LEDGER_PARTITIONS))
    op.execute(MARKET_PRICES)


def downgrade() -> None:
    raise RuntimeError("the ledger is never taken apart: restore a backup instead")
