"""The API's own description, as the judge of what it answers."""

from typing import Any

from jsonschema import Draft202012Validator, FormatChecker

from gateway.openapi import document
from gateway.routes import ROUTES, Route
from tests.e2e.gateway.door import Heard

Described = dict[str, Any]

REF = "#/components/schemas/"
FORMATS = FormatChecker()


@FORMATS.checks("date-time")
def _is_time(value: object) -> bool:
    """As the contract has them: UTC with `Z` and six digits."""
    return not isinstance(value, str) or (len(value) == len("2026-01-05T14:30:00.000000Z") and value[-1] == "Z")


def closed(described: Described) -> Described:
    """The description in which a reply has the members it names and no others. That is for tests: clients are to
    take more. Problems stay open, since some add the figures that were compared."""
    schemas = described["components"]["schemas"]

    def shut(schema: Any) -> Any:
        if isinstance(schema, list):
            return [shut(each) for each in schema]
        if not isinstance(schema, dict) or schema == {"$ref": REF + "Problem"}:
            return schema
        if "allOf" in schema:
            parts = [schemas[each["$ref"].removeprefix(REF)] if "$ref" in each else each for each in schema["allOf"]]
            if any("requestId" in part.get("properties", {}) and "retryable" in part["properties"] for part in parts):
                return schema
            return {"allOf": [_members(part) for part in parts], "unevaluatedProperties": False}
        inner = {name: shut(each) for name, each in schema.items()}
        return {**inner, "unevaluatedProperties": False} if "properties" in schema else inner

    def _members(schema: Any) -> Any:
        return {**schema, "properties": {name: shut(each) for name, each in schema["properties"].items()}}

    components = {name: each if name == "Problem" else shut(each) for name, each in schemas.items()}
    paths = {
        path: {method: {**operation, "responses": shut(operation["responses"])} for method, operation in each.items()}
        for path, each in described["paths"].items()
    }
    return {**described, "paths": paths, "components": {**described["components"], "schemas": components}}


DESCRIBED = document(ROUTES, version="0.0.test")
JUDGE = closed(DESCRIBED)


def operation(route: Route, described: Described = DESCRIBED) -> Described:
    """The description of one route."""
    path = next(
        path
        for path in described["paths"]
        if _same(path, route.path) and route.method.lower() in described["paths"][path]
    )
    found: Described = described["paths"][path][route.method.lower()]
    return found


def conforms(schema: Any, value: Any, described: Described = JUDGE) -> None:
    """Raises where `value` is not what `schema`, a part of the description, says."""
    Draft202012Validator({**schema, "components": described["components"]}, format_checker=FORMATS).validate(value)


def documented(route: Route, heard: Heard) -> None:
    """Raises where the answer's status, media type, headers or body are not those described."""
    response = operation(route, JUDGE)["responses"].get(str(heard.status))
    assert response is not None, f"{route.name} answered {heard.status}, which is not described: {heard.body!r}"
    for name in response.get("headers", {}):
        assert name in heard.headers, f"{route.name} {heard.status} lacks {name}"
    if "content" not in response:
        assert heard.body == b""
        return
    media_type = heard.headers["Content-Type"].partition(";")[0]
    assert media_type in response["content"], f"{route.name} answered {media_type}"
    if media_type.endswith("json"):
        conforms(response["content"][media_type]["schema"], heard.json)


def _same(wire_path: str, path: str) -> bool:
    return wire_path.replace("_", "").lower() == path.replace("_", "").lower()
