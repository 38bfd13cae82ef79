"""The description: valid, whole, and true of the types it is made from."""

import re
from collections import Counter
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from openapi_spec_validator import validate

from engine.canonical import plain
from engine.events import EVENT_TYPES
from gateway.components import REF
from gateway.openapi import codes_of
from gateway.problems import KINDS
from gateway.routes import ROUTES, Route
from tests.e2e.gateway.described import DESCRIBED, JUDGE, conforms, operation

EVERY_ROUTE = pytest.mark.parametrize("route", ROUTES, ids=lambda route: f"{route.method} {route.path}")


def test_it_is_openapi_3_1():
    assert DESCRIBED["openapi"].startswith("3.1")
    validate(DESCRIBED)


def test_every_route_is_described_once():
    described = [(method, path) for path, methods in DESCRIBED["paths"].items() for method in methods]
    assert len(described) == len(ROUTES)
    names = Counter(operation(route)["operationId"] for route in ROUTES)
    assert max(names.values()) == 1, names


@EVERY_ROUTE
def test_an_operation_says_who_may_call_it(route: Route):
    described = operation(route)
    assert described.get("security", []) == ([] if route.scope is None else [{"token": [route.scope]}])
    assert described["summary"].endswith(".")
    assert ("requestBody" in described) == (route.body is not None)


@EVERY_ROUTE
def test_an_operation_names_every_code_it_may_answer(route: Route):
    named = {
        code
        for response in operation(route)["responses"].values()
        for content in response.get("content", {}).values()
        for code in content.get("examples", {})
    }
    assert named == set(codes_of(route)) <= set(KINDS)


@EVERY_ROUTE
def test_every_example_fits_its_schema(route: Route):
    described = operation(route, JUDGE)
    examples = list(_examples(described))
    assert examples or "json" not in route.media_type
    for schema, example in examples:
        conforms(schema, example)


def _examples(described: dict[str, Any]) -> Iterator[tuple[Any, Any]]:
    body = described.get("requestBody", {"content": {}})
    for holder in (body, *described["responses"].values()):
        for content in holder.get("content", {}).values():
            if "example" in content:
                yield content["schema"], content["example"]
            for shown in content.get("examples", {}).values():
                yield content["schema"], shown["value"]
    for parameter in described["parameters"]:
        if "example" in parameter:
            yield parameter["schema"], parameter["example"]


def test_the_example_of_the_ledger_is_an_event_that_there_is():
    """A payload is described as any object: only this holds its example to what is written."""
    example = DESCRIBED["paths"]["/api/v1/prop/accounts/{accountId}/ledger"]["get"]["responses"]["200"]["content"]
    for row in example["application/json"]["example"]["data"]:
        event = msgspec.convert(row["payload"], EVENT_TYPES[row["type"]])
        assert plain(event) == row["payload"]


def test_a_parameter_of_a_path_has_an_example_and_numbers_have_bounds():
    for route in ROUTES:
        for parameter in operation(route)["parameters"]:
            assert parameter["in"] != "path" or "example" in parameter
            if parameter["schema"].get("type") == "integer":
                assert {"minimum", "maximum"} <= set(parameter["schema"]), parameter


def test_money_is_text_with_eight_decimals_and_times_are_times():
    balance = DESCRIBED["components"]["schemas"]["BalanceView"]["properties"]
    for field in balance.values():
        assert (field["type"], field["format"]) == ("string", "decimal")
        assert re.search(field["pattern"], "-12.50000000")
        assert not re.search(field["pattern"], "12.5")
    account = DESCRIBED["components"]["schemas"]["AccountView"]["properties"]
    assert account["createdAt"] == {"type": "string", "format": "date-time"}
    for schema in DESCRIBED["components"]["schemas"].values():
        for name, field in schema.get("properties", {}).items():
            if name.endswith("At") and "decimal" not in str(field):
                assert "date-time" in str(field), name


def test_every_reference_leads_somewhere():
    schemas = DESCRIBED["components"]["schemas"]
    for found in re.findall(re.escape(REF) + r"(\w+)", str(DESCRIBED)):
        assert found in schemas
