"""A gateway that plays a script, for tests of the client."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web
from aiohttp.test_utils import TestServer

from prop import AsyncProp

Answer = tuple[int, Any] | None
"""Status and body; None drops the connection."""

ByPath = Callable[[str, int], Answer]
"""The answer to a path that was asked so many times before."""


class Scripted:
    """A gateway that answers as it is told, in turn (the last answer for ever) or `by` path, and remembers what was
    asked."""

    def __init__(self, *answers: Answer, by: ByPath | None = None, headers: dict[str, str] | None = None) -> None:
        self.asked: list[tuple[str, str, str]] = []
        self._answers = list(answers)
        self._by = by
        self._headers = headers

    async def answer(self, request: web.Request) -> web.Response:
        times = sum((method, path) == (request.method, request.path_qs) for method, path, _ in self.asked)
        self.asked.append((request.method, request.path_qs, await request.text()))
        if self._by is not None:
            answer = self._by(request.path, times)
        else:
            answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        if answer is None:
            assert request.transport is not None
            request.transport.abort()
            return web.Response()
        return web.json_response(answer[1], status=answer[0], headers=self._headers)

    @asynccontextmanager
    async def client(self, deadline_s: float = 5.0, attempts_max: int | None = None) -> AsyncIterator[AsyncProp]:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self.answer)
        async with (
            TestServer(app) as server,
            AsyncProp(str(server.make_url("")), "token", deadline_s=deadline_s, attempts_max=attempts_max) as client,
        ):
            yield client


def problem(status: int, code: str) -> Answer:
    return status, {"code": code, "detail": f"because {code}", "requestId": "r-1", "retryable": status in (429, 503)}
