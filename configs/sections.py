"""The sections of the settings: each setting's type, bounds, unit and reason. Values live in ``default.toml``.

The unit is last in the name: ``_ms`` milliseconds, ``_bytes`` bytes, ``_max`` an inclusive limit.
"""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

AtLeastOne = Annotated[int, Field(ge=1)]
OrOff = Annotated[int, Field(ge=0)]
Port = Annotated[int, Field(ge=0, le=65_535)]


class Section(BaseModel):
    """A named group of settings."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class DatabaseSettings(Section):
    """Where the ledger lives."""

    url: Annotated[str, Field(pattern=r"^postgres(ql)?://")] | None = None
    """``postgresql://user:password@host:port/name``; None starts the bundled PostgreSQL in the data folder."""
    pool_size_max: AtLeastOne
    """Connections per process. Processes x this must stay below the server's ``max_connections``."""
    connect_timeout_ms: AtLeastOne
    """How long a new connection may take before Postgres counts as away."""
    statement_timeout_ms: AtLeastOne
    """A statement running longer is ended by the server, so that nothing waits for ever on a sick disk."""
    lock_timeout_ms: AtLeastOne
    """A statement waiting longer for a lock is ended. Whoever keeps the head row of an account longer is no commit of
    ours: the others go on without that account."""


class RaySettings(Section):
    """Which Ray cluster hosts the actors."""

    address: str | None = None
    """Address of a running cluster, or ``auto``; None starts a local one and stops it at the end."""
    namespace: str
    """Actors are named within it; deployments that share a cluster need one each."""


class GatewaySettings(Section):
    """The HTTP door. Every excess has a defined answer: 413, 429, 503, or the connection is closed."""

    host: str
    """Interface to listen on. Loopback by default: TLS and exposure belong to an ingress."""
    port: Port
    """TCP port; 0 takes a free one."""
    processes: AtLeastOne
    """Gateway processes on the port, for when one is out of its core; the kernel spreads connections over them. Each
    counts its own: requests in flight, rates, connections and streams are limits of one process, and so are twice
    ``database.pool_size_max`` connections."""
    in_flight_max: AtLeastOne
    """Requests being served at once; beyond it 503, so that memory stays flat."""
    in_flight_per_token_max: AtLeastOne
    """The same per token (429), so that one caller cannot starve the others."""
    rate_per_token: AtLeastOne
    """Requests a second that one token may keep up at one gateway; beyond it 429. By default more than a gateway
    serves: lower it for callers that share a gateway with others who matter more."""
    rate_burst_per_token: AtLeastOne
    """Requests one token may make at once after a rest."""
    body_bytes_max: AtLeastOne
    """Request body; beyond it 413."""
    json_depth_max: AtLeastOne
    """Nesting of JSON values; deeper bodies exhaust a parser's stack."""
    json_values_max: AtLeastOne
    """JSON values in one body; a megabyte of tiny ones takes a second to parse, in which nobody else is served."""
    actions_per_batch_max: AtLeastOne
    """Decision actions in one request; a batch is one append and one transaction."""
    header_timeout_ms: AtLeastOne
    """Time for the request head to arrive, against slow senders."""
    body_timeout_ms: AtLeastOne
    """Time for the request body to arrive, against slow senders."""
    idle_timeout_ms: AtLeastOne
    """Keep-alive of an idle connection, and patience with a reader that takes nothing of its answer; longer than the
    usual 60 s of a load balancer, which should close first."""
    connections_max: AtLeastOne
    """Open connections; further ones are closed at once."""
    farewell_ms: OrOff
    """After the signal to stop: how long ``/readyz`` says 503 while all is still served, so that a load balancer sends
    elsewhere first. It comes before ``shutdown_timeout_ms``. 0: nothing stands before the gateway."""
    deadline_ms: AtLeastOne
    """From admission to answer. Past it 503 ``outcome_unknown``: safe to send again, keys dedupe."""
    streams_max: AtLeastOne
    """Open event streams; beyond it 503, since each may hold ``stream_buffer_bytes_max``."""
    streams_per_token_max: AtLeastOne
    """The same per token (429)."""
    stream_heartbeat_ms: AtLeastOne
    """Between comments on a quiet stream, so that nothing on the way takes it for dead."""
    stream_poll_ms: AtLeastOne
    """Between looks at the ledger while anybody follows it: about the latency of a stream."""
    stream_buffer_bytes_max: AtLeastOne
    """Events waiting for one reader; a slower one is told ``resync`` and has to connect again."""
    stream_stall_ms: AtLeastOne
    """How long a reader may take nothing at all before the connection is cut."""


