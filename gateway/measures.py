"""Measures: every metric that `/metrics` tells, by name, kind, labels and what it means.

Owns the names: they are a contract with dashboards and alerts, and `docs/metrics.md` is written from here. What is not
here cannot be told. Guarantee: no label has a value for each account, order or request; all take their values from
what is few: routes, codes, nodes, symbols (at most 200).
"""

from collections.abc import Mapping
from typing import Final, Literal, NamedTuple

Kind = Literal["counter", "gauge", "histogram"]


class Measure(NamedTuple):
    """One metric. Counters are told with `_total` behind the name; units are last in it."""

    name: str
    kind: Kind
    labels: tuple[str, ...]
    means: str

    @property
    def told(self) -> tuple[str, ...]:
        """The names of its series."""
        match self.kind:
            case "counter":
                return (f"{self.name}_total",)
            case "gauge":
                return (self.name,)
            case "histogram":
                return tuple(f"{self.name}_{part}" for part in ("bucket", "count", "sum"))


HTTP: Final = (
    Measure("prop_http_requests", "counter", ("method", "route", "status"), "Requests answered"),
    Measure("prop_http_request_seconds", "histogram", ("method", "route"), "From the request's head to its answer"),
    Measure("prop_http_in_flight", "gauge", (), "API requests being served"),
    Measure("prop_http_streams", "gauge", (), "Event streams that are open"),
    Measure("prop_http_shed", "counter", ("reason",), "Requests refused before any work"),
)
GATEWAYS: Final = Measure("prop_gateways", "gauge", (), "Gateways of this port that are in this answer")
"""Only where there are several."""

ENGINE: Final = (
    Measure("prop_up", "gauge", ("component",), "1 where this component answered for this scrape, else 0"),
    # ---- accounts and what they do, by the node of their actors
    Measure(
        "prop_acknowledgement_seconds",
        "histogram",
        ("node",),
        "From a batch's arrival at its account actor to its events being durable",
    ),
    Measure("prop_actions", "counter", ("node", "outcome"), "Actions answered: executed, rejected or replayed"),
    Measure("prop_rejections", "counter", ("node", "code"), "Actions rejected, by the first gate that failed"),
    Measure("prop_ledger_events", "counter", ("node", "type"), "Ledger events made durable by account actors"),
    Measure("prop_fills", "counter", ("node",), "Fills made durable, those of liquidations included"),
    Measure("prop_liquidations", "counter", ("node",), "Accounts liquidated"),
    Measure("prop_marks", "counter", ("node", "outcome"), "Accounts marked, by outcome"),
    Measure(
        "prop_poisoned",
        "counter",
        ("node", "cause"),
        "Account states thrown away to be rebuilt: fenced, refused, unknown (not confirmed), broken (a defect)",
    ),
    Measure("prop_unserved", "counter", ("node", "reason"), "Requests that an account actor gave no outcome"),
    Measure("prop_drifts", "counter", ("node",), "Differences from the ledger that recomputes have found"),
    Measure("prop_rebuild_seconds", "histogram", ("node",), "Activations, of one account or many: claim to live again"),
    Measure("prop_rebuilt_accounts", "counter", ("node",), "Accounts that activations have brought into memory"),
    Measure("prop_hosts", "gauge", ("node",), "Account actors that live"),
    Measure("prop_hosted_accounts", "gauge", ("node",), "Accounts in the memory of account actors"),
    Measure("prop_undurable_accounts", "gauge", ("node",), "Accounts with decisions that are not durable yet"),
    Measure("prop_undurable_seconds", "gauge", ("node",), "Write lag: how long the oldest such decision has waited"),
    Measure("prop_told_seconds", "gauge", ("node",), "Age of the oldest last word of a living account actor"),
    # ---- group commit, by persister; `local` is the sum of those inside account actors
    Measure("prop_commit_seconds", "histogram", ("persister",), "Transactions, from begin to Postgres' word"),
    Measure("prop_commit_events", "histogram", ("persister",), "Ledger events in a transaction"),
    Measure(
        "prop_appends",
        "counter",
        ("persister", "verdict"),
        "Appends of accounts: committed, fenced (another activation wrote or claimed), refused, unknown",
    ),
    Measure(
        "prop_ambiguous_appends",
        "counter",
        ("persister", "verdict"),
        "Appends whose COMMIT was not confirmed, by what the locked head proved",
    ),
    Measure("prop_commit_overloaded", "counter", ("persister",), "Calls refused because the queue was full"),
    Measure("prop_commit_unavailable", "counter", ("persister",), "Attempts that found Postgres away"),
    Measure("prop_commit_locked", "counter", ("persister",), "Appends given up because somebody kept a head locked"),
    Measure("prop_commit_queue_events", "gauge", ("persister",), "Events without a verdict"),
    Measure("prop_commit_queue_bytes", "gauge", ("persister",), "What they weigh"),
    Measure("prop_commit_queue_seconds", "gauge", ("persister",), "How long the oldest of them has waited"),
    # ---- supervision
    Measure("prop_supervisor_heartbeat_seconds", "gauge", (), "Age of the supervisor's heartbeat, by Postgres' clock"),
    Measure("prop_recovered", "gauge", (), "1 once every account that trades was brought back after a start"),
    Measure("prop_recovery_backlog_accounts", "gauge", (), "Accounts that should live in an actor and do not yet"),
    Measure("prop_quarantined_accounts", "gauge", (), "Accounts that take no writes, for they break again and again"),
    Measure("prop_nodes", "gauge", (), "Live nodes of the Ray cluster"),
    Measure("prop_hosts_max", "gauge", (), "Account actors that the cluster has room for"),
    Measure("prop_hosts_silent", "gauge", (), "Account actors that give no sign of life"),
    Measure("prop_hosts_coming", "gauge", (), "Account actors in the making"),
    Measure("prop_hosts_lost", "counter", (), "Account actors that died or stayed silent"),
    # ---- prices and marking
    Measure("prop_quotes", "gauge", (), "Symbols with a quote"),
    Measure("prop_quotes_read_seconds", "gauge", (), "Since the price table could last be read"),
    Measure("prop_quote_age_seconds", "gauge", ("symbol",), "Age of the quote in use, of 200 symbols at most"),
    Measure("prop_marking_pass_seconds", "histogram", (), "Duration of marking passes"),
    Measure("prop_marking_lag_seconds", "gauge", (), "Since the prices of the last finished pass were read"),
    Measure("prop_marking_cadence_seconds", "gauge", (), "Between passes, as set; 0 is off"),
    Measure("prop_marking_last_accounts", "gauge", ("outcome",), "Accounts in the last pass"),
    # ---- storage
    Measure("prop_accounts", "gauge", ("status",), "Accounts there are, by status"),
    Measure("prop_postgres_connections", "gauge", (), "Connections to our database"),
    Measure("prop_postgres_connections_max", "gauge", (), "Connections that the server allows"),
    Measure("prop_postgres_database_bytes", "gauge", (), "Size of our database"),
    Measure("prop_postgres_transaction_seconds", "gauge", (), "Age of the oldest transaction that is open"),
)

MEASURES: Final[Mapping[str, Measure]] = {each.name: each for each in (*HTTP, GATEWAYS, *ENGINE)}
