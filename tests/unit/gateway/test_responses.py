"""Responses: heads as HTTP wants them, on a real socket."""

import asyncio
from urllib.parse import urlsplit

import pytest
from aiohttp.test_utils import make_mocked_request
from multidict import CIMultiDict

from gateway.responses import Whole
from tests.unit.gateway.fakes import ADMIN, FakeDoor


async def said(door: FakeDoor, *requests: str) -> bytes:
    """All that comes back on one connection until the gateway closes it."""
    address = urlsplit(door.url)
    reader, writer = await asyncio.open_connection(address.hostname, address.port)
    writer.write("".join(requests).replace("\n", "\r\n").encode())
    async with asyncio.timeout(5):
        heard = await reader.read()
    writer.close()
    return heard


def headers(head: bytes) -> CIMultiDict[str]:
    lines = head.decode().split("\r\n")[1:]
    pairs = [line.split(": ", 1) for line in lines if line]
    found = CIMultiDict((name, value) for name, value in pairs)
    assert len({name.lower() for name in found}) == len(found), "a header is there twice"
    return found


async def test_a_connection_stays_until_it_is_closed(door: FakeDoor):
    first, second = "GET /version HTTP/1.1\nHost: x\n\n", "GET /version HTTP/1.1\nHost: x\nConnection: close\n\n"
    heard = await said(door, first, second)
    assert heard.count(b"HTTP/1.1 200 OK\r\n") == 2
    assert heard.lower().count(b"\r\nconnection: close\r\n") == 1
    assert heard.rindex(b"Connection: close") > heard.rindex(b"HTTP/1.1 200 OK")


async def test_an_old_client_is_told_whether_the_connection_stays(door: FakeDoor):
    closed = await said(door, "GET /version HTTP/1.0\n\n")
    assert closed.startswith(b"HTTP/1.0 200 OK\r\n")
    assert b"connection" not in closed.lower()
    kept, last = "GET /version HTTP/1.0\nConnection: keep-alive\n\n", "GET /version HTTP/1.0\n\n"
    both = await said(door, kept, last)
    assert both.count(b"HTTP/1.0 200 OK\r\n") == 2
    assert both.lower().count(b"connection: keep-alive") == 1


async def test_a_head_names_the_body_it_leaves_out(door: FakeDoor):
    got = await said(door, "GET /version HTTP/1.1\nHost: x\nConnection: close\n\n")
    asked = await said(door, "HEAD /version HTTP/1.1\nHost: x\nConnection: close\n\n")
    head, _, body = got.partition(b"\r\n\r\n")
    only, _, nothing = asked.partition(b"\r\n\r\n")
    assert nothing == b""
    assert headers(only)["Content-Length"] == headers(head)["Content-Length"] == str(len(body))


async def test_what_has_not_changed_has_no_body(door: FakeDoor):
    path = f"/api/v1/prop/accounts/{await door.opened()}"
    tag = (await door.get(path)).headers["ETag"]
    ask = f"GET {path} HTTP/1.1\nHost: x\nConnection: close\nAuthorization: Bearer {ADMIN}\nIf-None-Match: {tag}\n\n"
    head, _, body = (await said(door, ask)).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 304 Not Modified\r\n")
    assert body == b""
    assert headers(head)["ETag"] == tag
    assert headers(head)["Cache-Control"] == "private, no-cache"
    assert "Content-Length" not in headers(head)
    assert "Content-Type" not in headers(head)


async def test_every_head_is_guarded_and_says_nothing_of_the_server(door: FakeDoor):
    for ask in ("GET /version", "GET /nothing", "GET /api/v1/prop/accounts", "PUT /livez", "GET /docs"):
        heard = await said(door, f"{ask} HTTP/1.1\nHost: x\nConnection: close\nX-Request-Id: mine\n\n")
        found = headers(heard.partition(b"\r\n\r\n")[0])
        assert found["Server"] == "prop"
        assert found["X-Content-Type-Options"] == "nosniff"
        assert found["Cache-Control"] == "no-store"
        assert found["X-Request-Id"] == "mine"
        assert found["Date"].endswith(" GMT")


@pytest.mark.parametrize("value", ["a\r\nb", "a\nb", "a\rb", "a\0b"])
async def test_no_header_holds_a_line_break(value: str):
    response = Whole(request_id="r", status=200, media_type=None, body=b"", headers={"X": value})
    with pytest.raises(ValueError, match="line break"):
        await response.prepare(make_mocked_request("GET", "/"))
