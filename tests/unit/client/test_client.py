"""The client: light, whole, in step with the API, and stubborn only where that is safe."""

import ast
import asyncio
import inspect
import json
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from pydantic import ValidationError

import prop.models
from gateway.client_models import module
from gateway.problems import KINDS
from prop import ActionIn, AsyncProp, Prop, Refused, Unreachable, errors, stream, transport
from tests.support.replies import described
from tests.support.scripted import Scripted, problem

ACCOUNT = described("AccountView")


def test_it_imports_aiohttp_and_pydantic_and_nothing_of_the_engine():
    heavy = "ray sqlalchemy psycopg msgspec structlog prometheus_client alembic typer rich uvloop"
    ours = "engine persistence actors gateway configs"
    seen = subprocess.run(
        [sys.executable, "-c", f"import sys, prop; print(sorted(set('{heavy} {ours}'.split()) & set(sys.modules)))"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert seen.stdout.strip() == "[]"


def test_its_models_are_those_of_the_api():
    written = Path(prop.models.__file__).read_text()
    assert ast.dump(ast.parse(written)) == ast.dump(ast.parse(module())), "a reply or a request changed: `make client`"


def test_there_is_an_exception_for_every_code():
    assert set(KINDS) - set(Refused.codes) == set()
    assert errors.__doc__ is not None
    for code, kind in Refused.codes.items():
        assert kind.__name__ in errors.__doc__, code
        assert isinstance(errors.refusal(409, {"code": code}), kind)


@pytest.mark.parametrize(
    ("status", "family"),
    [(400, errors.BadInput), (404, errors.NotFound), (409, errors.Conflict), (503, errors.Busy), (500, errors.Failed)],
)
def test_a_code_of_tomorrow_is_of_its_family(status: int, family: type[Refused]):
    refused = errors.refusal(status, {"code": "of_tomorrow", "detail": "so", "requestId": "r", "limit": "5"})
    assert type(refused) is family
    assert (refused.code, refused.members) == ("of_tomorrow", {"limit": "5"})


def public(client: type) -> dict[str, Any]:
    return {name: each for name, each in inspect.getmembers(client, callable) if not name.startswith("_")}


def test_the_sync_face_has_every_method_and_its_text():
    asynchronous, blocking = public(AsyncProp), public(Prop)
    assert set(asynchronous) == set(blocking)
    for name, method in asynchronous.items():
        if name != "close":
            assert blocking[name].__doc__ == method.__doc__
            assert inspect.signature(blocking[name]).parameters == inspect.signature(method).parameters


def test_money_is_never_a_float():
    assert ActionIn(decision_action_id="a", action="open", quantity="0.10").wire()["quantity"] == "0.10"
    assert ActionIn(decision_action_id="a", action="open", quantity=Decimal("1E+3")).wire()["quantity"] == "1000"
    with pytest.raises(ValidationError, match="no float"):
        ActionIn(decision_action_id="a", action="open", quantity=0.1)


def test_a_reply_is_written_as_the_api_writes_it():
    snapshot = described("AgedSnapshot")
    snapshot["account"]["createdAt"] = "2026-01-31T23:59:59.000000Z"
    assert prop.models.Snapshot.model_validate(snapshot).wire() == snapshot


# ---------------------------------------------------------------- what is sent again


@pytest.fixture(autouse=True)
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport, "PAUSE_SECONDS_FIRST", 0.01)
    monkeypatch.setattr(transport, "PAUSE_SECONDS_MAX", 0.02)


async def test_a_write_is_sent_again_as_it_was_until_it_is_answered():
    answers = [problem(503, "outcome_unknown"), None, problem(429, "rate_limited"), problem(408, "request_timeout")]
    gateway = Scripted(*answers, (422, {"code": "invalid_request"}))
    async with gateway.client() as client:
        with pytest.raises(errors.InvalidRequest) as refused:
            await client.create_account("o", "c")
        with pytest.raises(errors.InvalidRequest):
            await client.decide("a", [{"action": "hold"}])
    assert refused.value.attempts == 5
    assert len(set(gateway.asked[:5])) == 1
    assert '"idempotencyKey": "made:' in gateway.asked[0][2]
    assert '"decisionRunId": "made:' in gateway.asked[5][2]


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 422, 500])
async def test_a_no_is_not_asked_again(status: int):
    gateway = Scripted(problem(status, "no"))
    async with gateway.client() as client:
        with pytest.raises(Refused, match=f"{status} no: because no"):
            await client.account("a")
    assert len(gateway.asked) == 1


