"""The transaction of each ledger event, so that events of all accounts can be read in an order that misses none."""

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

# A constant first and the default after it: rows that are there already are not rewritten, and come before all others.
COMMIT_XID = """
ALTER TABLE prop_ledger_events ADD COLUMN commit_xid xid8 NOT NULL DEFAULT '0';
ALTER TABLE prop_ledger_events ALTER COLUMN commit_xid SET DEFAULT pg_current_xact_id();
CREATE INDEX prop_ledger_events_commit ON prop_ledger_events (commit_xid, account_id, seq);
"""

# Two random UUIDs hold 244 random bits.
INSTALLATION = """
CREATE TABLE prop_installation (
    is_only boolean DEFAULT true NOT NULL CONSTRAINT prop_installation_pkey PRIMARY KEY,
    cursor_secret bytea NOT NULL,
    CONSTRAINT prop_installation_only CHECK (is_only),
    CONSTRAINT prop_installation_cursor_secret CHECK (octet_length(cursor_secret) = 32)
);
INSERT INTO prop_installation (cursor_secret)
    VALUES (sha256(convert_to(gen_random_uuid()::text || gen_random_uuid()::text, 'UTF8')));
"""


def upgrade() -> None:
    op.execute(COMMIT_XID)
    op.execute(INSTALLATION)


def downgrade() -> None:
    raise RuntimeError("the ledger is never taken apart: restore a backup instead")
