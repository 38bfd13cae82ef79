"""Named limits and cadences of the runtime, as plain values: `gateway.bootstrap` fills them from the settings."""

from typing import Literal

import msgspec

MarkLedger = Literal["every", "on_change"]


class HostLimits(msgspec.Struct, frozen=True, kw_only=True):
    """Of one account host. `mark_ledger`: its passes write every mark, or only those that bring a change. After
    `marks_per_turn` a pass lets others go on: a commit takes a turn for each word with Postgres, a request one."""

    queued_batches_per_account_max: int = 64
    receipts_in_memory_max: int = 256
    read_lease_ms: int = 5_000
    snapshot_every_events: int = 500
    idle_ms: int = 5_000
    marks_per_turn: int = 20
    mark_ledger: MarkLedger = "every"
    hand_over_ms: int = 2_000
    append_events_max: int = 2_000
    append_bytes_max: int = 4 * 1024 * 1024

    @property
    def marks_undurable_max(self) -> int:
        """Of one pass: what is being committed, and as much again decided meanwhile."""
        return 2 * self.append_events_max


class SupervisorLimits(msgspec.Struct, frozen=True, kw_only=True):
    """Of the supervisor. `marking_cadence_ms` 0 means that passes run only when asked for; `cold_activations_max` also
    bounds how many hosts are made at once, `moves_max` how many accounts a round of balancing moves. A node that lost
    a host in silence gets no new one for `suspicion_ms`: Ray's own health check takes up to that long. A host that has
    missed a pulse is ended when it gives no sign of life for `silence_ms` more; nobody waits for it meanwhile, nor
    for a host in the making, for longer than `patience_ms`: a client's deadline has room for that and a lost call."""

    account_actors_max: int = 16
    spare_hosts: int = 1
    cold_activations_max: int = 4
    cold_waiting_max: int = 200
    activation_chunk: int = 2_000
    balance_ms: int = 1_000
    moves_max: int = 50
    suspicion_ms: int = 60_000
    marking_cadence_ms: int = 5_000
    quotes_poll_ms: int = 200
    quotes_push_ms: int = 1_000
    heartbeat_ms: int = 1_000
    lease_ms: int = 5_000
    pulse_ms: int = 1_000
    pulse_deadline_ms: int = 3_000
    silence_ms: int = 5_000
    patience_ms: int = 3_000
    activation_deadline_ms: int = 60_000
    pass_deadline_ms: int = 60_000


class DatabaseLimits(msgspec.Struct, frozen=True, kw_only=True):
    """Of the connections of one process."""

    connect_timeout_ms: int = 5_000
    statement_timeout_ms: int = 30_000
    lock_timeout_ms: int = 1_000


class ClientLimits(msgspec.Struct, frozen=True, kw_only=True):
    """Of a gateway's client. A Ray argument over 100 KB takes the slow road, hence `call_bytes_max`."""

    deadline_ms: int = 10_000
    attempt_ms: int = 5_000
    calls_in_flight: int = 2
    requests_per_call_max: int = 256
    backoff_ms: int = 20


class PersisterLimits(msgspec.Struct, frozen=True, kw_only=True):
    """Of the group commit."""

    queue_events_max: int = 10_000
    queue_bytes_max: int = 16 * 1024 * 1024
    commit_events_max: int = 2_000
    append_deadline_ms: int = 40_000
