"""OpenAPI 3.1, made from the route table: what can be called, by whom, and every answer to it.

Guarantee: what is published is what is served, since routing, validation and this document read the same table; a
route that is added is described, with examples, without a line here.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import msgspec

from gateway import components, examples
from gateway.components import Schema
from gateway.problems import KINDS, MEDIA_TYPE
from gateway.routes import Route
from gateway.streaming import LAST_EVENT_ID, RETRY_MS
from gateway.streaming import MEDIA_TYPE as STREAM
from gateway.wire import JSON
from persistence.queries import LedgerRow

TITLE: Final = "Prop trading account engine"
DESCRIPTION: Final = """\
Accounts for AI traders: proposed actions are judged by the account's policy, filled at the latest price, and durable
before they are answered.

**Numbers.** Money, prices and quantities are decimal strings, out with 8 decimals, in with at most 8; a JSON float is
refused. **Times** are RFC 3339 UTC. **Ids** of the engine are UUIDv7.

**Safe to repeat.** An account is opened once per `idempotencyKey`, an action judged once per account, run and action
id: the same request again has the same answer. After 503 `outcome_unknown`, or no answer at all, send the same ids
again.

**No is an answer.** An action that a gate refuses is a result with status `rejected`, not an HTTP error. HTTP errors
are RFC 9457 problems with a stable `code`.

**Limits** of requests at once and a second are counted by each gateway process, of all callers (503 `overloaded`) and
of each token (429 `rate_limited`); nothing was done, and `Retry-After` says when to come back.

