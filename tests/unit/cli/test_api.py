"""The client: what is sent again, and that it is sent again as it was."""

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from gateway.commands import api as api_module
from gateway.commands.api import Api, ApiError, Unreachable
from gateway.demo.strategies import Action, Sight
from gateway.demo.trader import Event, Standing, Trader

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


# ---------------------------------------------------------------- the trader


class BuysOnce:
    name = "buys-once"
    policy: Mapping[str, Any] = {}

    def decide(self, sight: Sight) -> list[Action]:
        return [] if sight.held else [{"action": "open", "symbol": "IBM", "side": "long", "quantity": "1"}]

    def second_try(self, action: Action, max_quantity: Any) -> Action | None:
        return None


def account(number: int, status: str) -> dict[str, Any]:
    return {
        "id": f"account-{number}",
        "status": status,
        "startingBalance": "100000.00000000",
        "currency": "USDC",
        "endReason": "drawdown" if status == "liquidated" else None,
    }


def context(status: str) -> dict[str, Any]:
    snapshot = {
        "account": account(2, status),
        "balance": {"equity": "40000.00000000", "drawdown": "0.60000000"},
        "positions": [],
        "counters": {"fills": 1, "rejected": 0},
    }
    return {"snapshot": snapshot, "symbols": []}


async def test_a_trader_takes_the_account_that_is_still_open_and_sends_a_lost_decision_again_as_it_was():
    fill = {"intent": "open", "side": "long", "quantity": "1", "symbol": "IBM", "price": "100", "realizedPnl": "0"}
    executed = {"status": "executed", "fill": fill, "maxQuantity": None}

    def answers(method: str, path: str, times: int) -> Answer:
        match path.rpartition("/")[2]:
            case "accounts":
                return 200, account(times + 1, "liquidated" if times == 0 else "pending")
            case "start":
                return 200, account(2, "active")
            case "decision-context":
                return 200, context("active" if times == 0 else "liquidated")
            case _:
                return None if times == 0 else (200, {"results": [executed]})

    told: list[Event] = []

    class Ended(Exception):
        pass

    def tell(event: Event, standing: Standing) -> None:
        told.append(event)
        if event.kind == "liquidated":
            raise Ended

    gateway = Gateway(answers)
    async with served(gateway) as api:
        with pytest.raises(Ended):
            await Trader(BuysOnce(), api, seconds=0, tell=tell).run()

    opened = [body["idempotencyKey"] for _, path, body in gateway.asked if path == "/accounts"]
    assert opened == ["demo-buys-once-1", "demo-buys-once-2"]
    first, second = (body for _, path, body in gateway.asked if path.endswith("decision-actions"))
    assert first == second
    assert [event.text for event in told] == [
        "started with 100,000 USDC",
        "fill long 1 IBM @ 100",
        "LIQUIDATED at equity 40,000.00, drawdown 60.0%",
    ]
