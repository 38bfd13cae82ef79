"""The tables, as SQLAlchemy Core sees them. The migrations make them; a test holds the two together.

Owns names and types of every `prop_*` table of schema `public`, and of `market_prices`, which Data Ingestion fills
and the engine only reads. Money is NUMERIC(28, 8); what is stored already is at that scale (Postgres would round
silently). CHECKs and triggers are the migrations' alone: queries do not need them.

No foreign key points at an account from a row of the write path: the head row that each commit compares and locks
is the account, so a check per row would only cost.
"""

from typing import Final

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    DateTime,
    ForeignKey,
    Identity,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Numeric,
    SmallInteger,
    Table,
    Text,
    UniqueConstraint,
    Uuid,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.types import UserDefinedType

LEDGER_PARTITIONS: Final = 8

metadata: Final = MetaData(
    naming_convention={
        "pk": "%(table_name)s_pkey",
        "uq": "%(table_name)s_%(column_0_N_name)s_key",
        "fk": "%(table_name)s_%(column_0_N_name)s_fkey",
    }
)


class Xid8(UserDefinedType[str]):
    """A transaction id that never wraps around."""

    cache_ok = True

    def get_col_spec(self, **_: object) -> str:
        return "xid8"


def _id(name: str, *, primary_key: bool = False, nullable: bool = False) -> Column[str]:
    return Column(name, Uuid(as_uuid=False), primary_key=primary_key, nullable=nullable)


def _money(name: str) -> Column[object]:
    return Column(name, Numeric(28, 8), nullable=False)


def _at(name: str, *, nullable: bool = False, now: bool = False) -> Column[object]:
    return Column(name, DateTime(timezone=True), nullable=nullable, server_default=func.now() if now else None)


def _text(name: str, *, nullable: bool = False) -> Column[str]:
    return Column(name, Text, nullable=nullable)


accounts: Final = Table(
    "prop_accounts",
    metadata,
    _id("id", primary_key=True),
    _text("status"),
    _text("owner_id"),
    _text("clone_id"),
    _text("parent_account_id", nullable=True),  # as the client wrote it
    _text("race_id", nullable=True),
    _text("mode"),
    _text("currency"),
    _money("starting_balance"),
    Column("policy", JSONB, nullable=False),
    Column("metadata", JSONB, nullable=False),
    Column("opening", JSONB, nullable=False),  # the whole CreateAccount, canonical
    _text("idempotency_key", nullable=True),
    _at("created_at"),
    _at("started_at", nullable=True),
    _at("ended_at", nullable=True),
    _text("end_reason", nullable=True),
    UniqueConstraint("idempotency_key"),
    Index("prop_accounts_created", "created_at", "id"),
    Index("prop_accounts_clone", "clone_id", "created_at", "id"),
    Index("prop_accounts_owner", "owner_id", "created_at", "id"),
    Index("prop_accounts_race", "race_id", "created_at", "id", postgresql_where=text("race_id IS NOT NULL")),
    Index("prop_accounts_status", "status", "created_at", "id"),
)

balances: Final = Table(
    "prop_account_balances",  # and the head of the ledger: what every commit compares and sets
    metadata,
    Column("account_id", Uuid(as_uuid=False), ForeignKey("prop_accounts.id"), primary_key=True),
    _money("cash"),
    _money("equity"),
    _money("realized_pnl"),
    _money("unrealized_pnl"),
    _money("fees_paid"),
    _money("adjustments"),
    _money("margin_used"),
    _money("free_margin"),
    _money("high_watermark"),
    _money("drawdown"),
    _money("liquidation_equity"),
    Column("last_seq", BigInteger, nullable=False),
    Column("epoch", BigInteger, nullable=False),
    Column("head_hash", LargeBinary, nullable=False),
)

orders: Final = Table(
    "prop_orders",
    metadata,
    _id("id", primary_key=True),
    _id("account_id"),
    Column("account_seq", BigInteger, nullable=False),
    _id("prop_action_id", nullable=True),
    _text("symbol"),
    _text("side"),
    _text("intent"),
    _money("quantity"),
    _money("leverage"),
    _text("status"),
    _at("created_at"),
    Index("prop_orders_account", "account_id", "account_seq"),
)

fills: Final = Table(
    "prop_fills",
    metadata,
    _id("id", primary_key=True),
    _id("order_id"),
    _id("account_id"),
    Column("account_seq", BigInteger, nullable=False),
    _text("symbol"),
    _text("side"),
    _text("intent"),
    _money("quantity"),
    _money("price"),
    _money("notional"),
    _money("fee"),
    _money("realized_pnl"),
    Column("quote", JSONB, nullable=False),
    _text("status"),
    _at("filled_at"),
    Index("prop_fills_account", "account_id", "account_seq"),
)

