"""The client: what is sent again, and that it is sent again as it was."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from gateway.commands import api as api_module
from gateway.commands.api import Api, ApiError, Unreachable

Answer = tuple[int, dict[str, Any]] | None
"""Status and body; None drops the connection."""


class Gateway:
    """Answers as it is told to, and remembers what was asked."""

    def __init__(self, answers: Callable[[str, str, int], Answer]) -> None:
        self.asked: list[tuple[str, str, Any]] = []
        self._answers = answers

    async def answer(self, request: web.Request) -> web.Response:
        body = await request.json() if request.body_exists else None
        path = request.path.removeprefix("/api/v1/prop")
        times = sum((method, asked) == (request.method, path) for method, asked, _ in self.asked)
        self.asked.append((request.method, path, body))
        answer = self._answers(request.method, path, times)
        if answer is None:
            if request.transport is not None:
                request.transport.abort()
            return web.Response()
        status, said = answer
        return web.json_response(said, status=status)


@asynccontextmanager
async def served(gateway: Gateway) -> AsyncIterator[Api]:
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", gateway.answer)
    async with TestServer(app) as server, Api(str(server.make_url("")).rstrip("/"), "token") as api:
        yield api


def problem(status: int, code: str) -> Answer:
    return status, {"code": code, "detail": f"because {code}"}


@pytest.fixture(autouse=True)
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api_module, "BACKOFF_SECONDS_MAX", 0.01)


async def test_a_patient_call_repeats_itself_until_it_is_answered():
    script: list[Answer] = [
        problem(503, "outcome_unknown"),
        None,
        problem(429, "rate_limited"),
        (200, {"done": True}),
    ]
    gateway = Gateway(lambda method, path, times: script[times])
    async with served(gateway) as api:
        assert await api.post("/accounts", {"idempotencyKey": "k"}, patient=True) == {"done": True}
    assert gateway.asked == [("POST", "/accounts", {"idempotencyKey": "k"})] * 4


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 422, 500])
async def test_a_no_is_not_asked_again(status: int):
    gateway = Gateway(lambda method, path, times: problem(status, "no"))
    async with served(gateway) as api:
        with pytest.raises(ApiError, match=f"{status} no: because no"):
            await api.post("/accounts", {}, patient=True)
    assert len(gateway.asked) == 1


async def test_an_impatient_call_asks_once():
    gateway = Gateway(lambda method, path, times: problem(503, "overloaded"))
    async with served(gateway) as api:
        with pytest.raises(ApiError, match="503 overloaded"):
            await api.get("/accounts")
    assert len(gateway.asked) == 1


async def test_nobody_there():
    async with Api("http://127.0.0.1:1", "token") as api:
        with pytest.raises(Unreachable, match=r"http://127\.0\.0\.1:1 does not answer"):
            await api.get("/accounts")


async def test_rows_follow_the_cursor():
    pages: list[Answer] = [
        (200, {"data": [1, 2], "hasMore": True, "nextCursor": "c"}),
        (200, {"data": [3], "hasMore": False}),
    ]
    async with served(Gateway(lambda method, path, times: pages[times])) as api:
        assert [row async for row in api.rows("/accounts")] == [1, 2, 3]
