"""Bad input on a real socket, before the whole engine: each row has its answer, and it tells nothing.

Every row is sent as bytes. Its answer is the one in the table, never a 5xx; it holds no stack and no SQL; it leaves one
line in the log, which is one line whatever was sent; and the gateway serves on.
"""

import asyncio
import gzip
import io
import json
import re
import socket
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import pytest
import structlog

from actors.logs import configure
from gateway.json_body import BodyLimits
from gateway.parts import GatewayLimits
from gateway.server import ServerLimits
from persistence.tokens import Tokens
from tests.e2e.gateway.conftest import BOOTSTRAP, gateway_on
from tests.e2e.gateway.door import Door
from tests.support.desk import Desk

pytestmark = pytest.mark.postgres

ACCOUNTS = "/api/v1/prop/accounts"
NOBODY = "01900000-0000-7000-8000-000000000000"
LEAKS = re.compile(
    rb"Traceback|File \"|psycopg|sqlalchemy|\bselect\b.*\bfrom\b|\binsert into\b|prop_accounts|0x[0-9a-f]{8}", re.I
)
LIMITS = GatewayLimits(body=BodyLimits(timeout_ms=300))
SERVER_LIMITS = ServerLimits(header_timeout_ms=300, idle_timeout_ms=300)


class Row(NamedTuple):
    """What is sent and what is answered; `{account}` in it is a real account's id. `code` None: no problem document."""

    sent: bytes
    status: int
    code: str | None
    pointer: str | None = None


def request(
    body: bytes | str | dict[str, Any] | None = None,
    *,
    method: str = "POST",
    path: str = ACCOUNTS,
    head: str = "",
    token: str | None = BOOTSTRAP,
    content_type: str | None = "application/json",
) -> bytes:
    data = json.dumps(body).encode() if isinstance(body, dict) else body.encode() if isinstance(body, str) else body
    lines = [f"{method} {path} HTTP/1.1", "Host: x", "Connection: close"]
    lines += [f"Authorization: Bearer {token}"] if token is not None else []
    if data is not None:
        lines += [f"Content-Length: {len(data)}"]
        lines += [f"Content-Type: {content_type}"] if content_type else []
    return ("\r\n".join(lines) + "\r\n" + head.replace("\n", "\r\n") + "\r\n").encode("utf-8") + (data or b"")


def get(path: str, **more: Any) -> bytes:
    return request(method="GET", path=path, **more)


def action(**fields: Any) -> bytes:
    given = {"decisionActionId": "a", "action": "open", "symbol": "BTC-USD", "side": "long", "quantity": "1", **fields}
    actions = [{name: value for name, value in given.items() if value is not ...}]
    return request({"decisionRunId": "r", "actions": actions}, path=ACCOUNTS + "/{account}/decision-actions")


def money(text: str) -> bytes:
    """An account with this as its starting balance, as it stands in the JSON."""
    return request('{"ownerId": "o", "cloneId": "c", "startingBalance": ' + text + "}")


def metadata(text: str) -> bytes:
    return request('{"ownerId": "o", "cloneId": "c", "metadata": {"a": ' + text + "}}")


CHUNK = b"10000\r\n" + b" " * 65_536 + b"\r\n"
CHUNKED = "Transfer-Encoding: chunked\nContent-Type: application/json\n"
HUNDRED_AND_ONE = {
    "decisionRunId": "r",
    "actions": [{"decisionActionId": f"a{n}", "action": "hold"} for n in range(101)],
}

