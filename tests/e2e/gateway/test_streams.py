"""Streams over HTTP on a real Postgres: history then live, nothing missed, nothing twice, whatever interrupts them."""

import asyncio
import socket
import time
from typing import Any

import psycopg
import pytest

from gateway.parts import GatewayLimits
from gateway.streaming import HISTORY_EVENTS, StreamLimits
from persistence.tokens import Tokens
from tests.e2e.gateway.conftest import BOOTSTRAP, gateway_on
from tests.e2e.gateway.door import Door
from tests.support.desk import Desk
from tests.support.listening import listening

pytestmark = pytest.mark.postgres

ACCOUNTS = "/api/v1/prop/accounts"
EVENTS = "/api/v1/prop/events"
WANTED = "text/event-stream"


async def act(door: Door, account_id: str, run: str, count: int = 1, rationale: str = "") -> None:
    """`count` rejections: an event each."""
    actions = [
        {"decisionActionId": f"a{place}", "action": "hold", "rationale": rationale or "why"} for place in range(count)
    ]
    heard = await door.post(f"{ACCOUNTS}/{account_id}/decision-actions", {"decisionRunId": run, "actions": actions})
    assert heard.status == 200, heard.body


async def ledger(door: Door, account_id: str) -> list[dict[str, Any]]:
    return list((await door.get(f"{ACCOUNTS}/{account_id}/ledger?limit=1000")).json["data"])


async def test_history_then_live_of_one_account(door: Door):
    account_id, other = await door.opened(), await door.opened()
    async with listening(door, f"{ACCOUNTS}/{account_id}/ledger") as stream:
        assert [told.id for told in await stream.take(2)] == ["1", "2"]
        await act(door, other, "r")
        await act(door, account_id, "r", 3)
        live = await stream.take(3)
    assert [(told.id, told.event) for told in live] == [(str(seq), "action_rejected") for seq in (3, 4, 5)]
    assert [told.data for told in live] == (await ledger(door, account_id))[2:]


async def test_a_stream_goes_on_after_what_its_reader_saw(door: Door):
    account_id = await door.opened()
    await act(door, account_id, "r", 5)
    path = f"{ACCOUNTS}/{account_id}/ledger"
    for query, after in (("", "4"), ("?afterSeq=4", None), ("?afterSeq=1", "4")):
        async with listening(door, path + query, after=after) as stream:
            assert [told.id for told in await stream.take(3)] == ["5", "6", "7"]
    async with listening(door, f"{path}?type=account_started") as stream:
        assert [told.id for told in await stream.take(1)] == ["2"]
        await act(door, account_id, "r2")
        await door.post(f"/api/v1/admin/prop/accounts/{account_id}/pause", {"reason": "x"})
    async with listening(door, f"{path}?type=account_paused&afterSeq=2") as stream:
        assert [(told.id, told.event) for told in await stream.take(1)] == [("9", "account_paused")]


async def test_everything_of_all_accounts_through_any_number_of_interruptions(door: Door):
    """Readers that come and go while accounts trade; each reconnects with the last id it saw."""
    accounts = [await door.opened() for _ in range(4)]
    done = asyncio.Event()

    async def trade(account_id: str) -> None:
        for run in range(25):
            await act(door, account_id, f"r{run}", 2)

    async def follow(patience: int) -> list[tuple[str, int]]:
        seen: list[tuple[str, int]] = []
        last: str | None = None
        while True:
            async with listening(door, EVENTS, after=last) as stream:
                for _ in range(patience):
                    finished = done.is_set()
                    try:
                        async with asyncio.timeout(2 if finished else 10):
                            told = await stream.next()
                    except TimeoutError:
                        return seen
                    assert told is not None
                    seen.append((told.data["accountId"], told.data["seq"]))
                    last = told.id

    readers = [asyncio.create_task(follow(patience)) for patience in (3, 17, 1_000)]
    await asyncio.gather(*(trade(account_id) for account_id in accounts))
    done.set()
    for seen in await asyncio.gather(*readers):
        assert len(seen) == len(set(seen)) == 4 * 52
        for account_id in accounts:
            assert [seq for account, seq in seen if account == account_id] == list(range(1, 53))


