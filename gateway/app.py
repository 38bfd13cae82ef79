"""The app: parts put together into what a server serves."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import NamedTuple

from aiohttp import web

from gateway.admission import Admission
from gateway.auth import TokenRing
from gateway.calls import Services
from gateway.cursors import Cursors
from gateway.docs import page
from gateway.door import Door
from gateway.exposition import Exposition
from gateway.measuring import Measuring
from gateway.metrics import HttpMetrics
from gateway.openapi import document, encoded
from gateway.parts import GatewayParts
from gateway.readiness import ReadinessProbe
from gateway.routes import ROUTES
from gateway.tail import Tail


class App(NamedTuple):
    """`answer` takes each request. The server reads from `admission` what is in flight, and there it stops new work;
    streams hang on `tail`, and `exposition` is there for gateways beside this one: both live as long as the server."""

    answer: Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]
    admission: Admission
    tail: Tail
    exposition: Exposition

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        async with self.tail.running(), self.exposition.shown():
            yield


def build_app(parts: GatewayParts) -> App:
    """The gateway as an application. It starts nothing and closes nothing: the parts belong to the caller."""
    metrics = HttpMetrics(parts.registry)
    admission = Admission(
        metrics,
        in_flight_max=parts.limits.in_flight_max,
        in_flight_per_token_max=parts.limits.in_flight_per_token_max,
        streams_max=parts.limits.streams.streams_max,
        streams_per_token_max=parts.limits.streams.streams_per_token_max,
        rate=parts.limits.rate_per_token,
    )
    streams = parts.limits.streams
    tail = Tail(parts.events, poll_ms=streams.poll_ms, buffer_bytes_max=streams.buffer_bytes_max)
    ring = TokenRing(parts.tokens, clock=parts.clock)
    measured = None if parts.measured is None else Measuring(parts.measured)
    exposition = Exposition(parts.registry, parts.beside, measured)
    described = document(ROUTES, version=parts.version)
    services = Services(
        parts=parts,
        cursors=Cursors(parts.secret),
        readiness=ReadinessProbe(parts.client, parts.checks, admission),
        openapi=encoded(described),
        docs=page(described),
        tail=tail,
        admission=admission,
        ring=ring,
        exposition=exposition,
    )
    return App(Door(ROUTES, services, metrics).answer, admission, tail, exposition)
