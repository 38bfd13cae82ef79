"""Bodies: whatever arrives, a parsed object or a problem."""

import asyncio
import gzip
import json

import aiohttp
import pytest

from gateway.json_body import BodyLimits, JsonFloat, parse_object
from gateway.parts import GatewayLimits
from gateway.problems import Problem
from tests.unit.gateway.fakes import ADMIN, FakeDoor, opened_door

ACCOUNTS = "/api/v1/prop/accounts"


def nested(depth: int) -> bytes:
    """An object in which containers stand `depth` deep."""
    return b'{"a":' * (depth - 1) + b"{}" + b"}" * (depth - 1)


MALFORMED = {
    "empty": b"",
    "spaces": b" \n\t",
    "cut": b'{"a": 1',
    "trailing": b'{"a": 1} x',
    "two values": b"{}{}",
    "bare word": b"hello",
    "single quotes": b"{'a': 1}",
    "comment": b'{"a": 1 /* one */}',
    "trailing comma": b'{"a": 1,}',
    "NaN": b'{"a": NaN}',
    "Infinity": b'{"a": Infinity}',
    "-Infinity": b'{"a": -Infinity}',
    "1e400": b'{"a": 1e400}',
    "1e999999999": b'{"a": 1e999999999}',
    "5000 digits": b'{"a": ' + b"1" * 5_000 + b"}",
    "41 digits": b'{"a": ' + b"1" * 41 + b"}",
    "long fraction": b'{"a": 0.' + b"1" * 5_000 + b"}",
    "leading zero": b'{"a": 01}',
    "plus": b'{"a": +1}',
    "duplicate key": b'{"a": 1, "a": 2}',
    "duplicate key below": b'{"b": [{"a": 1, "a": 1}]}',
    "duplicate key, escaped": b'{"a": 1, "\\u0061": 2}',
    "bad UTF-8": b'{"a": "\xff"}',
    "overlong UTF-8": b'{"a": "\xc0\xaf"}',
    "UTF-8 surrogate": b'{"a": "\xed\xa0\x80"}',
    "latin-1": '{"a": "é"}'.encode("latin-1"),
    "UTF-16": '{"a": 1}'.encode("utf-16"),
    "BOM": b'\xef\xbb\xbf{"a": 1}',
    "raw control": b'{"a": "\x00"}',
    "raw newline": b'{"a": "\n"}',
    "lone surrogate": b'{"a": "\\ud800"}',
    "lone low surrogate": b'{"a": ["\\udfff"]}',
    "lone surrogate in a name": b'{"\\ud800": 1}',
    "17 deep": nested(17),
    "5000 deep": nested(5_000),
    "100000 arrays": b'{"a": ' + b"[" * 100_000,
    "100000 arrays, closed": b'{"a": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
}


@pytest.mark.parametrize("data", MALFORMED.values(), ids=MALFORMED)
def test_what_is_not_json_is_malformed(data: bytes):
    with pytest.raises(Problem) as found:
        parse_object(data, depth_max=16)
    assert found.value.code == "malformed_json"
    assert len(found.value.detail) < 120


@pytest.mark.parametrize("data", [b"[]", b'"a"', b"1", b"null", b"true", b"1.5"])
def test_the_root_is_an_object(data: bytes):
    with pytest.raises(Problem) as found:
        parse_object(data, depth_max=16)
    assert (found.value.code, found.value.faults[0].pointer) == ("invalid_request", "")


def test_what_is_json_is_parsed():
    assert parse_object(nested(16), depth_max=16)
    assert parse_object(b' {"a": [1, -0, true, null, "x"]} ', depth_max=16) == {"a": [1, 0, True, None, "x"]}
    assert parse_object(b'{"a": "\\ud83d\\ude00 \\u00e9"}', depth_max=16) == {"a": "😀 é"}
    assert parse_object(b'{"a": "' + b"[" * 10_000 + b'"}', depth_max=16) == {"a": "[" * 10_000}


@pytest.mark.parametrize("text", ["0.1", "1e5", "-1.50", "1E-3", "0.30000000000000004"])
def test_a_number_with_a_point_keeps_its_text(text: str):
    found = parse_object(f'{{"a": {text}}}'.encode(), depth_max=16)["a"]
    assert isinstance(found, JsonFloat)
    assert found.text == text


@pytest.mark.parametrize(
    ("content_type", "status"),
    [
        ("application/json", 201),
        ("APPLICATION/JSON; Charset=UTF-8", 201),
        ('application/json;charset="utf8"', 201),
        ("application/json; charset=latin-1", 415),
        ("application/json; charset=bogus", 415),
        ("application/json; charset=utf-16", 415),
        ("text/json", 415),
        ("text/plain", 415),
        ("application/x-www-form-urlencoded", 415),
        ("application/problem+json", 415),
        ("multipart/form-data; boundary=x", 415),
        ("", 415),
    ],
)
async def test_only_json_in_utf8_is_taken(door: FakeDoor, content_type: str, status: int):
    body = json.dumps({"ownerId": "o", "cloneId": "c"})
    heard = await door.send("POST", ACCOUNTS, data=body.encode(), headers={"Content-Type": content_type})
    assert heard.status == status
    if status == 415:
        assert heard.refusal == (415, "unsupported_media_type")


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "identity", "x"])
async def test_no_encoded_body_is_taken(door: FakeDoor, encoding: str):
    bomb = gzip.compress(b" " * 5_000_000)
    headers = {"Content-Type": "application/json", "Content-Encoding": encoding}
    heard = await door.send("POST", ACCOUNTS, data=bomb, headers=headers)
    assert heard.refusal == (415, "unsupported_media_type")