async def test_a_poller_reads_the_same_in_pages(door: Door):
    first, second = await door.opened(), await door.opened()
    await act(door, first, "r", 3)
    seen, cursor = [], ""
    while True:
        page = (await door.get(f"{EVENTS}?limit=2{cursor}")).json
        seen += [(event["accountId"], event["seq"]) for event in page["data"]]
        cursor = f"&cursor={page['nextCursor']}"
        if not page["hasMore"]:
            break
    assert sorted(seen) == sorted([(first, seq) for seq in range(1, 6)] + [(second, 1), (second, 2)])
    assert (await door.get(f"{EVENTS}?limit=2{cursor}")).json["data"] == []
    now = (await door.get(f"{EVENTS}?start=now")).json
    assert (now["data"], now["hasMore"]) == ([], False)
    await act(door, second, "r")
    for start in (cursor.removeprefix("&cursor="), now["nextCursor"]):
        assert [event["seq"] for event in (await door.get(f"{EVENTS}?cursor={start}")).json["data"]] == [3]
        async with listening(door, f"{EVENTS}?cursor={start}") as stream:
            assert [told.data["accountId"] for told in await stream.take(1)] == [second]


async def test_cursors_serve_pages_and_streams_of_every_gateway(door: Door, engine: Desk):
    account_id = await door.opened()
    async with listening(door, EVENTS) as stream:
        last = (await stream.take(2))[1].id
    await act(door, account_id, "r")
    async with gateway_on(engine) as other:
        assert [event["seq"] for event in (await other.get(f"{EVENTS}?cursor={last}")).json["data"]] == [3]
        async with listening(other, EVENTS, after=last) as stream:
            assert [told.data["seq"] for told in await stream.take(1)] == [3]


async def test_who_began_now_and_was_cut_at_once_misses_nothing(door: Door, engine: Desk):
    account_id = await door.opened()
    async with gateway_on(engine) as other, listening(other, f"{EVENTS}?start=now") as stream:
        async with asyncio.timeout(5):
            first = [await stream.response.content.readline() for _ in range(3)]
    assert first[0] == b"retry: 1000\n"
    began = first[1].decode().removeprefix("id: ").strip()
    await act(door, account_id, "r")
    async with listening(door, f"{EVENTS}?start=now", after=began) as stream:
        assert [told.data["seq"] for told in await stream.take(1)] == [3]
    async with listening(door, f"{ACCOUNTS}/{account_id}/ledger", after="0") as stream:
        assert [told.id for told in await stream.take(3)] == ["1", "2", "3"]


async def test_a_long_history_comes_whole(door: Door):
    account_id = await door.opened()
    for run in range(5):
        await act(door, account_id, f"r{run}", 100)
    assert 2 * HISTORY_EVENTS < 502
    async with listening(door, f"{ACCOUNTS}/{account_id}/ledger") as stream:
        assert [told.id for told in await stream.take(502)] == [str(seq) for seq in range(1, 503)]


async def test_what_just_happened_is_told_within_a_quarter_of_a_second(door: Door):
    account_id, late = await door.opened(), []
    async with listening(door, EVENTS) as stream:
        await stream.take(2)
        for run in range(20):
            await act(door, account_id, f"r{run}")
            answered = time.perf_counter()
            await stream.take(1)
            late.append(time.perf_counter() - answered)
    assert sorted(late)[10] < 0.25, late


