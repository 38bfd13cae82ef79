"""Serving: one route as an aiohttp handler: its scope, query and body checked, its answer made bytes."""

from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from typing import Any, Final

from aiohttp import hdrs, web

from engine.canonical import plain
from gateway import wire
from gateway.auth import authenticate, authorize
from gateway.calls import Answer, Call, Services
from gateway.json_body import read_object
from gateway.problems import Fault, InvalidRequest
from gateway.routes import Route
from gateway.streaming import LAST_EVENT_ID, Feed, asks_for_events, streamed
from gateway.validation import ECHOED, Wire, validated
from persistence.tokens import TokenRow

REQUEST_ID: Final = web.RequestKey("request_id", str)
PLACES: Final = web.RequestKey("places", ExitStack)
"""What the request holds of admission; a stream gives it back."""
TOKEN: Final = web.RequestKey("token", TokenRow)

Served = Callable[[web.Request], Awaitable[web.StreamResponse]]


def serving(route: Route, services: Services) -> Served:
    """The aiohttp handler of one route."""
    no_query = route.query.model_validate({}) if not _required(route.query) else None

    async def serve(request: web.Request) -> web.StreamResponse:
        if route.scope is not None:
            authorize(request[TOKEN], route.scope)
        asked = no_query if no_query is not None and not request.query_string else _query(request, route.query)
        said = None if route.body is None else await _body(request, route, route.body, services)
        call: Call[Any, Any] = Call(
            services=services,
            request_id=request[REQUEST_ID],
            token_name=request[TOKEN].name if route.scope is not None else "",
            path=request.match_info,
            query=asked,
            body=said,
            last_event_id=request.headers.get(LAST_EVENT_ID),
        )
        if route.feed is not None and asks_for_events(request):
            return await _streamed(request, await route.feed(call), services)
        return _response(request, await route.handler(call))

    return serve


async def _streamed(request: web.Request, feed: Feed[Any], services: Services) -> web.StreamResponse:
    with services.admission.stream_of(request[TOKEN].id):
        request[PLACES].close()
        return await streamed(
            request,
            feed,
            tail=services.tail,
            limits=services.parts.limits.streams,
            admission=services.admission,
            recheck=lambda: authenticate(request, services.ring),
        )


def _required(model: type[Wire]) -> bool:
    return any(field.is_required() for field in model.model_fields.values())


def _query(request: web.Request, model: type[Wire]) -> Wire:
    given: dict[str, str] = {}
    for name, value in request.query.items():
        if name in given:
            pointer = f"/query/{name}" if ECHOED.fullmatch(name) else "/query"
            raise InvalidRequest([Fault(pointer, "duplicate_field", "is given twice")])
        given[name] = value
    return validated(model, given, under="/query")


async def _body(request: web.Request, route: Route, model: type[Wire], services: Services) -> Wire:
    limits = services.parts.limits
    found = await read_object(request, limits.body, optional=route.body_optional)
    return validated(model, found, actions_max=limits.actions_per_batch_max)


def _response(request: web.Request, answer: Answer) -> web.Response:
    headers = dict(answer.headers)
    if answer.seq is not None:
        tag = headers[hdrs.ETAG] = wire.etag(answer.seq)
        headers[hdrs.CACHE_CONTROL] = "private, no-cache"
        if wire.is_current(request.headers.get(hdrs.IF_NONE_MATCH), tag):
            return web.Response(status=304, headers=headers)
    headers[hdrs.CONTENT_TYPE] = answer.media_type
    body = answer.body if isinstance(answer.body, bytes) else _encoded(answer)
    return web.Response(body=body, status=answer.status, headers=headers)


def _encoded(answer: Answer) -> bytes:
    if not answer.dry_run:
        return wire.encoded(answer.body)
    return wire.encoded({**plain(answer.body), "dryRun": True})
