"""Serving: one route as a function of what was asked: its scope, query and body checked, its answer made bytes."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from aiohttp import hdrs, web

from engine.canonical import plain
from gateway import wire
from gateway.admission import Place
from gateway.auth import authenticate, authorize
from gateway.calls import UUID, Answer, Call, Services
from gateway.json_body import read_object
from gateway.problems import Fault, InvalidRequest
from gateway.responses import Whole
from gateway.routes import Route
from gateway.streaming import LAST_EVENT_ID, Feed, asks_for_events, streamed
from gateway.validation import ECHOED, Wire, validated
from persistence.tokens import TokenRow


class Asked:
    """A request on its way: under which id, with which variables in its path; once it was let in, whose it is and what
    it holds of admission. `notes` are what its log line is to say beside."""

    __slots__ = ("notes", "path", "place", "request", "request_id", "token")

    def __init__(self, request: web.BaseRequest, request_id: str, path: Mapping[str, str]) -> None:
        self.request = request
        self.request_id = request_id
        self.path = path
        self.token: TokenRow | None = None
        self.place: Place | None = None
        self.notes: dict[str, Any] = {}

    @property
    def caller(self) -> TokenRow:
        """Raises `RuntimeError` where nobody was asked for a token."""
        if self.token is None:
            raise RuntimeError("a route with a scope stands outside of /api/")
        return self.token


Served = Callable[[Asked], Awaitable[web.StreamResponse]]


def serving(route: Route, services: Services) -> Served:
    """The handler of one route."""
    no_query = route.query.model_validate({}) if not _required(route.query) else None

    async def serve(asked: Asked) -> web.StreamResponse:
        request = asked.request
        for name, value in asked.path.items():
            if UUID.fullmatch(value) is not None:  # the line of a request that is refused names them, too
                asked.notes[name] = value.lower()
        if route.scope is not None:
            authorize(asked.caller, route.scope)
        query = no_query if no_query is not None and not request.query_string else _query(request, route.query)
        said = None if route.body is None else await _body(request, route, route.body, services)
        call: Call[Any, Any] = Call(
            services=services,
            request_id=asked.request_id,
            token_name=asked.caller.name if route.scope is not None else "",
            path=asked.path,
            query=query,
            body=said,
            notes=asked.notes,
            last_event_id=request.headers.get(LAST_EVENT_ID) if route.feed is not None else None,
        )
        if route.feed is not None and asks_for_events(request):
            return await _streamed(asked, await route.feed(call), services)
        return _response(asked, await route.handler(call))

    return serve


async def _streamed(asked: Asked, feed: Feed[Any], services: Services) -> web.StreamResponse:
    with services.admission.stream_of(asked.caller.id):
        if asked.place is not None:
            asked.place.give_back()
        return await streamed(
            asked.request,
            feed,
            request_id=asked.request_id,
            tail=services.tail,
            limits=services.parts.limits.streams,
            admission=services.admission,
            recheck=lambda: authenticate(asked.request, services.ring),
        )


def _required(model: type[Wire]) -> bool:
    return any(field.is_required() for field in model.model_fields.values())


def _query(request: web.BaseRequest, model: type[Wire]) -> Wire:
    given: dict[str, str] = {}
    for name, value in request.query.items():
        if name in given:
            pointer = f"/query/{name}" if ECHOED.fullmatch(name) else "/query"
            raise InvalidRequest([Fault(pointer, "duplicate_field", "is given twice")])
        given[name] = value
    return validated(model, given, under="/query")


async def _body(request: web.BaseRequest, route: Route, model: type[Wire], services: Services) -> Wire:
    limits = services.parts.limits
    found = await read_object(request, limits.body, optional=route.body_optional)
    return validated(model, found, actions_max=limits.actions_per_batch_max)


def _response(asked: Asked, answer: Answer) -> Whole:
    headers = answer.headers
    if answer.seq is not None:
        tag = wire.etag(answer.seq)
        headers = {**headers, hdrs.ETAG: tag, hdrs.CACHE_CONTROL: "private, no-cache"}
        if wire.is_current(asked.request.headers.get(hdrs.IF_NONE_MATCH), tag):
            return Whole(request_id=asked.request_id, status=304, media_type=None, body=b"", headers=headers)
    body = answer.body if isinstance(answer.body, bytes) else _encoded(answer)
    return Whole(
        request_id=asked.request_id, status=answer.status, media_type=answer.media_type, body=body, headers=headers
    )


def _encoded(answer: Answer) -> bytes:
    if not answer.dry_run:
        return wire.encoded(answer.body)
    return wire.encoded({**plain(answer.body), "dryRun": True})