async def test_a_body_past_the_limit_is_refused(door: FakeDoor):
    heard = await door.send("POST", ACCOUNTS, data=b" " * 1_048_577, headers={"Content-Type": "application/json"})
    assert heard.refusal == (413, "body_too_large")
    full = b'{"ownerId": "o", "cloneId": "c"}'.ljust(1_048_576)
    heard = await door.send("POST", ACCOUNTS, data=full, headers={"Content-Type": "application/json"})
    assert heard.status == 201


async def raw(door: FakeDoor, head: str, *chunks: bytes, pause: float = 0.0) -> bytes:
    """What is heard on a connection of its own after sending these bytes."""
    host, port = door.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        writer.write(head.replace("\n", "\r\n").encode())
        for chunk in chunks:
            await asyncio.sleep(pause)
            writer.write(chunk)
            await writer.drain()
        return await asyncio.wait_for(reader.read(65_536), 10)
    except ConnectionError:
        return b""
    finally:
        writer.close()


HEAD = f"POST {ACCOUNTS} HTTP/1.1\nHost: x\nAuthorization: Bearer {ADMIN}\nContent-Type: application/json\n"


async def test_an_endless_chunked_body_is_refused(door: FakeDoor):
    chunk = b"10000\r\n" + b" " * 65_536 + b"\r\n"
    heard = await raw(door, HEAD + "Transfer-Encoding: chunked\n\n", *[chunk] * 20)
    assert b" 413 " in heard.split(b"\r\n")[0]


@pytest.mark.parametrize(
    "chunks", [(b"zz\r\n",), (b"5\r\nabc\r\n0\r\n\r\n",), (b"-1\r\n\r\n",)], ids=["size", "short", "negative"]
)
async def test_a_broken_chunked_body_is_a_bad_request(door: FakeDoor, chunks: tuple[bytes, ...]):
    heard = await raw(door, HEAD + "Transfer-Encoding: chunked\n\n", *chunks)
    assert b" 400 " in heard.split(b"\r\n")[0]


async def test_a_body_that_does_not_come_times_out():
    limits = GatewayLimits(body=BodyLimits(timeout_ms=200))
    async with opened_door(limits) as door:
        heard = await raw(door, HEAD + "Content-Length: 100\n\n", b"{", b" ", b" ", pause=0.05)
    assert b" 408 " in heard.split(b"\r\n")[0]
    assert b'"request_timeout"' in heard


async def test_a_body_is_only_invited_once_admitted(door: FakeDoor):
    expecting = "Content-Length: 32\nExpect: 100-continue\n\n"
    refused = await raw(door, HEAD.replace(ADMIN, "wrong") + expecting)
    assert refused.startswith(b"HTTP/1.1 401 ")
    heard = await raw(door, HEAD + expecting, b'{"ownerId": "o", "cloneId": "c"}', pause=0.05)
    assert heard.startswith(b"HTTP/1.1 100 Continue\r\n\r\n")


@pytest.mark.parametrize("body", [None, b"", b"{}", b" { } "])
async def test_a_start_needs_no_body(door: FakeDoor, body: bytes | None):
    account_id = await door.opened(started=False)
    headers = {} if body is None else {"Content-Type": "application/json"}
    heard = await door.send("POST", f"{ACCOUNTS}/{account_id}/start", data=body, headers=headers)
    assert (heard.status, heard.json["status"]) == (200, "active")


async def test_smuggling_and_garbage_get_a_bad_request(door: FakeDoor):
    for head in (
        HEAD + "Content-Length: 5\nTransfer-Encoding: chunked\n\n",
        HEAD + "Content-Length: 5\nContent-Length: 6\n\n",
        HEAD + "X-Long: " + "a" * 70_000 + "\n\n",
        HEAD + "".join(f"X-{number}: a\n" for number in range(200)) + "\n",
        "GET /" + "a" * 9_000 + " HTTP/1.1\nHost: x\n\n",
        "\x16\x03\x01 hello\n\n",
    ):
        heard = await raw(door, head)
        assert heard.startswith(b"HTTP/1."), head[:80]
        assert b" 400 " in heard.split(b"\r\n")[0], heard[:80]
        assert b'"bad_request"' in heard
    assert (await door.get("/livez")).status == 200


async def test_a_client_that_leaves_mid_body_harms_nobody(door: FakeDoor):
    host, port = door.url.removeprefix("http://").split(":")
    _, writer = await asyncio.open_connection(host, int(port))
    writer.write((HEAD + "Content-Length: 100\n\n{").replace("\n", "\r\n").encode())
    await writer.drain()
    writer.transport.abort()
    await asyncio.sleep(0.05)
    assert (await door.get("/livez")).status == 200
    async with aiohttp.ClientSession() as http, http.get(door.url + "/metrics") as response:
        assert "prop_http_in_flight 0.0" in await response.text()