class ActorSettings(Section):
    """Account actors: how many, and what each may hold."""

    max_account_actors: AtLeastOne | None = None
    """Account actors in the whole cluster; past it accounts share. None: ``account_actors_per_cpu`` x CPUs."""
    account_actors_per_cpu: AtLeastOne
    """Used where ``max_account_actors`` is None. A Ray actor is a process of about 50 MB."""
    queued_batches_per_account_max: AtLeastOne
    """Batches waiting for one account; beyond it 429, since an account is serial."""
    cold_activations_max: AtLeastOne | None = None
    """Accounts being recovered at once, so that a cold start does not drown Postgres. None: 2 x CPUs."""
    read_lease_ms: AtLeastOne
    """How long after its epoch was last confirmed an activation may serve reads."""
    call_deadline_ms: AtLeastOne
    """Every Ray call is given up after this long: a stopped actor raises nothing by itself."""
    direct_lines: bool
    """Requests and appends go to account actors and persisters over connections of their own; false: as calls of Ray's,
    which cost several times as much, where only Ray's ports are open between the nodes."""
    receipts_in_memory_max: OrOff
    """Outcomes of recent action keys kept per account; older keys are looked up in Postgres."""

    def account_actors_max(self, cpus: int) -> int:
        """Account actors allowed on a cluster of this many CPUs, before memory is looked at."""
        return self.max_account_actors or self.account_actors_per_cpu * max(1, cpus)

    def activations_max(self, cpus: int) -> int:
        """Cold activations allowed at once on this many CPUs."""
        return self.cold_activations_max or 2 * max(1, cpus)


class PersisterSettings(Section):
    """Group commit: where it runs, and what it may hold."""

    placement: Literal["shared", "local"]
    """``shared``: persister actors serve many small account actors; ``local``: one inside each, a hop less."""
    shared_actors: AtLeastOne
    """Persister actors where placement is ``shared``; accounts are spread over them."""
    queue_events_max: AtLeastOne
    """Events waiting for commit; past it admission closes (503 ``overloaded``)."""
    queue_bytes_max: AtLeastOne
    """The same in bytes of encoded events; whichever is reached first."""
    commit_events_max: AtLeastOne
    """Events in one transaction: beyond some thousands a larger one is no faster, only later."""


class MarkingSettings(Section):
    """Valuing open positions at current quotes."""

    cadence_ms: OrOff
    """Between marking passes; 0 is off, and only ``prop mark-to-market`` marks."""
    mark_ledger: Literal["every", "on_change"]
    """``every``: a ``mark_to_market`` event of each account with positions at each pass; ``on_change``: none where no
    price that values the account has changed since its last mark, so that quiet markets do not fill the ledger. Then
    ``markedAt`` says since when the price stands, and standings use the newest pass that wrote a mark of everybody."""


class QuoteSettings(Section):
    """Reading prices that Data Ingestion wrote."""

    poll_interval_ms: AtLeastOne
    """Between looks at the price table; bounds how stale a fresh quote can be."""
    query: str | None = None
    """SQL giving ``symbol, bid, ask, mid, source, observed_at`` from another schema; None reads ``market_prices``."""


class RecoverySettings(Section):
    """Getting accounts back after a restart."""

    snapshot_every_events: AtLeastOne
    """Events of an account between its snapshots: the longest tail a recovery replays. Snapshots are only a cache."""


class SupervisorSettings(Section):
    """The actor that places and watches the others."""

    heartbeat_ms: AtLeastOne
    """Between heartbeats, and between looks at what died."""
    silence_ms: AtLeastOne
    """An account actor that has missed a sign of life (3 s) is replaced when it gives none for so much longer: too
    short, and a pause costs all its accounts a recovery; too long, and nobody marks those that no client asks for.
    Clients do not wait for it: who asks for an account of a silent actor finds it on another."""
    patience_ms: AtLeastOne
    """How long an account that needs a place waits for an actor that is being started, where it can share another."""


class LogSettings(Section):
    """What is written to stderr."""

    level: Literal["debug", "info", "warning", "error"]
    """Least severity written."""
    format: Literal["auto", "json", "console"]
    """``json`` for machines, one line an event; ``console`` for people; ``auto`` is ``console`` on a terminal, else
    ``json``."""