ROWS = {
    # the body as bytes
    "over 1 MiB": Row(request(b" " * 1_048_577), 413, "body_too_large"),
    "endless chunks": Row(request(head=CHUNKED) + CHUNK * 20, 413, "body_too_large"),
    "broken chunk": Row(request(head=CHUNKED) + b"zz\r\n", 400, "bad_request"),
    "gzip": Row(request(gzip.compress(b"{}"), head="Content-Encoding: gzip\n"), 415, "unsupported_media_type"),
    "identity": Row(request(b"{}", head="Content-Encoding: identity\n"), 415, "unsupported_media_type"),
    "no content type": Row(request(b"{}", content_type=None), 415, "unsupported_media_type"),
    "text/plain": Row(request(b"{}", content_type="text/plain"), 415, "unsupported_media_type"),
    "wrong charset": Row(
        request(b"{}", content_type="application/json; charset=latin-1"), 415, "unsupported_media_type"
    ),
    "bogus charset": Row(request(b"{}", content_type="application/json; charset=bogus"), 415, "unsupported_media_type"),
    "bad UTF-8": Row(request(b'{"ownerId": "\xff"}'), 400, "malformed_json"),
    "empty": Row(request(b""), 400, "malformed_json"),
    "array root": Row(request(b"[]"), 422, "invalid_request", ""),
    "scalar root": Row(request(b"1"), 422, "invalid_request", ""),
    "null root": Row(request(b"null"), 422, "invalid_request", ""),
    "17 deep": Row(metadata("[" * 16 + "]" * 16), 400, "malformed_json"),
    "100,000 deep": Row(metadata("[" * 100_000 + "]" * 100_000), 400, "malformed_json"),
    "duplicate key": Row(request(b'{"ownerId": "o", "ownerId": "p"}'), 400, "malformed_json"),
    "NaN": Row(metadata("NaN"), 400, "malformed_json"),
    "Infinity": Row(metadata("-Infinity"), 400, "malformed_json"),
    "5,000 digits": Row(metadata("1" * 5_000), 400, "malformed_json"),
    # money and sizes
    "a float": Row(money("0.1"), 422, "invalid_request", "/startingBalance"),
    "9 decimals": Row(money('"1.123456789"'), 422, "invalid_request", "/startingBalance"),
    "an exponent": Row(money('"1e5"'), 422, "invalid_request", "/startingBalance"),
    "a huge exponent": Row(money('"1e1000000"'), 422, "invalid_request", "/startingBalance"),
    "1e12": Row(money('"1000000000000"'), 422, "invalid_request", "/startingBalance"),
    "1e12 as a number": Row(money("1000000000000"), 422, "invalid_request", "/startingBalance"),
    "NaN as text": Row(money('"NaN"'), 422, "invalid_request", "/startingBalance"),
    "Arabic digits": Row(money('"\\u0661\\u0662"'), 422, "invalid_request", "/startingBalance"),
    "1_0": Row(money('"1_0"'), 422, "invalid_request", "/startingBalance"),
    "spaces": Row(money('" 1 "'), 422, "invalid_request", "/startingBalance"),
    "a bool as money": Row(money("true"), 422, "invalid_request", "/startingBalance"),
    "zero": Row(money('"0"'), 422, "invalid_request", "/startingBalance"),
    "negative": Row(money('"-1"'), 422, "invalid_request", "/startingBalance"),
    "negative size": Row(action(quantity="-1"), 422, "invalid_request", "/actions/0/quantity"),
    "zero size": Row(action(quantity="0"), 422, "invalid_request", "/actions/0/quantity"),
    "two sizes": Row(action(notional="1"), 422, "invalid_request", "/actions/0/notional"),
    "no size": Row(action(quantity=...), 422, "invalid_request", "/actions/0/quantity"),
    "fraction above 1": Row(
        action(action="reduce", quantity=..., fraction="1.1"), 422, "invalid_request", "/actions/0/fraction"
    ),
    # text and ids
    "U+0000": Row(metadata('"\\u0000"'), 422, "invalid_request", "/metadata"),
    "U+0000 in an id": Row(request({"ownerId": "a\0", "cloneId": "c"}), 422, "invalid_request", "/ownerId"),
    "U+0000 in a rationale": Row(action(rationale="\0"), 422, "invalid_request", "/actions/0/rationale"),
    "a lone surrogate": Row(metadata('"\\ud800"'), 400, "malformed_json"),
    "CR LF in an id": Row(request({"ownerId": "a\r\nb", "cloneId": "c"}), 422, "invalid_request", "/ownerId"),
    "../ in an id": Row(request({"ownerId": "../x", "cloneId": "c"}), 422, "invalid_request", "/ownerId"),
    "CR LF in a path": Row(get(ACCOUNTS + "/a%0d%0aSet-Cookie:%20x"), 404, "account_not_found"),
    "../ in a path": Row(get(ACCOUNTS + "/..%2f..%2fetc"), 404, "account_not_found"),
    "U+0000 in a path": Row(get(ACCOUNTS + "/%00/snapshot"), 404, "account_not_found"),
    "bad UTF-8 in a path": Row(get(ACCOUNTS + "/%ff"), 404, "account_not_found"),
    "SQL in a path": Row(get(ACCOUNTS + "/'%20or%201=1--"), 404, "account_not_found"),
    "SQL in a filter": Row(get(ACCOUNTS + "?ownerId=';drop%20table%20x--"), 422, "invalid_request", "/query/ownerId"),
    "a clone that is no id": Row(get("/api/v1/prop/clones/a%20b/accounts"), 422, "invalid_request", "/path/cloneId"),
    "nobody's account": Row(get(f"{ACCOUNTS}/{NOBODY}"), 404, "account_not_found"),
    "nobody's action": Row(get(f"/api/v1/prop/decision-actions/{NOBODY}"), 404, "decision_action_not_found"),
    # what is not asked for
    "an unknown field": Row(request({"ownerId": "o", "cloneId": "c", "x": 1}), 422, "invalid_request", "/x"),
    "a hostile field": Row(request({"ownerId": "o", "cloneId": "c", "\r\nx": 1}), 422, "invalid_request", ""),
    "an unknown parameter": Row(get(ACCOUNTS + "?offset=1"), 422, "invalid_request", "/query/offset"),
    "a parameter twice": Row(get(ACCOUNTS + "?limit=1&limit=2"), 422, "invalid_request", "/query/limit"),
    "101 actions": Row(
        request(HUNDRED_AND_ONE, path=ACCOUNTS + "/{account}/decision-actions"), 422, "invalid_request", "/actions"
    ),
    "a huge limit": Row(get(ACCOUNTS + "?limit=1000000000"), 422, "invalid_request", "/query/limit"),
    "a negative limit": Row(get(ACCOUNTS + "?limit=-1"), 422, "invalid_request", "/query/limit"),
    "an Arabic limit": Row(get(ACCOUNTS + "?limit=%D9%A1"), 422, "invalid_request", "/query/limit"),
    "an endless wait": Row(get(ACCOUNTS + "/{account}?waitMs=10001"), 422, "invalid_request", "/query/waitMs"),
    "a forged cursor": Row(get(ACCOUNTS + "?cursor=" + "A" * 64), 422, "invalid_cursor"),
    "an endless cursor": Row(get(ACCOUNTS + "?cursor=" + "A" * 4_000), 422, "invalid_cursor"),
    "a foreign cursor": Row(get(ACCOUNTS + "/{account}/orders?cursor={cursor}"), 422, "invalid_cursor"),
    # tokens
    "no token": Row(get(ACCOUNTS, token=None), 401, "unauthenticated"),
    "a wrong token": Row(get(ACCOUNTS, token="x" * 40), 401, "unauthenticated"),
    "a prefix of a token": Row(get(ACCOUNTS, token=BOOTSTRAP[:-1]), 401, "unauthenticated"),
    "a token in the query": Row(get(f"{ACCOUNTS}?access_token={BOOTSTRAP}", token=None), 401, "unauthenticated"),
    "a non-ASCII token": Row(get(ACCOUNTS, token="tök\u6f22"), 401, "unauthenticated"),
    "two headers": Row(get(ACCOUNTS, head=f"Authorization: Bearer {BOOTSTRAP}\n"), 401, "unauthenticated"),
    "an expired token": Row(get(ACCOUNTS, token="{expired}"), 401, "unauthenticated"),
    "a revoked token": Row(get(ACCOUNTS, token="{revoked}"), 401, "unauthenticated"),
    "a reader that trades": Row(request({"ownerId": "o", "cloneId": "c"}, token="{reader}"), 403, "forbidden"),
    "a reader that administers": Row(
        request({"reason": "x"}, path="/api/v1/admin/prop/accounts/{account}/lock", token="{reader}"), 403, "forbidden"
    ),
    "a trader that administers": Row(
        request({"reason": "x"}, path="/api/v1/admin/prop/accounts/{account}/lock", token="{trader}"), 403, "forbidden"
    ),
    # HTTP itself
    "a slow header": Row(b"GET /livez HTTP/1.1\r\nHost", 0, None),
    "a slow body": Row(request(b"{}").replace(b"Content-Length: 2", b"Content-Length: 9"), 408, "request_timeout"),
    "an idle connection": Row(b"", 0, None),
    "HEAD": Row(request(method="HEAD", path=ACCOUNTS), 200, None),
    "OPTIONS": Row(request(method="OPTIONS", path=ACCOUNTS), 405, "method_not_allowed"),
    "TRACE": Row(request(method="TRACE", path=ACCOUNTS), 405, "method_not_allowed"),
    "DELETE": Row(request(method="DELETE", path=ACCOUNTS + "/{account}"), 405, "method_not_allowed"),
    "an unknown path": Row(get("/api/v1/nothing"), 404, "not_found"),
    "two lengths": Row(request(b"{}", head="Content-Length: 3\n"), 400, "bad_request"),
    "length and chunks": Row(request(b"{}", head="Transfer-Encoding: chunked\n"), 400, "bad_request"),
    "a huge header": Row(get(ACCOUNTS, head="X-Long: " + "a" * 70_000 + "\n"), 400, "bad_request"),
    "200 headers": Row(get(ACCOUNTS, head="".join(f"X-{n}: a\n" for n in range(200))), 400, "bad_request"),
    "a huge URL": Row(get("/" + "a" * 9_000), 400, "bad_request"),
    "TLS": Row(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400, "bad_request"),
}
CUT_OFF = {name for name, row in ROWS.items() if not row.status}