**Lists** go on at `nextCursor` while `hasMore`. Every GET also takes HEAD."""
TAGS: Final[Mapping[str, str]] = {
    "accounts": "Opening, starting and ending accounts",
    "actions": "Decision actions: proposing trades",
    "events": "The ledger, to poll and to follow",
    "performance": "How accounts did, and against whom",
    "reads": "What accounts hold and did, and what they see",
    "marking": "Valuing open positions now",
    "admin": "For operators: stopping, correcting, auditing",
    "service": "The service about itself; no token needed",
}
SCOPES: Final[Mapping[str, str]] = {
    "prop:read": "reads",
    "prop:trade": "creates, starts, trades and ends accounts; implies prop:read",
    "prop:admin": "stops and corrects accounts; implies the others",
}

_VARIABLE: Final = re.compile(r"{(\w+)}")
_UUIDS_IN_PATHS: Final = frozenset({"account_id", "prop_action_id"})
_ALWAYS: Final = ("bad_request", "internal_error", "invalid_request")
_BEHIND_TOKEN: Final = (
    "unauthenticated",
    "forbidden",
    "rate_limited",
    "overloaded",
    "shutting_down",
    "storage_unavailable",
)
_WITH_BODY: Final = ("malformed_json", "request_timeout", "body_too_large", "unsupported_media_type")


def document(routes: Sequence[Route], *, version: str) -> dict[str, Any]:
    """The whole document as builtins."""
    schemas = _schemas(routes)
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        paths.setdefault(_wire_path(route.path), {})[route.method.lower()] = _operation(route, schemas)
    used = [tag for path in paths.values() for operation in path.values() for tag in operation["tags"]]
    scopes = "; ".join(f"`{scope}` {may}" for scope, may in SCOPES.items())
    return {
        "openapi": "3.1.0",
        "info": {"title": TITLE, "version": version, "description": DESCRIPTION},
        "servers": [{"url": "/"}],
        "tags": [
            {"name": tag, "description": TAGS.get(tag, "")} for tag in dict.fromkeys([*TAGS, *used]) if tag in used
        ],
        "paths": paths,
        "components": {
            "schemas": schemas,
            "headers": _HEADERS,
            "securitySchemes": {
                "token": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": f"A token has scopes, named with each operation: {scopes}.",
                }
            },
        },
    }


def _place(tag: str) -> tuple[int, str]:
    """Where a tag stands: the known ones in their order, others after them."""
    return (list(TAGS).index(tag) if tag in TAGS else len(TAGS)), tag


def encoded(described: dict[str, Any]) -> bytes:
    return msgspec.json.encode(described)


def codes_of(route: Route) -> tuple[str, ...]:
    """Every problem code this route may answer."""
    codes = [*route.errors, *_ALWAYS]
    codes += _BEHIND_TOKEN if route.scope is not None else ()
    codes += _WITH_BODY if route.body is not None else ()
    codes += ("not_found",) if "{" in route.path else ()
    return tuple(dict.fromkeys(codes))


def _header(description: str, **schema: Any) -> dict[str, Any]:
    return {"description": description, "schema": schema}


_HEADERS: Final = {
    "X-Request-Id": _header(
        "The request's id: the one it came with, else a new one. Stored with the events it caused.",
        type="string",
        pattern=components.CLIENT_ID_PATTERN,
    ),
    "Retry-After": _header("Seconds to wait before sending the same again.", type="integer", minimum=0),
    "ETag": _header("The account's seq, quoted.", type="string", pattern='^"[0-9]+"$'),
    "Location": _header("Path of the new account.", type="string", format="uri-reference"),
    "Idempotent-Replayed": _header("This answer was given before.", type="string", enum=["true"]),
    "WWW-Authenticate": _header("What is asked for, RFC 6750.", type="string"),
}


def _headers(*names: str) -> dict[str, Any]:
    return {name: {"$ref": f"#/components/headers/{name}"} for name in ("X-Request-Id", *names)}


def _operation(route: Route, schemas: Mapping[str, Schema]) -> dict[str, Any]:
    summary, _, more = route.summary.partition("\n")
    is_admin = route.path.startswith("/api/v1/admin")
    family = route.handler.__module__.rpartition(".")[2]
    operation: dict[str, Any] = {
        "operationId": f"admin.{route.name}" if is_admin and family != "admin" else route.name,
        "summary": summary,
        "tags": ["admin" if is_admin else family],
        "parameters": [*_path_parameters(route), *_query_parameters(route), *_header_parameters(route)],
        "responses": _responses(route, schemas),
    }
    if more.strip():
        operation["description"] = " ".join(more.split())
    if route.scope is not None:
        operation["security"] = [{"token": [route.scope]}]
    if route.body is not None:
        content = {"schema": components.ref(route.body), "example": examples.body(route.body.__name__, schemas)}
        operation["requestBody"] = {"required": not route.body_optional, "content": {JSON: content}}
    return operation


def _path_parameters(route: Route) -> Iterator[dict[str, Any]]:
    for variable in _VARIABLE.findall(route.path):
        name = _camel(variable)
        is_uuid = variable in _UUIDS_IN_PATHS
        schema: Schema = {"type": "string"}
        schema |= {"format": "uuid"} if is_uuid else {"pattern": components.CLIENT_ID_PATTERN}
        yield {
            "name": name,
            "in": "path",
            "required": True,
            "schema": schema,
            "example": {"propActionId": examples.PROP_ACTION, "accountId": examples.ACCOUNT}[name]
            if is_uuid
            else examples.parameter(name, schema),
        }


def _query_parameters(route: Route) -> Iterator[dict[str, Any]]:
    described = components.of_query(route.query)
    for name, schema in described.get("properties", {}).items():
        description = schema.pop("description", None)
        parameter = {"name": name, "in": "query", "required": name in described.get("required", ()), "schema": schema}
        if schema.get("type") == "array":
            parameter |= {"style": "form", "explode": False}
        yield parameter if description is None else {**parameter, "description": description}


def _header_parameters(route: Route) -> Iterator[dict[str, Any]]:
    if route.tagged:
        yield {
            "name": "If-None-Match",
            "in": "header",
            "description": "ETags at hand: 304 where one of them is current.",
            "schema": {"type": "string"},
        }
    if route.feed is not None:
        yield {
            "name": LAST_EVENT_ID,
            "in": "header",
            "description": "The last `id:` that a stream's reader saw: the stream goes on after it.",
            "schema": {"type": "string"},
        }


def _responses(route: Route, schemas: Mapping[str, Schema]) -> dict[str, Any]:
    success: dict[str, Any] = {
        "description": "Done",
        "headers": _headers(*(("ETag",) if route.tagged else ())),
        "content": {route.media_type: _content(_reply_schema(route), schemas)},
    }
    if route.feed is not None:
        success["content"][STREAM] = _stream(schemas)
    responses: dict[str, Any] = {str(route.status): success}
    if route.status == 201:
        before = {"description": "What this idempotency key made before", "headers": _headers("Idempotent-Replayed")}
        responses = {"200": success | before, "201": success | {"description": "Made", "headers": _headers("Location")}}
    if route.tagged:
        responses["304"] = {"description": "If-None-Match names what is current", "headers": _headers("ETag")}
    for status, codes in _by_status(codes_of(route)).items():
        responses[str(status)] = _problem_response(status, codes, _wire_path(route.path))
    if route.name == "service.ready":
        responses["503"] = success | {"description": "Not ready"}
    return responses


def _content(schema: Schema, schemas: Mapping[str, Schema]) -> dict[str, Any]:
    content: dict[str, Any] = {"schema": schema}
    return content if schema.get("type") == "string" else {**content, "example": examples.of_schema(schema, schemas)}


def _stream(schemas: Mapping[str, Schema]) -> dict[str, Any]:
    event = examples.of_schema(components.ref(LedgerRow), schemas)
    told = f"id: {event['seq']}\nevent: {event['type']}\ndata: {msgspec.json.encode(event).decode()}"
    return {
        "schema": {
            "type": "string",
            "description": "Server-Sent Events: first the `id:` of where the stream begins, then each ledger event with"
            " its `id:`, its type as `event:` and itself as `data:`. A comment every 10 s, `event: resync` as the last"
            " where the reader was too slow. Send the last `id:` as `Last-Event-ID` to go on.",
        },
        "example": f"retry: {RETRY_MS}\nid: {event['seq'] - 1}\n\n{told}\n\n: heartbeat\n\n",
    }


def _problem_response(status: int, codes: Sequence[str], path: str) -> dict[str, Any]:
    headers = {401: ("WWW-Authenticate",), 403: ("WWW-Authenticate",), 429: ("Retry-After",), 503: ("Retry-After",)}
    narrowed = {"type": "object", "properties": {"code": {"enum": list(codes)}, "status": {"const": status}}}
    shown = {
        code: {"summary": KINDS[code].title, "value": msgspec.json.decode(examples.problem(code, path))}
        for code in codes
    }
    return {
        "description": ", ".join(f"`{code}`" for code in codes),
        "headers": _headers(*headers.get(status, ())),
        "content": {
            MEDIA_TYPE: {"schema": {"allOf": [{"$ref": components.REF + "Problem"}, narrowed]}, "examples": shown}
        },
    }


def _by_status(codes: Sequence[str]) -> dict[int, list[str]]:
    by_status: dict[int, list[str]] = {}
    for code in codes:
        by_status.setdefault(KINDS[code].status, []).append(code)
    return dict(sorted(by_status.items()))


def _reply_schema(route: Route) -> Schema:
    if route.reply is None:
        return {"type": "object"} if route.media_type == JSON else {"type": "string"}
    row = components.ref(route.reply)
    if route.listed == "no":
        return row if not _may_be_dry(route) else {"allOf": [row, _DRY]}
    properties: Schema = {
        "data": {"type": "array", "items": row},
        "hasMore": {"type": "boolean"},
        "nextCursor": {"anyOf": [{"type": "string"}, {"type": "null"}]},
    }
    if route.listed == "account_list":
        properties["accountSeq"] = {"type": "integer"}
    return {"type": "object", "properties": properties, "required": list(properties)}


_DRY: Final[Schema] = {
    "type": "object",
    "properties": {"dryRun": {"const": True, "description": "Nothing was written. Absent otherwise."}},
}


def _may_be_dry(route: Route) -> bool:
    """Whether the reply gets a member `dryRun` that its view does not have."""
    if route.reply is None or "dry_run" not in route.query.model_fields:
        return False
    return "dry_run" not in route.reply.__struct_fields__


def _schemas(routes: Sequence[Route]) -> dict[str, Schema]:
    of_views = components.of_views({LedgerRow, *(route.reply for route in routes if route.reply is not None)})
    of_bodies = components.of_bodies({route.body for route in routes if route.body is not None})
    return dict(sorted({**of_views, **of_bodies, "Problem": components.problem()}.items()))


def _wire_path(path: str) -> str:
    return _VARIABLE.sub(lambda found: "{" + _camel(found[1]) + "}", path)


def _camel(name: str) -> str:
    first, *others = name.split("_")
    return first + "".join(other.capitalize() for other in others)
