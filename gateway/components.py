"""Components: the JSON schemas of what is sent and of what is answered, each from the type that does it.

Requests come from the pydantic models, replies from the msgspec views. Of a view every field is always present (the
encoder leaves none out), decimals are strings with exactly 8 decimals, and names ending in `At` are times: so the
schemas say.
"""

from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import Any, Final

import msgspec
from pydantic.json_schema import GenerateJsonSchema, models_json_schema

from engine.canonical import plain
from gateway.problems import KINDS
from gateway.validation import Wire

Schema = dict[str, Any]

REF: Final = "#/components/schemas/"
DECIMAL: Final[Schema] = {"type": "string", "format": "decimal", "pattern": r"^-?[0-9]{1,20}\.[0-9]{8}$"}
UUID_FIELDS: Final = frozenset({"id", "accountId", "orderId", "fillId", "propActionId", "parentAccountId"})
CLIENT_ID_PATTERN: Final = "^[A-Za-z0-9_.:-]{1,128}$"

_MODEL_TEMPLATE: Final = REF + "{model}"
_VIEW_TEMPLATE: Final = REF + "{name}"


class _Untitled(GenerateJsonSchema):
    """Fields are named by their key; a title made from it says nothing more."""

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False

    def encode_default(self, dft: Any) -> Any:
        """Decimals as the wire has them: pydantic would say `0E-8`."""
        return plain(dft) if isinstance(dft, Decimal) else super().encode_default(dft)


def ref(type_: type) -> Schema:
    return {"$ref": REF + type_.__name__}


def of_bodies(models: Iterable[type[Wire]]) -> dict[str, Schema]:
    """The request models and what they are made of, by name."""
    asked = [(model, "validation") for model in _sorted(models)]
    _, described = models_json_schema(asked, ref_template=_MODEL_TEMPLATE, schema_generator=_Untitled)  # type: ignore[arg-type]  # it wants a literal
    return dict(described.get("$defs", {}))


def of_query(model: type[Wire]) -> Schema:
    """The parameters of a query string as one object: a parameter is left out, never null."""
    described = model.model_json_schema(by_alias=True, ref_template=_MODEL_TEMPLATE, schema_generator=_Untitled)
    return {**described, "properties": {name: _present(each) for name, each in described.get("properties", {}).items()}}


def of_views(views: Iterable[type[msgspec.Struct]]) -> dict[str, Schema]:
    """The views and what they are made of, by name."""
    _, described = msgspec.json.schema_components(_sorted(views), ref_template=_VIEW_TEMPLATE)
    return {name: _as_encoded(schema) for name, schema in described.items()}


def problem(codes: Sequence[str] = tuple(KINDS)) -> Schema:
    """A problem document with one of `codes`."""
    text: Schema = {"type": "string"}
    fault = {
        "type": "object",
        "properties": dict.fromkeys(("pointer", "code", "message"), text),
        "required": ["pointer", "code", "message"],
    }
    return {
        "type": "object",
        "description": "RFC 9457. Some codes add members with the figures that were compared.",
        "properties": {
            "type": {"type": "string", "format": "uri-reference"},
            "title": text,
            "status": {"type": "integer"},
            "detail": text,
            "instance": text,
            "code": {"enum": list(codes)},
            "requestId": {"type": "string", "pattern": CLIENT_ID_PATTERN},
            "retryable": {"type": "boolean"},
            "errors": {"type": "array", "items": fault, "maxItems": 20},
        },
        "required": ["type", "title", "status", "detail", "instance", "code", "requestId", "retryable"],
    }


def _sorted(types: Iterable[type]) -> list[Any]:
    return sorted(types, key=lambda type_: type_.__name__)


def _present(schema: Schema) -> Schema:
    """`schema` without the alternative null and without a default that is none."""
    kept = {name: value for name, value in schema.items() if not (name == "default" and value is None)}
    some = [each for each in kept.get("anyOf", ()) if each.get("type") != "null"]
    if len(some) == 1:
        del kept["anyOf"]
        return {**some[0], **kept}
    return kept


def _as_encoded(schema: Schema) -> Schema:
    if "properties" not in schema:
        return schema
    properties = {
        name: _told(name, {key: value for key, value in each.items() if key != "default"})
        for name, each in schema["properties"].items()
    }
    return {**schema, "properties": properties, "required": list(properties)}


def _told(name: str, schema: Schema) -> Schema:
    """What the wire's naming says of a text: a time, or an id of the engine's."""
    if "anyOf" in schema:
        return {**schema, "anyOf": [_told(name, each) for each in schema["anyOf"]]}
    if schema.get("format") == "decimal":
        return {**schema, **DECIMAL}
    if schema != {"type": "string"}:
        return schema
    if name.endswith("At"):
        return {"type": "string", "format": "date-time"}
    return {"type": "string", "format": "uuid"} if name in UUID_FIELDS else schema