@pytest.fixture
async def strict(engine: Desk) -> AsyncIterator[Door]:
    async with gateway_on(engine, LIMITS, SERVER_LIMITS) as door:
        yield door


async def test_every_row_has_its_answer(strict: Door, engine: Desk):
    names = await real_names(strict, engine)
    log = io.StringIO()
    configure("info", "json")
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(log), cache_logger_on_first_use=False)
    try:
        for name, row in ROWS.items():
            log.seek(0)
            log.truncate()
            sent = row.sent
            for placeholder, value in names.items():
                sent = sent.replace(placeholder.encode(), value.encode())
            heard = await exchanged(strict, sent)
            judge(name, row, heard, log.getvalue())
            assert (await strict.get("/livez", token=None)).status == 200, name
    finally:
        structlog.reset_defaults()
    stored = await strict.get(f"{ACCOUNTS}?limit=10")
    assert [account["id"] for account in stored.json["data"]] == [names["{account}"]], "a row has opened an account"


def judge(name: str, row: Row, heard: bytes, logged: str) -> None:
    head, _, body = heard.partition(b"\r\n\r\n")
    if name in CUT_OFF:
        assert heard == b"", name
        return
    assert re.match(rb"HTTP/1\.[01] %d " % row.status, head), (name, head[:200], body[:300])
    assert not LEAKS.search(heard), (name, heard)
    if row.code is not None:
        problem = json.loads(body)
        assert (problem["status"], problem["code"]) == (row.status, row.code), (name, problem)
        assert b"Content-Type: application/problem+json" in head, name
        if row.pointer is not None:
            assert row.pointer in [fault["pointer"] for fault in problem["errors"]], (name, problem)
    lines = [json.loads(line) for line in logged.splitlines()]
    assert len(lines) == 1, (name, lines)
    assert all(line["status"] == row.status and line["code"] == row.code for line in lines), (name, lines)
    assert BOOTSTRAP not in logged, name