async def test_a_transaction_that_stays_open_holds_the_end_back_and_loses_nothing(engine: Desk):
    """What commits before it is shown after it, and the streams beat on meanwhile."""
    limits = GatewayLimits(streams=StreamLimits(heartbeat_ms=100, poll_ms=10))
    async with gateway_on(engine, limits) as door, await psycopg.AsyncConnection.connect(engine.url) as slow:
        account_id = await door.opened()
        async with (
            listening(door, EVENTS) as of_all,
            listening(door, f"{ACCOUNTS}/{account_id}/ledger") as of_one,
        ):
            for stream in (of_all, of_one):
                assert [told.data["seq"] for told in await stream.take(2)] == [1, 2]
            await slow.execute("select pg_current_xact_id()")
            await act(door, account_id, "r1", 3)
            page = (await door.get(f"{EVENTS}?limit=10")).json
            assert [event["seq"] for event in page["data"]] == [1, 2]
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(1.5):
                    await of_all.next()
            assert "heartbeat" in of_all.comments
            async with listening(door, f"{ACCOUNTS}/{account_id}/ledger") as late:
                assert [told.data["seq"] for told in await late.take(5)] == [1, 2, 3, 4, 5]  # history is not held back
                await slow.rollback()
                await act(door, account_id, "r2")
                for stream, expected in ((of_all, [3, 4, 5, 6]), (of_one, [3, 4, 5, 6]), (late, [6])):
                    assert [told.data["seq"] for told in await stream.take(len(expected))] == expected
        rest = (await door.get(f"{EVENTS}?cursor={page['nextCursor']}")).json
        assert [event["seq"] for event in rest["data"]] == [3, 4, 5, 6]


async def test_a_quiet_stream_beats(engine: Desk):
    limits = GatewayLimits(streams=StreamLimits(heartbeat_ms=100))
    async with gateway_on(engine, limits) as door:
        await door.opened()
        async with listening(door, EVENTS) as stream:
            await stream.take(2)
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(3.5):
                    await stream.next()
            assert stream.comments.count("heartbeat") >= 2


async def test_a_slow_reader_is_told_to_connect_again_and_misses_nothing(engine: Desk):
    limits = GatewayLimits(streams=StreamLimits(buffer_bytes_max=50_000, poll_ms=10))
    async with gateway_on(engine, limits) as door:
        account_id = await door.opened()
        host, port = door.url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port))) as asleep:
            asleep.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
            asleep.sendall(
                f"GET {EVENTS} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {BOOTSTRAP}\r\n"
                "Accept: text/event-stream\r\n\r\n".encode()
            )
            await asyncio.sleep(0.2)
            for run in range(14):
                await act(door, account_id, f"r{run}", 100, "x" * 4_000)
            heard = await asyncio.to_thread(_everything, asleep)
        told = [line for line in heard.split(b"\n") if line.startswith((b"id: ", b"event: "))]
        assert told[-1] == b"event: resync"
        last = [line for line in told if line.startswith(b"id: ")][-1].removeprefix(b"id: ").decode()
        read = sum(line.startswith(b"event: action_rejected") for line in told) + 2
        async with listening(door, EVENTS, after=last) as stream:
            assert [each.data["seq"] for each in await stream.take(1_402 - read)] == list(range(read + 1, 1_403))


def _everything(reader: socket.socket) -> bytes:
    heard = bytearray()
    reader.settimeout(20)
    while not heard.endswith(b"0\r\n\r\n") and (chunk := reader.recv(65_536)):
        heard += chunk
    return bytes(heard)


async def test_a_proxy_of_http_1_0_is_streamed_to_as_well(door: Door):
    await door.opened()
    host, port = door.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(f"GET {EVENTS} HTTP/1.0\r\nAuthorization: Bearer {BOOTSTRAP}\r\nAccept: {WANTED}\r\n\r\n".encode())
    async with asyncio.timeout(5):
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.0 200 ")
        assert b"Transfer-Encoding" not in head
        assert (await reader.readuntil(b"\n\n")).startswith(b"retry: 1000\nid: ")
        assert b"\nevent: account_created\ndata: {" in await reader.readuntil(b"\n\n")
        assert b"\nevent: account_started\ndata: {" in await reader.readuntil(b"\n\n")
        draining = asyncio.create_task(door.server.drain())
        assert await reader.read() == b": this gateway is stopping; resume with Last-Event-ID\n\n"
        await draining
    writer.close()


async def test_a_reader_that_takes_nothing_at_all_is_cut_off(engine: Desk):
    limits = GatewayLimits(streams=StreamLimits(buffer_bytes_max=50_000, poll_ms=10, stall_ms=300))
    async with gateway_on(engine, limits) as door:
        account_id = await door.opened()
        host, port = door.url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port))) as asleep:
            asleep.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
            asleep.sendall(
                f"GET {EVENTS} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {BOOTSTRAP}\r\n"
                "Accept: text/event-stream\r\n\r\n".encode()
            )
            for run in range(14):
                await act(door, account_id, f"r{run}", 100, "x" * 4_000)
            async with asyncio.timeout(5):
                while b"prop_http_streams 0.0" not in (await door.get("/metrics")).body:
                    await asyncio.sleep(0.05)


