"""The page: whole, linked, offline, and its commands run as they are pasted."""

import copy
import json
import re
import shlex

import pytest

from gateway.docs import curl, page
from gateway.problems import KINDS
from gateway.routes import ROUTES, Route
from tests.e2e.gateway.described import DESCRIBED, operation

PAGE = page(DESCRIBED).decode()
ANCHORS = re.findall(r' id="([^"]+)"', PAGE)


def test_every_operation_schema_and_code_has_one_anchor():
    wanted = {operation(route)["operationId"] for route in ROUTES} | set(KINDS)
    wanted |= {f"schema-{name}" for name in DESCRIBED["components"]["schemas"]}
    assert wanted <= set(ANCHORS)
    assert len(set(ANCHORS)) == len(ANCHORS)


def test_every_link_leads_somewhere():
    for target in re.findall(r'href="([^"]+)"', PAGE):
        assert target == "/openapi.json" or target.removeprefix("#") in ANCHORS, target


def test_it_fetches_nothing():
    assert not re.search(r"<(script|img|link|iframe)|src=|url\(|@import|https?://(?!127\.0\.0\.1)", PAGE)


def test_every_parameter_and_field_is_shown():
    for route in ROUTES:
        for parameter in operation(route)["parameters"]:
            assert f"<code>{parameter['name']}</code>" in PAGE
    for schema in DESCRIBED["components"]["schemas"].values():
        assert all(f"<code>{name}</code>" in PAGE for name in schema.get("properties", ()))


def test_what_a_description_says_is_text():
    hostile = copy.deepcopy(DESCRIBED)
    hostile["paths"]["/livez"]["get"]["summary"] = "<script>alert(1)</script>"
    hostile["components"]["schemas"]["Liveness"]["description"] = "`<b>` & **<i>**"
    shown = page(hostile).decode()
    assert "<script" not in shown
    assert "<code>&lt;b&gt;</code> &amp; <strong>&lt;i&gt;</strong>" in shown


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: f"{route.method} {route.path}")
def test_an_example_is_a_command_to_paste(route: Route):
    described = operation(route)
    path = next(path for path, methods in DESCRIBED["paths"].items() if described in methods.values())
    words = shlex.split(curl(route.method, path, described).replace("\\\n", ""))
    assert words[0] == "curl"
    assert ("Authorization: Bearer $PROP_TOKEN" in words) == (route.scope is not None)
    assert not re.search(r"[{}]", next(word for word in words if word.startswith("$PROP_URL")))
    if "-d" in words:
        sent = json.loads(words[words.index("-d") + 1])
        assert sent == described["requestBody"]["content"]["application/json"]["example"]
    else:
        assert (words[words.index("-X") + 1] if "-X" in words else "GET") == route.method
