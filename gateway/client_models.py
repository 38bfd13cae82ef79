"""The models of the Python client, written from the description of the API: `python -m gateway.client_models`.

Prints the module `prop/models.py`. Replies stay readable when the engine learns new words, so a field with known words
takes others too; requests take the known ones only.
"""

import textwrap
from collections.abc import Iterator, Mapping
from typing import Any, Final

from gateway.components import REF, Schema
from gateway.openapi import document
from gateway.routes import ROUTES

HEADER: Final = '''\
"""Models: what the API takes and answers. Written by `make client` from the API's description: not to be edited."""

from datetime import date
from typing import Any, Literal

from prop.values import Moment, Money, Reply, Request

'''
LINE_CHARACTERS_MAX: Final = 120
_NAMES: Final[Mapping[str, str]] = {
    "AgedSnapshot": "Snapshot",
    "AgedDecisionContext": "DecisionContext",
    "LedgerRow": "LedgerEvent",
}
_LEFT_OUT: Final = frozenset({"Problem", "EmptyIn"})


def module() -> str:
    """The text of `prop/models.py`, before it is formatted."""
    schemas = document(ROUTES, version="")["components"]["schemas"]
    wanted = {name: schema for name, schema in schemas.items() if name not in _LEFT_OUT}
    classes = [_class(name, schema, schemas) for name, schema in _sorted(wanted)]
    return HEADER + "\n\n".join(classes)


def client_name(component: str) -> str:
    """`AccountView` is `Account` to a client."""
    return _NAMES.get(component, component.removesuffix("View"))


def _sorted(schemas: Mapping[str, Schema]) -> Iterator[tuple[str, Schema]]:
    """What others are made of comes first."""
    done: set[str] = set()

    def visit(name: str) -> Iterator[tuple[str, Schema]]:
        if name in done or name not in schemas:
            return
        done.add(name)
        for other in _references(schemas[name]):
            yield from visit(other)
        yield name, schemas[name]

    for name in schemas:
        yield from visit(name)


def _references(schema: Any) -> Iterator[str]:
    match schema:
        case {"$ref": str(reference)}:
            yield reference.removeprefix(REF)
        case dict():
            for each in schema.values():
                yield from _references(each)
        case list():
            for each in schema:
                yield from _references(each)


def _class(name: str, schema: Schema, schemas: Mapping[str, Schema]) -> str:
    if "enum" in schema:
        words = ", ".join(repr(word) for word in schema["enum"])
        return f"{client_name(name)} = Literal[{words}]\n"
    asked = name.endswith("In")
    lines = [f"class {client_name(name)}({'Request' if asked else 'Reply'}):"]
    description = " ".join(schema.get("description", "").split())
    if description:
        lines.append(_docstring(description) + "\n")
    required = schema.get("required", ())
    for field, each in schema.get("properties", {}).items():
        type_ = _type(each, schemas, asked)
        if asked and field not in required:
            type_ = f"{type_.removesuffix(' | None')} | None = None"
        lines.append(f"    {_snake(field)}: {type_}")
        if each.get("description") and asked:
            lines.append(_docstring(each["description"]))
    return "\n".join(lines) + "\n"


def _type(schema: Schema, schemas: Mapping[str, Schema], asked: bool) -> str:
    if "$ref" in schema:
        name = schema["$ref"].removeprefix(REF)
        return client_name(name) + (" | str" if "enum" in schemas[name] and not asked else "")
    if "anyOf" in schema:
        members = schema["anyOf"]
        if {"string", "integer"} == {each.get("type") for each in members} and any(
            "pattern" in each for each in members
        ):
            return "Money"
        return " | ".join(dict.fromkeys(_type(each, schemas, asked) for each in members))
    if "enum" in schema:
        return f"Literal[{', '.join(repr(word) for word in schema['enum'])}]" + ("" if asked else " | str")
    match schema.get("type"):
        case "string":
            return {"decimal": "Money", "date-time": "Moment", "date": "date"}.get(schema.get("format", ""), "str")
        case "array":
            return f"list[{_type(schema['items'], schemas, asked)}]"
        case "object" if isinstance(schema.get("additionalProperties"), dict):
            return f"dict[str, {_type(schema['additionalProperties'], schemas, asked)}]"
        case "object":
            return "dict[str, Any]"
        case kind:
            return {"integer": "int", "number": "float", "boolean": "bool", "null": "None"}.get(str(kind), "Any")


def _docstring(text: str) -> str:
    """On one line where it fits, else wrapped as this project wraps them."""
    lines = textwrap.wrap(" ".join(text.split()), LINE_CHARACTERS_MAX - 10)
    return textwrap.indent(f'"""{lines[0]}"""' if len(lines) == 1 else '"""' + "\n".join([*lines, '"""']), "    ")


def _snake(name: str) -> str:
    return "".join(f"_{each.lower()}" if each.isupper() else each for each in name)


if __name__ == "__main__":
    print(module())  # noqa: T201  # it is a command