positions: Final = Table(
    "prop_positions",  # one row an episode, from opening to close
    metadata,
    _id("account_id", primary_key=True),
    Column("opened_seq", BigInteger, primary_key=True),
    _text("symbol"),
    _text("side"),
    _text("status"),
    _money("quantity"),
    _money("entry_notional"),
    _money("avg_entry_price"),
    _money("leverage"),
    _money("margin_used"),
    _money("mark_price"),
    _money("mark_notional"),
    _at("marked_at"),
    _money("unrealized_pnl"),
    _money("realized_pnl"),
    _money("fees"),
    _at("opened_at"),
    _at("closed_at", nullable=True),
    Index("prop_positions_open", "account_id", "symbol", "side", unique=True, postgresql_where=text("status = 'open'")),
)

decision_actions: Final = Table(
    "prop_decision_actions",  # the receipts
    metadata,
    _id("account_id", primary_key=True),
    Column("decision_run_id", Text, primary_key=True),
    Column("decision_action_id", Text, primary_key=True),
    _id("prop_action_id"),
    Column("fingerprint", LargeBinary, nullable=False),  # blake2b-256 of the canonical action
    Column("action", JSONB, nullable=False),
    Column("result", JSONB, nullable=False),
    _text("status"),
    _text("code", nullable=True),
    Column("seq", BigInteger, nullable=False),
    _at("decided_at"),
    UniqueConstraint("prop_action_id"),
    Index("prop_decision_actions_account", "account_id", "seq"),
)

ledger_events: Final = Table(
    "prop_ledger_events",  # insert only
    metadata,
    _id("account_id", primary_key=True),
    Column("seq", BigInteger, primary_key=True),
    _text("type"),
    Column("version", SmallInteger, nullable=False),
    _at("occurred_at"),
    _at("recorded_at", now=True),
    Column("epoch", BigInteger, nullable=False),
    _text("request_id"),
    Column("payload", JSONB, nullable=False),
    Column("hash", LargeBinary, nullable=False),
    Column("commit_xid", Xid8(), nullable=False, server_default=text("pg_current_xact_id()")),  # see event_log
    Index("prop_ledger_events_commit", "commit_xid", "account_id", "seq"),
    postgresql_partition_by="HASH (account_id)",
)

admin_audit_log: Final = Table(
    "prop_admin_audit_log",  # insert only
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    _at("occurred_at", now=True),
    _text("token_name"),
    _text("action"),
    _id("account_id", nullable=True),
    _text("reason"),
    _text("request_id"),
    Column("before", JSONB, nullable=True),
    Column("after", JSONB, nullable=True),
    Index("prop_admin_audit_log_account", "account_id", "id"),
)

account_snapshots: Final = Table(
    "prop_account_snapshots",  # a cache of book states; losing all of them loses nothing
    metadata,
    _id("account_id", primary_key=True),
    Column("seq", BigInteger, primary_key=True),
    Column("epoch", BigInteger, nullable=False),
    Column("schema_version", Integer, nullable=False),
    Column("state", LargeBinary, nullable=False),
    Column("sha256", LargeBinary, nullable=False),
    _at("created_at", now=True),
)

account_results: Final = Table(
    "prop_account_results",  # the frozen result of a terminal account
    metadata,
    _id("account_id", primary_key=True),
    Column("account_seq", BigInteger, nullable=False),
    _text("status"),
    _at("ended_at"),
    Column("policy_hash", LargeBinary, nullable=False),
    Column("head_hash", LargeBinary, nullable=False),
    Column("result", JSONB, nullable=False),
    _at("recorded_at", now=True),
)

worker_heartbeats: Final = Table(
    "prop_worker_heartbeats",
    metadata,
    Column("worker", Text, primary_key=True),
    _text("kind"),
    _text("host"),
    Column("pid", Integer, nullable=False),
    _at("started_at"),
    _at("beat_at"),
    Column("detail", JSONB, nullable=False, server_default=text("'{}'::jsonb")),
)

installation: Final = Table(
    "prop_installation",  # one row: what all gateways of an installation share
    metadata,
    Column("is_only", Boolean, primary_key=True, server_default=text("true")),
    Column("cursor_secret", LargeBinary, nullable=False),
)

service_tokens: Final = Table(
    "prop_service_tokens",
    metadata,
    _id("id", primary_key=True),
    _text("name"),
    Column("token_sha256", LargeBinary, nullable=False),
    Column("scopes", ARRAY(Text), nullable=False),
    _at("created_at", now=True),
    _at("expires_at", nullable=True),
    _at("revoked_at", nullable=True),
    UniqueConstraint("token_sha256"),
    Index("prop_service_tokens_name", "name"),
)

market_prices: Final = Table(
    "market_prices",  # Data Ingestion's; bid and ask may be anything it saw, NaN and null included
    metadata,
    _text("symbol"),
    Column("bid", Numeric, nullable=True),
    Column("ask", Numeric, nullable=True),
    Column("mid", Numeric, nullable=True),
    _text("source", nullable=True),
    _at("observed_at"),
    Index("market_prices_symbol_observed_at", "symbol", text("observed_at DESC")),
)
