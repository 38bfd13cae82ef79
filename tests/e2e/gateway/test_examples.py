"""Every example request of the description, sent: some account takes it, and the answer is as described."""

from typing import Any

import pytest

from gateway.examples import ACCOUNT, FILL, ORDER, PROP_ACTION
from gateway.openapi import document
from gateway.routes import ROUTES, Route
from tests.e2e.gateway.described import documented, operation
from tests.e2e.gateway.door import Door, Heard

pytestmark = pytest.mark.postgres

ACCOUNTS = "/api/v1/prop/accounts"
ADMIN_ACCOUNTS = "/api/v1/admin/prop/accounts"


async def traded(door: Door, status: str) -> dict[str, str]:
    """An account that is now `status`, and the ids of what it did; the example's ids become these."""
    account_id = await door.opened(started=status != "pending", cloneId="clone-9", raceId="race-1")
    ids = {ACCOUNT: account_id}
    if status == "pending":
        return ids
    action = {"decisionActionId": "first", "action": "open", "symbol": "BTC-USD", "side": "long", "quantity": "0.1"}
    body = {"decisionRunId": "before", "actions": [action]}
    result = (await door.post(f"{ACCOUNTS}/{account_id}/decision-actions", body)).json["results"][0]
    ids |= {PROP_ACTION: result["propActionId"], ORDER: result["order"]["id"], FILL: result["fill"]["id"]}
    if status == "completed":
        await door.post(f"{ACCOUNTS}/{account_id}/complete")
    elif status != "active":
        verb = {"paused": "pause", "locked": "lock"}[status]
        await door.post(f"{ADMIN_ACCOUNTS}/{account_id}/{verb}", {"reason": "so"})
    return ids


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: f"{route.method} {route.path}")
async def test_an_example_is_taken(door: Door, route: Route):
    heard: Heard | None = None
    for status in ("active", "pending", "completed", "locked"):
        heard = await sent(door, route, await traded(door, status) if "{" in route.path else {})
        documented(route, heard)
        if heard.status < 300:
            return
    raise AssertionError(f"no account takes it: {heard and heard.body!r}")


async def sent(door: Door, route: Route, ids: dict[str, str]) -> Heard:
    described = operation(route)
    path = next(path for path, methods in document([route], version="")["paths"].items() if methods)
    for parameter in described["parameters"]:
        if parameter["in"] == "path":
            path = path.replace(f"{{{parameter['name']}}}", parameter["example"])
    body: Any = described.get("requestBody", {}).get("content", {}).get("application/json", {}).get("example")
    return await door.send(route.method, _with(ids, path), **({} if body is None else {"json": _with(ids, body)}))


def _with(ids: dict[str, str], value: Any) -> Any:
    match value:
        case str():
            for example, real in ids.items():
                value = value.replace(example, real)
            return value
        case dict():
            return {name: _with(ids, each) for name, each in value.items()}
        case list():
            return [_with(ids, each) for each in value]
    return value
