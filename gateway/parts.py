"""Parts: everything a gateway is made of, handed in by whoever starts it."""

from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from typing import Protocol

import msgspec
from prometheus_client import CollectorRegistry

from actors.messages import Wellness
from actors.port import AccountClient
from gateway.admission import IN_FLIGHT_MAX, IN_FLIGHT_PER_TOKEN_MAX
from gateway.auth import LiveTokens
from gateway.exposition import Beside
from gateway.json_body import BodyLimits
from gateway.measuring import Sources
from gateway.rates import RateLimit
from gateway.schemas import ACTIONS_MAX
from gateway.streaming import StreamLimits
from gateway.tail import Source
from persistence.performance import Performance
from persistence.queries import Queries

SECRET_BYTES_MIN = 16


def utc_now() -> datetime:
    return datetime.now(UTC)


class GatewayLimits(msgspec.Struct, frozen=True, kw_only=True):
    """Named limits of one gateway; each excess has a defined answer (413, 429, 503)."""

    in_flight_max: int = IN_FLIGHT_MAX
    in_flight_per_token_max: int = IN_FLIGHT_PER_TOKEN_MAX
    rate_per_token: RateLimit = RateLimit()
    actions_per_batch_max: int = ACTIONS_MAX
    body: BodyLimits = BodyLimits()
    streams: StreamLimits = StreamLimits()


class Events(Source, Protocol):
    """The log of all accounts (`persistence.event_log.EventLog`)."""

    async def cluster(self) -> str: ...


class GatewayParts(msgspec.Struct, frozen=True, kw_only=True):
    """What a gateway works with. `secret` signs cursors: the same for every gateway of an installation, at least 16
    bytes. `checks` are asked by `/readyz` beside the client's own; one that raises counts as not well. `beside` is its
    place among the gateways that share its port, where it does. `/metrics` tells what `measured` knows, beside HTTP."""

    client: AccountClient
    queries: Queries
    events: Events
    performance: Performance
    tokens: LiveTokens
    secret: bytes
    version: str
    limits: GatewayLimits = GatewayLimits()
    clock: Callable[[], datetime] = utc_now
    registry: CollectorRegistry = msgspec.field(default_factory=CollectorRegistry)
    checks: Sequence[Callable[[], Awaitable[Wellness]]] = ()
    beside: Beside | None = None
    measured: Sources | None = None

    def __post_init__(self) -> None:
        if len(self.secret) < SECRET_BYTES_MIN:
            raise ValueError(f"the cursor secret needs at least {SECRET_BYTES_MIN} bytes")
