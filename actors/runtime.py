"""RuntimeConfig: everything an actor needs to start, small enough to travel with its creation."""

from contextlib import AbstractAsyncContextManager
from typing import Final, Literal

import msgspec

from actors.limits import ClientLimits, DatabaseLimits, HostLimits, PersisterLimits, SupervisorLimits
from persistence.postgres_store import PostgresStore

PersisterPlacement = Literal["shared", "local"]


class RuntimeConfig(msgspec.Struct, frozen=True, kw_only=True):
    """Made by `gateway.bootstrap` from the settings. `quotes_query` None reads `market_prices`.
    `account_actors_per_cpu` None: there are `supervisor.account_actors_max`, whatever the cluster has room for."""

    database_url: str
    namespace: str = "prop"
    quotes_query: str | None = None
    persister_placement: PersisterPlacement = "shared"
    persister_actors: int = 1
    account_actors_per_cpu: int | None = None
    direct_lines: bool = True
    database: DatabaseLimits = DatabaseLimits()
    host: HostLimits = HostLimits()
    supervisor: SupervisorLimits = SupervisorLimits()
    persister: PersisterLimits = PersisterLimits()
    client: ClientLimits = ClientLimits()
    log_level: str = "info"
    log_format: str = "json"


_ENCODER: Final = msgspec.msgpack.Encoder()
_DECODER: Final = msgspec.msgpack.Decoder(RuntimeConfig)


def connected(
    config: RuntimeConfig, *, connections_max: int, application_name: str
) -> AbstractAsyncContextManager[PostgresStore]:
    """A store of this runtime's database, for one process."""
    limits = config.database
    return PostgresStore.connect(
        config.database_url,
        pool_size_max=connections_max,
        application_name=application_name,
        connect_timeout_ms=limits.connect_timeout_ms,
        statement_timeout_ms=limits.statement_timeout_ms,
        lock_timeout_ms=limits.lock_timeout_ms,
    )


def packed_config(config: RuntimeConfig) -> bytes:
    return _ENCODER.encode(config)


def config_of(data: bytes) -> RuntimeConfig:
    return _DECODER.decode(data)
