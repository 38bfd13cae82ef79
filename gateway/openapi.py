"""OpenAPI 3.1, made from the route table: requests from the pydantic models, replies from the engine's views.

Guarantee: what is published is what is served, since routing, validation and this document read the same table.
"""

import re
from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import Any, Final

import msgspec
from pydantic.json_schema import GenerateJsonSchema, models_json_schema

from gateway.problems import KINDS, MEDIA_TYPE
from gateway.routes import Route
from gateway.validation import Wire

TITLE: Final = "Prop trading account engine"
_REF: Final = "#/components/schemas/{model}"
_VIEW_REF: Final = "#/components/schemas/{name}"
_VARIABLE: Final = re.compile(r"{(\w+)}")
_ALWAYS: Final = ("internal_error",)
_BEHIND_TOKEN: Final = ("unauthenticated", "forbidden", "rate_limited", "overloaded", "shutting_down")
_WITH_BODY: Final = ("malformed_json", "request_timeout", "body_too_large", "unsupported_media_type", "invalid_request")


class _Untitled(GenerateJsonSchema):
    """Fields are named by their key; a title made from it says nothing more."""

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False


def document(routes: Sequence[Route], *, version: str) -> dict[str, Any]:
    """The whole document as builtins."""
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        paths.setdefault(_wire_path(route.path), {})[route.method.lower()] = _operation(route)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": TITLE,
            "version": version,
            "description": "Money is decimal strings, times are RFC 3339 UTC, errors are RFC 9457 problems.",
        },
        "paths": paths,
        "components": {
            "schemas": _schemas(routes),
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
    }


def encoded(described: dict[str, Any]) -> bytes:
    return msgspec.json.encode(described)


def _operation(route: Route) -> dict[str, Any]:
    summary, _, more = route.summary.partition("\n")
    operation: dict[str, Any] = {
        "operationId": route.name if not route.path.startswith("/api/v1/admin") else f"admin.{route.name}",
        "summary": summary,
        "tags": [route.handler.__module__.rpartition(".")[2]],
        "parameters": [*_path_parameters(route), *_query_parameters(route.query)],
        "responses": _responses(route),
    }
    if more.strip():
        operation["description"] = " ".join(more.split())
    if route.scope is not None:
        operation["security"] = [{"token": []}]
        operation["x-scope"] = route.scope
    if route.body is not None:
        content = {"application/json": {"schema": {"$ref": _REF.format(model=route.body.__name__)}}}
        operation["requestBody"] = {"required": not route.body_optional, "content": content}
    return operation


def _path_parameters(route: Route) -> Iterable[dict[str, Any]]:
    for name in _VARIABLE.findall(route.path):
        schema = {"type": "string"} if name == "clone_id" else {"type": "string", "format": "uuid"}
        yield {"name": _camel(name), "in": "path", "required": True, "schema": schema}


def _query_parameters(model: type[Wire]) -> Iterable[dict[str, Any]]:
    schema = model.model_json_schema(by_alias=True, ref_template=_REF, schema_generator=_Untitled)
    for name, described in schema.get("properties", {}).items():
        description = described.pop("description", None)
        parameter = {"name": name, "in": "query", "required": name in schema.get("required", ()), "schema": described}
        if any(each.get("type") == "array" for each in (described, *described.get("anyOf", ()))):
            parameter |= {"style": "form", "explode": False}
        yield parameter if description is None else parameter | {"description": description}


def _responses(route: Route) -> dict[str, Any]:
    success: dict[str, Any] = {"description": "Done"}
    if route.reply is not None or route.media_type != "application/json":
        success["content"] = {route.media_type: {"schema": _reply_schema(route)}}
    if route.tagged:
        success["headers"] = {"ETag": {"schema": {"type": "string"}, "description": "The account's seq, quoted."}}
    responses: dict[str, Any] = {str(route.status): success}
    if route.tagged:
        responses["304"] = {"description": "If-None-Match names the seq the account is at"}
    if route.name == "accounts.create":
        responses["200"] = success | {"description": "The account this idempotency key opened before"}
    for status, codes in _problems(route).items():
        listed = ", ".join(f"`{code}`" for code in codes)
        content = {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
        responses[str(status)] = {"description": listed, "content": content}
    if route.name == "service.ready":
        responses["503"] = success | {"description": "Not ready"}
    return responses


def _problems(route: Route) -> dict[int, list[str]]:
    codes = [*route.errors, *_ALWAYS, "invalid_request"]
    codes += _BEHIND_TOKEN if route.scope is not None else ()
    codes += _WITH_BODY if route.body is not None else ()
    by_status: dict[int, list[str]] = {}
    for code in dict.fromkeys(codes):
        by_status.setdefault(KINDS[code].status, []).append(code)
    return dict(sorted(by_status.items()))


def _reply_schema(route: Route) -> dict[str, Any]:
    if route.reply is None:
        return {"type": "string"}
    row = {"$ref": _VIEW_REF.format(name=route.reply.__name__)}
    if route.listed == "no":
        return row
    properties: dict[str, Any] = {
        "data": {"type": "array", "items": row},
        "hasMore": {"type": "boolean"},
        "nextCursor": {"type": ["string", "null"]},
    }
    if route.listed == "account_list":
        properties["accountSeq"] = {"type": "integer"}
    return {"type": "object", "properties": properties, "required": list(properties)}


def _schemas(routes: Sequence[Route]) -> dict[str, Any]:
    views = {route.reply for route in routes if route.reply is not None}
    _, of_views = msgspec.json.schema_components(
        sorted(views, key=lambda view: view.__name__), schema_hook=_schema_hook, ref_template=_VIEW_REF
    )
    models = {route.body for route in routes if route.body is not None}
    _, of_models = models_json_schema(
        [(model, "validation") for model in sorted(models, key=lambda model: model.__name__)],
        ref_template=_REF,
        schema_generator=_Untitled,
    )
    schemas = {**of_views, **of_models["$defs"], "Problem": _problem_schema()}
    return dict(sorted(schemas.items()))


def _schema_hook(type_: type) -> dict[str, Any]:
    if type_ is Decimal:
        return {"type": "string", "format": "decimal"}
    raise NotImplementedError


def _problem_schema() -> dict[str, Any]:
    text: dict[str, Any] = {"type": "string"}
    fault = {"type": "object", "properties": dict.fromkeys(("pointer", "code", "message"), text)}
    return {
        "type": "object",
        "description": "RFC 9457. Some codes add members with the figures that were compared.",
        "properties": {
            "type": text,
            "title": text,
            "status": {"type": "integer"},
            "detail": text,
            "instance": text,
            "code": {"type": "string", "examples": list(KINDS)},
            "requestId": text,
            "retryable": {"type": "boolean"},
            "errors": {"type": "array", "items": fault},
        },
        "required": ["type", "title", "status", "detail", "instance", "code", "requestId", "retryable"],
    }


def _wire_path(path: str) -> str:
    return _VARIABLE.sub(lambda found: "{" + _camel(found[1]) + "}", path)


def _camel(name: str) -> str:
    first, *others = name.split("_")
    return first + "".join(other.capitalize() for other in others)
