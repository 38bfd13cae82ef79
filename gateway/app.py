"""The app: parts put together into an aiohttp application. Owns the order of the middleware and nothing else."""

from collections.abc import AsyncIterator
from typing import Final

from aiohttp import web

from gateway.admission import Admission
from gateway.auth import TokenRing
from gateway.calls import Services
from gateway.cursors import Cursors
from gateway.docs import page
from gateway.exposition import Exposition
from gateway.metrics import HttpMetrics
from gateway.middleware import guarded, observed, stamp
from gateway.openapi import document, encoded
from gateway.parts import GatewayParts
from gateway.readiness import ReadinessProbe
from gateway.routes import ROUTES
from gateway.serving import serving
from gateway.tail import Tail

ADMISSION: Final = web.AppKey("admission", Admission)
"""For the server: what is in flight, and the switch that stops new work."""

TAIL: Final = web.AppKey("tail", Tail)
"""For the server: what streams hang on."""


def build_app(parts: GatewayParts) -> web.Application:
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
    exposition = Exposition(parts.registry, parts.beside)
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
    app = web.Application(middlewares=(observed(metrics), guarded(admission, ring)))
    app[ADMISSION], app[TAIL] = admission, tail
    app.cleanup_ctx.append(lambda _: _running(tail))
    app.cleanup_ctx.append(lambda _: _shown(exposition))
    app.on_response_prepare.append(stamp)
    for route in ROUTES:
        served = serving(route, services)
        methods = ("GET", "HEAD") if route.method == "GET" else (route.method,)
        for method in methods:
            app.router.add_route(method, route.path, served, expect_handler=_expected)
    return app


async def _running(tail: Tail) -> AsyncIterator[None]:
    async with tail.running():
        yield


async def _shown(exposition: Exposition) -> AsyncIterator[None]:
    async with exposition.shown():
        yield


async def _expected(request: web.Request) -> None:
    """`Expect: 100-continue` is answered when the body is wanted (`json_body`), not before admission."""