async def test_the_pause_that_is_asked_for_is_made_unless_the_deadline_comes_first():
    gateway = Scripted(problem(429, "rate_limited"), (200, {"live": True}), headers={"Retry-After": "1"})
    loop = asyncio.get_running_loop()
    async with gateway.client() as client:
        since = loop.time()
        assert await client.live()
        assert 1.0 <= loop.time() - since < 2.0
    gateway = Scripted(problem(503, "overloaded"), headers={"Retry-After": "60"})
    async with gateway.client() as client:
        since = loop.time()
        with pytest.raises(errors.Overloaded) as refused:
            await client.live()
        assert loop.time() - since < 1.0
    assert (refused.value.retry_after_s, refused.value.request_id, refused.value.retryable) == (60.0, "r-1", True)


async def test_a_deadline_ends_it():
    gateway = Scripted(problem(503, "overloaded"))
    async with gateway.client(deadline_s=0.5) as client:
        with pytest.raises((errors.Overloaded, Unreachable)):  # as the last attempt was answered, or cut short
            await client.account("a")
    assert len(gateway.asked) > 2
    async with AsyncProp("http://127.0.0.1:1", "token", deadline_s=0.1) as client:
        with pytest.raises(Unreachable, match=r"http://127\.0\.0\.1:1 does not answer"):
            await client.live()


async def test_an_ending_that_an_earlier_attempt_made_is_a_success():
    terminal = problem(409, "account_terminal")
    for status, succeeds in (("completed", True), ("liquidated", False)):
        gateway = Scripted(None, terminal, (200, {**ACCOUNT, "status": status}))
        async with gateway.client() as client:
            if succeeds:
                assert (await client.complete("a")).status == "completed"
            else:
                with pytest.raises(errors.AccountTerminal):
                    await client.complete("a")
        assert [method for method, _, _ in gateway.asked] == ["POST", "POST", "GET"]


async def test_an_account_that_had_ended_before_is_not_ended_again():
    gateway = Scripted(problem(409, "account_terminal"))
    async with gateway.client() as client:
        with pytest.raises(errors.AccountTerminal):
            await client.complete("a")
    assert len(gateway.asked) == 1


async def test_what_is_not_this_api_is_said_so():
    gateway = Scripted((502, {"html": "<h1>Bad Gateway</h1>"}))
    async with gateway.client(attempts_max=1) as client:
        with pytest.raises(Unreachable, match="does not speak this API: 502"):
            await client.live()


@pytest.mark.parametrize("said", [{"of": "another program"}, [], 5, {"data": [], "hasMore": True}])
async def test_an_answer_of_another_shape_is_no_answer(said: Any):
    gateway = Scripted((200, said))
    async with gateway.client() as client:
        with pytest.raises(Unreachable, match="the answer is no Account of this API"):
            await client.account("a")
        with pytest.raises(Unreachable, match="the answer is no"):
            [fill async for fill in client.fills("a")]
    assert len(gateway.asked) == 2  # what was answered is not asked again


async def test_a_redirect_is_not_followed():
    gateway = Scripted((307, {}), headers={"Location": "/elsewhere"})
    async with gateway.client(attempts_max=1) as client:
        with pytest.raises(Unreachable, match="does not speak this API: 307"):
            await client.start("a")
    assert {path for _, path, _ in gateway.asked} == {"/api/v1/prop/accounts/a/start"}


@pytest.mark.parametrize("name", ["..", ".", "a/b", "a?b=c", "a b", "a%2Fb"])
async def test_a_name_in_a_path_stays_one_segment_of_it(name: str):
    gateway = Scripted((200, {"data": [], "hasMore": False, "nextCursor": None}))
    async with gateway.client() as client:
        assert [each async for each in client.clone_accounts(name)] == []
    ((_, path, _),) = gateway.asked
    before, quoted, after = path.partition("/api/v1/prop/clones/" + quote(name, safe=""))
    assert (before, quoted != "", after) == ("", True, "/accounts?limit=500")


async def test_a_client_that_is_told_to_asks_once():
    gateway = Scripted(problem(503, "overloaded"))
    async with gateway.client(attempts_max=1) as client:
        with pytest.raises(errors.Overloaded):
            await client.live()
    assert len(gateway.asked) == 1


