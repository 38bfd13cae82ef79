"""RuntimeConfig: everything an actor needs to start, small enough to travel with its creation."""

from typing import Final, Literal

import msgspec

from actors.limits import ClientLimits, HostLimits, PersisterLimits, SupervisorLimits

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
    host: HostLimits = HostLimits()
    supervisor: SupervisorLimits = SupervisorLimits()
    persister: PersisterLimits = PersisterLimits()
    client: ClientLimits = ClientLimits()
    log_level: str = "info"
    log_format: str = "json"


_ENCODER: Final = msgspec.msgpack.Encoder()
_DECODER: Final = msgspec.msgpack.Decoder(RuntimeConfig)


def packed_config(config: RuntimeConfig) -> bytes:
    return _ENCODER.encode(config)


def config_of(data: bytes) -> RuntimeConfig:
    return _DECODER.decode(data)