async def test_streams_are_counted_apart_from_requests(engine: Desk):
    streams = StreamLimits(streams_max=3, streams_per_token_max=2)
    async with gateway_on(engine, GatewayLimits(in_flight_max=2, in_flight_per_token_max=1, streams=streams)) as door:
        text, _ = await Tokens(engine.writing).create("reader", ["prop:read"])
        other = {"Authorization": f"Bearer {text}"}
        wants = {"Accept": "text/event-stream"}
        async with listening(door, EVENTS), listening(door, EVENTS) as mine:
            assert (await door.get(EVENTS)).status == 200
            assert (await door.get(EVENTS, headers=wants)).refusal == (429, "rate_limited")
            async with door.stream(EVENTS, wants | other) as response:
                assert response.status == 200
                refused = await door.get(EVENTS, headers=wants, token=text)
                assert refused.refusal == (503, "overloaded")
                assert refused.headers["Retry-After"] == "1"
            mine.response.close()
            async with asyncio.timeout(5):
                while (await door.get("/metrics")).body.find(b"prop_http_streams 1.0") < 0:
                    await asyncio.sleep(0.05)


async def test_a_gateway_that_stops_says_so_and_another_goes_on(engine: Desk, door: Door):
    account_id = await door.opened()
    async with gateway_on(engine) as stopping, listening(stopping, EVENTS) as stream:
        assert [told.data["seq"] for told in await stream.take(2)] == [1, 2]
        draining = asyncio.create_task(stopping.server.drain())
        assert await stream.rest() == []
        assert stream.comments[-1] == "this gateway is stopping; resume with Last-Event-ID"
        await asyncio.wait_for(draining, 5)
    await act(door, account_id, "r")
    async with listening(door, EVENTS, after=stream.last_id) as stream:
        assert [told.data["seq"] for told in await stream.take(1)] == [3]


async def test_a_revoked_token_reads_no_further(engine: Desk):
    limits = GatewayLimits(streams=StreamLimits(heartbeat_ms=200))
    async with gateway_on(engine, limits) as door:
        tokens = Tokens(engine.writing)
        text, row = await tokens.create("reader", ["prop:read"])
        headers = {"Authorization": f"Bearer {text}", "Accept": "text/event-stream"}
        async with door.stream(EVENTS, headers) as response:
            assert await tokens.revoke(row.id)
            async with asyncio.timeout(10):
                assert b": unauthenticated\n" in await response.content.read()


async def test_what_cannot_be_followed_is_refused_before_the_stream_begins(door: Door):
    account_id = await door.opened()
    wants = {"Accept": "text/html, text/event-stream;q=0.9"}
    path = f"{ACCOUNTS}/{account_id}/ledger"
    nobody = "01900000-0000-7000-8000-000000000000"
    assert (await door.get(f"{ACCOUNTS}/{nobody}/ledger", headers=wants)).refusal == (404, "account_not_found")
    for hostile in ("-1", "x", "9" * 19, "1.5"):
        heard = await door.get(path, headers=wants | {"Last-Event-ID": hostile})
        assert (heard.refusal, heard.pointers) == (
            (422, "invalid_request"),
            {"/header/Last-Event-ID": "invalid_format"},
        )
    for hostile in ("1", "x" * 2_000, "AAAA"):
        assert (await door.get(EVENTS, headers=wants | {"Last-Event-ID": hostile})).refusal == (422, "invalid_cursor")
        assert (await door.get(f"{EVENTS}?cursor={hostile}")).refusal == (422, "invalid_cursor")
    assert (await door.get(EVENTS, headers=wants, token=None)).refusal == (401, "unauthenticated")
    assert (await door.get(f"{EVENTS}?start=yesterday")).pointers == {"/query/start": "not_allowed"}
    assert (await door.send("HEAD", EVENTS, headers=wants)).status == 200