@pytest.mark.parametrize("url", ["", "localhost:8080", "http://", "ftp://x", "http://[::1", "http://x/?a=b"])
def test_what_is_no_address_is_said_at_once(url: str):
    with pytest.raises(ValueError, match="no address of a gateway"):
        AsyncProp(url, "token")
    with pytest.raises(ValueError, match="printable ASCII"):
        AsyncProp("http://x", "tok\n")


async def test_a_closed_client_asks_nothing_more():
    gateway = Scripted((200, {"live": True}))
    async with gateway.client() as client:
        assert await client.live()
        await client.close()
        for ask in (client.live(), anext(client.events())):
            with pytest.raises(Unreachable, match="this client is closed"):
                await ask
    assert len(gateway.asked) == 1


@pytest.mark.filterwarnings("error")
def test_a_closed_client_is_closed():
    client = Prop("http://127.0.0.1:1", "token", deadline_s=0.05)
    with pytest.raises(Unreachable):
        client.live()
    client.close()
    client.close()
    for ask in (client.live, lambda: next(client.events())):
        with pytest.raises(Unreachable, match="this client is closed"):
            ask()


async def test_closing_ends_what_other_threads_wait_for():
    async with Streaming([]).url() as url:
        for _ in range(20):
            client = Prop(url, "token")
            waiting = asyncio.create_task(asyncio.to_thread(next, client.events()))
            while not asyncio.all_tasks(client._loop):
                await asyncio.sleep(0.001)
            await asyncio.to_thread(client.close)
            with pytest.raises(Unreachable, match="this client is closed"):
                await asyncio.wait_for(waiting, 5)


# ---------------------------------------------------------------- streams


EVENT = described("LedgerRow")


class Streaming:
    """A gateway whose streams play a script each, the last one for ever: seqs to tell of, and seconds to be quiet for;
    then the connection is cut. It remembers the places it was asked for."""

    def __init__(self, *scripts: list[int | float]) -> None:
        self.asked: list[str | None] = []
        self._scripts = list(scripts)

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.asked.append(request.headers.get("Last-Event-ID"))
        script = self._scripts.pop(0) if len(self._scripts) > 1 else self._scripts[0]
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        await response.write(f"retry: 1000\nid: {self.asked[-1] or 'the beginning'}\n\n".encode())
        for step in script:
            if isinstance(step, float):
                await asyncio.sleep(step)
            else:
                data = json.dumps({**EVENT, "seq": step})
                await response.write(f"id: {step}\nevent: x\ndata: {data}\n\n".encode())
        if not script:
            await asyncio.Event().wait()
        assert request.transport is not None
        request.transport.abort()
        return response

    @asynccontextmanager
    async def url(self) -> AsyncIterator[str]:
        app = web.Application()
        app.router.add_get("/{path:.*}", self.answer)
        async with TestServer(app) as server:
            yield str(server.make_url(""))


async def test_a_stream_that_was_quiet_for_longer_than_the_deadline_is_taken_up_again():
    gateway = Streaming([1, 1.1], [2, 1.1], [3])
    async with gateway.url() as url, AsyncProp(url, "token", deadline_s=1.0) as client:
        events = client.events()
        assert [(await anext(events)).seq for _ in range(3)] == [1, 2, 3]
    assert gateway.asked == [None, "1", "2"]


async def test_who_began_now_and_was_cut_before_anything_came_goes_on_from_then():
    gateway = Streaming([0.0], [1])
    async with gateway.url() as url, AsyncProp(url, "token") as client:
        assert (await anext(client.events(start="now"))).seq == 1
    assert gateway.asked == [None, "the beginning"]


async def test_a_stream_that_brings_nothing_is_taken_up_again_for_ever(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(stream, "LASTED_SECONDS", 0.1)
    gateway = Streaming(*([0.2] for _ in range(7)), [7])
    async with gateway.url() as url, AsyncProp(url, "token", deadline_s=1.0) as client:
        assert (await anext(client.events(after="6"))).seq == 7
    assert gateway.asked == ["6"] * 8


async def test_a_stream_that_ends_at_once_again_and_again_is_given_up():
    gateway = Streaming([0.0])
    async with gateway.url() as url, AsyncProp(url, "token", deadline_s=0.5) as client:
        with pytest.raises(Unreachable, match="does not stream"):
            await anext(client.events())
    assert len(gateway.asked) > 1


async def test_what_is_no_stream_is_said_so():
    gateway = Scripted((200, {"data": []}))
    async with gateway.client(attempts_max=1) as client:
        with pytest.raises(Unreachable, match="does not speak this API"):
            await anext(client.events())