async def real_names(door: Door, engine: Desk) -> dict[str, str]:
    account_id = await door.opened()
    tokens = Tokens(engine.writing)
    reader, _ = await tokens.create("reader", ["prop:read"])
    trader, _ = await tokens.create("trader", ["prop:trade"])
    soon = datetime.now(UTC) + timedelta(milliseconds=200)
    expired, _ = await tokens.create("expired", ["prop:admin"], expires_at=soon)
    revoked, row = await tokens.create("revoked", ["prop:admin"])
    await tokens.revoke(row.id)
    while (await door.get(ACCOUNTS, token=expired)).status != 401:
        await asyncio.sleep(0.05)
    cursor = (await door.get(f"{ACCOUNTS}/{account_id}/ledger?limit=1")).json["nextCursor"]
    return {
        "{account}": account_id,
        "{cursor}": cursor,
        "{reader}": reader,
        "{trader}": trader,
        "{expired}": expired,
        "{revoked}": revoked,
    }


async def exchanged(door: Door, sent: bytes) -> bytes:
    """What is heard on a connection of its own until the gateway closes it."""
    host, port = door.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        writer.write(sent)
        async with asyncio.timeout(10):
            return await reader.read()
    finally:
        writer.close()


async def test_a_crowd_of_idle_connections_does_not_keep_others_out(engine: Desk):
    limits = ServerLimits(connections_max=20, header_timeout_ms=300, idle_timeout_ms=300)
    async with gateway_on(engine, LIMITS, limits) as door:
        host, port = door.url.removeprefix("http://").split(":")
        crowd = [await asyncio.open_connection(host, int(port)) for _ in range(40)]
        async with asyncio.timeout(10):
            for reader, _ in crowd:
                assert await reader.read() == b""
        for _, writer in crowd:
            writer.close()
        assert (await door.get("/livez")).status == 200


@pytest.mark.parametrize("path", ["/openapi.json", "/docs"])
async def test_a_crowd_that_reads_no_answer_does_not_keep_others_out(engine: Desk, path: str):
    """No token is needed to ask for what is larger than a socket holds."""
    limits = ServerLimits(connections_max=20, header_timeout_ms=300, idle_timeout_ms=300)
    asked = get(path, token=None).replace(b"Connection: close\r\n", b"") * 200
    async with gateway_on(engine, LIMITS, limits) as door:
        host, port = door.url.removeprefix("http://").split(":")
        crowd = [socket.socket() for _ in range(limits.connections_max)]
        try:
            for each in crowd:
                each.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
                each.setblocking(False)
                await asyncio.get_running_loop().sock_connect(each, (host, int(port)))
                await asyncio.get_running_loop().sock_sendall(each, asked)
            async with asyncio.timeout(10):
                while not await is_let_in(door):
                    await asyncio.sleep(0.05)
        finally:
            for each in crowd:
                each.close()


async def is_let_in(door: Door) -> bool:
    try:
        return await exchanged(door, get("/livez", token=None)) != b""
    except ConnectionResetError:  # closed before it was heard
        return False
