"""Door: what every request goes through, from its head to its answer.

It gets an id, finds its route, and turns whatever goes wrong into a problem; it is counted and has its one access line.
Everything under `/api/` stands behind admission and a token, both decided before the body is read and before anything
is said of what is there. Nothing secret is logged: no header, no query string, no body.
"""

import random
import re
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final

import structlog
from aiohttp import hdrs, web

from engine.ids import uuid7
from gateway.auth import authenticate
from gateway.calls import Services
from gateway.metrics import HttpMetrics
from gateway.paths import Found, Paths
from gateway.problems import MEDIA_TYPE, Problem
from gateway.responses import REQUEST_ID_HEADER, Whole
from gateway.routes import Route
from gateway.serving import Asked, Served, serving
from persistence.recovery import LedgerBroken
from persistence.store import StoreUnavailable

PATH_CHARACTERS_LOGGED: Final = 256
METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT"})
"""Other words a client may use as a method share one label, so that metrics stay bounded."""
UNMATCHED: Final = "unmatched"
_REQUEST_ID: Final = re.compile(r"[A-Za-z0-9_.:-]{1,128}")

log = structlog.get_logger("gateway")


class Door:
    """`answer` is the handler of the server."""

    def __init__(self, routes: Sequence[Route], services: Services, metrics: HttpMetrics) -> None:
        self._services = services
        self._metrics = metrics
        self._paths: Paths[Served] = Paths()
        for route in routes:
            served = serving(route, services)
            for method in ("GET", "HEAD") if route.method == "GET" else (route.method,):
                self._paths.add(method, route.path, served)

    async def answer(self, request: web.BaseRequest) -> web.StreamResponse:
        """Never raises but for a defect in what stands here, and where the reader is gone."""
        started = time.perf_counter()
        found = self._paths.find(request.rel_url.path_safe)
        served = None if found is None else found.by_method.get(request.method)
        asked = Asked(request, _request_id(request), {} if found is None else found.variables)
        code: str | None = None
        response: web.StreamResponse
        try:
            if request.path.startswith("/api/"):
                response = await self._guarded(asked, found, served)
            else:
                response = await (served or _nothing_at(found))(asked)
        except Exception as error:
            problem = as_problem(error, asked.request_id)
            code = problem.code
            response = _refusing(asked, problem)
        if self._services.admission.leaving:
            response.force_close()
        template = UNMATCHED if found is None or served is None else found.template
        self._account_for(asked, template, response.status, code, time.perf_counter() - started)
        return response

    async def _guarded(self, asked: Asked, found: Found[Served] | None, served: Served | None) -> web.StreamResponse:
        place = asked.place = self._services.admission.place()
        try:
            asked.token = await authenticate(asked.request, self._services.ring)
            place.of(asked.token.id)
            return await (served or _nothing_at(found))(asked)
        finally:
            place.give_back()

    def _account_for(self, asked: Asked, template: str, status: int, code: str | None, seconds: float) -> None:
        method = asked.request.method if asked.request.method in METHODS else "other"
        self._metrics.answered(method, template, status, seconds)
        log.info(
            "request",
            request_id=asked.request_id,
            method=method,
            route=template,
            path=asked.request.path[:PATH_CHARACTERS_LOGGED],
            status=status,
            code=code,
            duration_ms=round(seconds * 1000, 2),
            caller=asked.token.name if asked.token is not None else None,
            **asked.notes,
        )


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
        case web.HTTPException() if 400 <= error.status < 500:
            return Problem("bad_request")
        case _:
            log.error("unexpected_error", request_id=request_id, exc_info=error)
            return Problem("internal_error")


def _nothing_at(found: Found[Served] | None) -> Served:
    async def refuse(_: Asked) -> web.StreamResponse:
        if found is None:
            raise Problem("not_found")
        allowed = ", ".join(sorted(found.by_method))
        raise Problem("method_not_allowed", f"takes {allowed}", headers={hdrs.ALLOW: allowed})

    return refuse


def _request_id(request: web.BaseRequest) -> str:
    given = request.headers.get(REQUEST_ID_HEADER)
    return given if given is not None and _REQUEST_ID.fullmatch(given) else new_request_id()


def new_request_id() -> str:
    """For a request that brings none. It tells requests apart and keeps no secret: its chance need not be the
    system's, which would be asked anew for each."""
    return uuid7(datetime.now(UTC), random.randbytes(10))  # noqa: S311 - as said


def _refusing(asked: Asked, problem: Problem) -> Whole:
    instance = asked.request.rel_url.raw_path[:PATH_CHARACTERS_LOGGED]
    response = Whole(
        request_id=asked.request_id,
        status=problem.kind.status,
        media_type=MEDIA_TYPE,
        body=problem.body(instance=instance, request_id=asked.request_id),
        headers=problem.all_headers(),
    )
    if not asked.request.content.is_eof():
        response.force_close()  # the rest of the body is not worth reading
    return response
