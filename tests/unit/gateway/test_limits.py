"""Limits at their edge: what is just within one is taken, and one more has its answer. The defaults, by name."""

import json
from typing import Any, NamedTuple

import pytest

from gateway.fields import (
    CONFIDENCE_CHARACTERS_MAX,
    METADATA_BYTES_MAX,
    RATIONALE_BYTES_MAX,
    REASON_CHARACTERS_MAX,
    WORD_CHARACTERS_MAX,
)
from gateway.json_body import BodyLimits
from gateway.schemas import ACTIONS_MAX, LIMIT_MAX, POINTS_MAX, WAIT_MS_MAX
from tests.unit.gateway.fakes import FakeDoor

ACCOUNTS = "/api/v1/prop/accounts"
BODY = BodyLimits()
Refusal = tuple[int, str]
INVALID: Refusal = (422, "invalid_request")


class Edge(NamedTuple):
    """`within` is answered with success, `beyond` with `refusal`. A path alone is read, with a body posted."""

    within: tuple[str, Any]
    beyond: tuple[str, Any]
    refusal: Refusal = INVALID


def padded(size: int) -> bytes:
    body = b'{"ownerId":"o","cloneId":"c"}'
    return body + b" " * (size - len(body))


def nested(depth: int) -> bytes:
    """Two levels are the body and its metadata."""
    inner = "[" * (depth - 2) + "]" * (depth - 2)
    return f'{{"ownerId":"o","cloneId":"c","metadata":{{"a":{inner}}}}}'.encode()


def valued(count: int) -> bytes:
    """A body with so many commas and opening brackets."""
    return b'{"ownerId":"o","cloneId":"c","metadata":{"a":[' + b"1," * (count - 5) + b"1]}}"


def account(**fields: Any) -> tuple[str, Any]:
    return ACCOUNTS, {"ownerId": "o", "cloneId": "c", **fields}


def act(count: int = 1, **fields: Any) -> tuple[str, Any]:
    actions = [{"decisionActionId": f"a{place}", "action": "hold", **fields} for place in range(count)]
    return ACCOUNTS + "/{account}/decision-actions", {"decisionRunId": "r", "actions": actions}


def read(path: str) -> tuple[str, Any]:
    return path, None


def metadata(size: int) -> dict[str, str]:
    return {"a": "x" * (size - len('{"a":""}'))}


EDGES = {
    "body bytes": Edge(
        (ACCOUNTS, padded(BODY.bytes_max)), (ACCOUNTS, padded(BODY.bytes_max + 1)), (413, "body_too_large")
    ),
    "nesting": Edge(
        (ACCOUNTS, nested(BODY.depth_max)), (ACCOUNTS, nested(BODY.depth_max + 1)), (400, "malformed_json")
    ),
    "actions a batch": Edge(act(ACTIONS_MAX), act(ACTIONS_MAX + 1)),
    "an id": Edge(account(idempotencyKey="k" * 128), account(idempotencyKey="k" * 129)),
    "money": Edge(account(startingBalance="999999999999.99999999"), account(startingBalance="1000000000000")),
    "decimals": Edge(account(startingBalance="0.00000001"), account(startingBalance="0.000000001")),
    "metadata": Edge(
        account(metadata=metadata(METADATA_BYTES_MAX)), account(metadata=metadata(METADATA_BYTES_MAX + 1))
    ),
    "a rationale": Edge(
        act(rationale="é" * (RATIONALE_BYTES_MAX // 2)), act(rationale="é" * (RATIONALE_BYTES_MAX // 2) + "e")
    ),
    "a word": Edge(act(action="w" * WORD_CHARACTERS_MAX), act(action="w" * (WORD_CHARACTERS_MAX + 1))),
    "a confidence": Edge(
        act(confidence="1" * CONFIDENCE_CHARACTERS_MAX), act(confidence="1" * (CONFIDENCE_CHARACTERS_MAX + 1))
    ),
    "a symbol": Edge(act(symbol="S" * 64), act(symbol="S" * 65)),
    "a page": Edge(read(f"{ACCOUNTS}?limit={LIMIT_MAX}"), read(f"{ACCOUNTS}?limit={LIMIT_MAX + 1}")),
    "a wait": Edge(
        read(f"{ACCOUNTS}/{{account}}?waitMs={WAIT_MS_MAX}"), read(f"{ACCOUNTS}/{{account}}?waitMs={WAIT_MS_MAX + 1}")
    ),
    "points": Edge(
        read(f"{ACCOUNTS}/{{account}}/equity?points={POINTS_MAX}"),
        read(f"{ACCOUNTS}/{{account}}/equity?points={POINTS_MAX + 1}"),
    ),
    "symbols": Edge(
        read("/api/v1/prop/prices?symbols=" + ",".join("A" * 1_000)),
        read("/api/v1/prop/prices?symbols=" + ",".join("A" * 1_001)),
    ),
}


@pytest.mark.parametrize("edge", EDGES.values(), ids=EDGES)
async def test_the_last_within_is_taken_and_the_first_beyond_refused(door: FakeDoor, edge: Edge):
    account_id = await door.opened()
    heard = await sent(door, edge.within, account_id)
    assert heard.status < 300, heard.body
    assert (await sent(door, edge.beyond, account_id)).refusal == edge.refusal


async def sent(door: FakeDoor, asked: tuple[str, Any], account_id: str) -> Any:
    path = asked[0].replace("{account}", account_id)
    if asked[1] is None:
        return await door.get(path)
    data = asked[1] if isinstance(asked[1], bytes) else json.dumps(asked[1]).encode()
    return await door.send("POST", path, data=data, headers={"Content-Type": "application/json"})


async def test_a_body_has_only_so_many_values(door: FakeDoor):
    """Those within are parsed, and found to be no metadata; one more is not looked at."""
    within = await sent(door, (ACCOUNTS, valued(BODY.values_max)), "")
    assert within.refusal == INVALID
    assert within.pointers == {"/metadata": "too_long"}
    assert (await sent(door, (ACCOUNTS, valued(BODY.values_max + 1)), "")).refusal == (400, "malformed_json")


async def test_a_comma_in_a_text_is_no_value(door: FakeDoor):
    path, body = act(rationale=',"\\,' * 1_000)
    body["actions"] = [{**body["actions"][0], "decisionActionId": f"a{place}"} for place in range(ACTIONS_MAX)]
    assert json.dumps(body).count(",") > 5 * BODY.values_max
    assert (await sent(door, (path, body), await door.opened())).status == 200


async def test_a_reason_has_an_edge(door: FakeDoor):
    path = f"/api/v1/admin/prop/accounts/{await door.opened()}/pause"
    assert (await door.post(path, {"reason": "x" * (REASON_CHARACTERS_MAX + 1)})).refusal == INVALID
    assert (await door.post(path, {"reason": "x" * REASON_CHARACTERS_MAX})).status == 200
