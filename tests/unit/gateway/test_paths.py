"""Paths: the tree finds what a router that tries every route would find."""

import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request
from yarl import URL

from gateway.paths import Paths
from gateway.routes import ROUTES

ACCOUNT = "/api/v1/prop/accounts/0199aaaa-bbbb-7ccc-8ddd-000000000001"
ODD = (
    "/",
    "//",
    "/livez",
    "/livez/",
    "//livez",
    "/LIVEZ",
    "/%6civez",
    "/api",
    "/api/",
    "/api/v1/prop/accounts",
    "/api/v1/prop/accounts/",
    "/api/v1/prop/accounts//ledger",
    f"{ACCOUNT}/ledger",
    f"{ACCOUNT}/ledger/",
    f"{ACCOUNT}/nothing",
    f"{ACCOUNT}/ledger/more",
    f"{ACCOUNT}%2Fledger",
    "/api%2Fv1/prop/accounts",
    "/api/v1/prop/accounts/%2F",
    "/api/v1/prop/accounts/%25",
    "/api/v1/prop/accounts/a%252Fb/ledger",
    "/api/v1/prop/accounts/a%20b",
    "/api/v1/prop/accounts/%7Ba%7D",
    "/api/v1/prop/accounts/a%0Ab",
    "/api/v1/prop/accounts/é",
    "/api/v1/prop/accounts/..",
    "/api/v1/prop/accounts/a/../b",
    "/api/v1/prop/clones/c/accounts",
    "/api/v1/prop/clones/c",
    "/api/v1/prop/races/r/standings",
    "/api/v1/admin/prop/accounts/a/void-fill",
    "/api/v1/prop/accounts/{account_id}",
)


def added() -> Paths[str]:
    paths: Paths[str] = Paths()
    for route in ROUTES:
        paths.add(route.method, route.path, route.name)
    return paths


@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
@pytest.mark.parametrize("path", [*ODD, *sorted({route.path.replace("{", "").replace("}", "") for route in ROUTES})])
async def test_a_path_means_what_it_means_to_a_router(path: str, method: str):
    async def handler(_: web.Request) -> web.Response:
        return web.Response()

    router = web.UrlDispatcher()
    for route in ROUTES:
        router.add_route(route.method, route.path, handler)
    expected = await router.resolve(make_mocked_request(method, path))
    found = added().find(URL(path).path_safe)
    if expected.http_exception is None:
        assert found is not None
        assert method in found.by_method
        assert expected.route.resource is not None
        assert (found.template, found.variables) == (expected.route.resource.canonical, dict(expected))
    elif isinstance(expected.http_exception, web.HTTPMethodNotAllowed):
        assert found is not None
        assert set(found.by_method) == expected.http_exception.allowed_methods
    else:
        assert found is None


@pytest.mark.parametrize(
    ("first", "second"),
    [("/a/{b}", "/a/{b}"), ("/a/{b}", "/a/{c}"), ("/a/{b}", "/a/b"), ("/a/b", "/a/{b}/c")],
)
def test_no_path_has_two_meanings(first: str, second: str):
    paths: Paths[str] = Paths()
    paths.add("GET", first, "first")
    with pytest.raises(ValueError):
        paths.add("GET", second, "second")
