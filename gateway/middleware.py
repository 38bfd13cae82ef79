"""Middleware: what every request goes through, outermost first.

`observed` gives it an id, turns whatever goes wrong into a problem, counts it and writes its one access line.
`guarded` keeps everything under `/api/` behind admission and a token; both are decided before the body is read.
Nothing secret is logged: no header, no query string, no body.
"""

import os
import re
import time
from contextlib import ExitStack
from datetime import UTC, datetime
from typing import Final

import structlog
from aiohttp import hdrs, web
from aiohttp.typedefs import Middleware

from engine.ids import uuid7
from gateway.admission import Admission
from gateway.auth import TokenRing, authenticate
from gateway.metrics import HttpMetrics
from gateway.problems import MEDIA_TYPE, Problem
from gateway.serving import PLACES, REQUEST_ID, TOKEN, Served
from persistence.recovery import LedgerBroken
from persistence.store import StoreUnavailable

REQUEST_ID_HEADER: Final = "X-Request-Id"
PATH_CHARACTERS_LOGGED: Final = 256
METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT"})
"""Other words a client may use as a method share one label, so that metrics stay bounded."""
SECURITY_HEADERS: Final = {
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    hdrs.CACHE_CONTROL: "no-store",
}
SERVER_NAME: Final = "prop"
"""Instead of the names and versions of what it is made of."""
_REQUEST_ID: Final = re.compile(r"[A-Za-z0-9_.:-]{1,128}")

log = structlog.get_logger("gateway")


def observed(metrics: HttpMetrics) -> Middleware:
    """Request id, problem mapping, metrics and the access line."""

    @web.middleware
    async def middleware(request: web.Request, handler: Served) -> web.StreamResponse:
        started = time.perf_counter()
        request_id = request[REQUEST_ID] = _request_id(request)
        code: str | None = None
        try:
            response = await handler(request)
        except Exception as error:
            problem = as_problem(error, request_id)
            code = problem.code
            response = _refusing(request, problem)
        seconds = time.perf_counter() - started
        _account_for(request, response.status, code, seconds, metrics)
        return response

    return middleware


def guarded(admission: Admission, ring: TokenRing) -> Middleware:
    """Admission and authentication of `/api/`."""

    @web.middleware
    async def middleware(request: web.Request, handler: Served) -> web.StreamResponse:
        if not request.path.startswith("/api/"):
            return await handler(request)
        with ExitStack() as places:
            places.enter_context(admission.place())
            token = request[TOKEN] = await authenticate(request, ring)
            places.enter_context(admission.place_of(token.id))
            request[PLACES] = places
            return await handler(request)

    return middleware


async def stamp(request: web.Request, response: web.StreamResponse) -> None:
    """On every response, also a streamed one, before its head is sent."""
    for name, value in SECURITY_HEADERS.items():
        response.headers.setdefault(name, value)
    response.headers[hdrs.SERVER] = SERVER_NAME
    if REQUEST_ID in request:
        response.headers[REQUEST_ID_HEADER] = request[REQUEST_ID]


def as_problem(error: Exception, request_id: str) -> Problem:
    """The problem that an exception is. What nobody foresaw is logged here, once, and told to the client as nothing."""
    match error:
        case Problem():
            return error
        case StoreUnavailable():
            log.warning("storage_unavailable", request_id=request_id, detail=str(error))
            return Problem("storage_unavailable")
        case LedgerBroken():
            log.error("ledger_broken", request_id=request_id, detail=str(error))
            return Problem("account_quarantined")
        case web.HTTPMethodNotAllowed():
            allowed = ", ".join(sorted(error.allowed_methods))
            return Problem("method_not_allowed", f"takes {allowed}", headers={hdrs.ALLOW: allowed})
        case web.HTTPNotFound():
            return Problem("not_found")
        case web.HTTPRequestEntityTooLarge():
            return Problem("body_too_large")
        case web.HTTPException() if 400 <= error.status < 500:
            return Problem("bad_request")
        case _:
            log.error("unexpected_error", request_id=request_id, exc_info=error)
            return Problem("internal_error")


def _request_id(request: web.Request) -> str:
    given = request.headers.get(REQUEST_ID_HEADER, "")
    return given if _REQUEST_ID.fullmatch(given) else uuid7(datetime.now(UTC), os.urandom(10))


def _refusing(request: web.Request, problem: Problem) -> web.Response:
    body = problem.body(instance=request.rel_url.raw_path[:PATH_CHARACTERS_LOGGED], request_id=request[REQUEST_ID])
    response = web.Response(
        body=body, status=problem.kind.status, headers=problem.all_headers(), content_type=MEDIA_TYPE
    )
    if not request.content.is_eof():
        response.force_close()  # the rest of the body is not worth reading
    return response


def _account_for(request: web.Request, status: int, code: str | None, seconds: float, metrics: HttpMetrics) -> None:
    resource = request.match_info.route.resource
    route = "unmatched" if resource is None else resource.canonical
    method = request.method if request.method in METHODS else "other"
    metrics.answered(method, route, status, seconds)
    log.info(
        "request",
        request_id=request[REQUEST_ID],
        method=method,
        route=route,
        path=request.path[:PATH_CHARACTERS_LOGGED],
        status=status,
        code=code,
        ms=round(seconds * 1000, 2),
        caller=request[TOKEN].name if TOKEN in request else None,
    )
