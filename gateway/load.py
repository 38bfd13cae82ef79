"""Load: one kind of request over so many connections for so long, and how it was answered.

Raw HTTP/1.1 on asyncio, since a comfortable client would take more of the machine than the engine it measures. Each
connection sends its next request when the last was answered, as an agent does. `python -m gateway.load URL ...` prints
one JSON document: a process of its own, for whoever wants to measure from outside.
"""

import argparse
import asyncio
import json
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from statistics import median, quantiles
from typing import Any, Final, Literal
from urllib.parse import urlsplit

import msgspec

from gateway.commands.terminal import print_json

Kind = Literal["actions", "dry-run", "snapshot", "health"]
KINDS: Final[tuple[Kind, ...]] = ("actions", "dry-run", "snapshot", "health")
ANSWER_SECONDS_MAX: Final = 30.0
"""How long the last answers are waited for."""
WARM_UP: Final = 0.2
"""A share of the time that is spent first and not counted."""
SMALLEST: Final = "0.00000100"
"""What every action opens: so little that no gate of money ever minds."""


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What is asked of the gateway at `url`, over how many connections, and for how long. `actions`: in a request."""

    url: str
    token: str
    accounts: Sequence[str]
    symbol: str = "BTC-USD"
    kind: Kind = "actions"
    connections: int = 64
    actions: int = 1
    seconds: float = 5.0


class Answers(msgspec.Struct, frozen=True, kw_only=True):
    """What came back: per second, milliseconds, and how often each HTTP status (with the number of actions executed
    where not all were)."""

    requests_per_s: float
    actions_per_s: float
    p50_ms: float
    p99_ms: float
    by_status: dict[str, int]

    @property
    def are_well(self) -> bool:
        """Whether all that was asked was done."""
        return set(self.by_status) == {"200"}


async def load(plan: Plan) -> Answers:
    """Carry a plan out. Raises `OSError` where nobody listens or a connection is lost, `TimeoutError` where the last
    answers do not come."""
    address = urlsplit(plan.url)
    host, port = address.hostname or "", address.port or 80
    loop = asyncio.get_running_loop()
    tally = _Tally(plan)
    made = [
        await loop.create_connection(partial(_Connection, tally, _requests(plan, number)), host, port)
        for number in range(plan.connections)
    ]
    ended = asyncio.gather(*(connection.ended for _, connection in made))
    for error in await asyncio.wait_for(ended, plan.seconds + ANSWER_SECONDS_MAX):
        if error is not None:
            raise error
    return tally.answers()


class _Tally:
    """Counts what comes back after the warm-up and before the end."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._since = time.perf_counter() + plan.seconds * WARM_UP
        self.until = self._since + plan.seconds
        self._latencies: list[float] = []
        self._statuses: Counter[str] = Counter()

    def answered(self, answer: bytearray, began: float, now: float) -> None:
        if not self._since <= now <= self.until:
            return
        self._latencies.append(now - began)
        status = bytes(answer[9:12]).decode()
        if self._plan.kind in ("actions", "dry-run"):
            executed = answer.count(b'"status":"executed"')
            status = status if executed == self._plan.actions else f"{status}, {executed} executed"
        self._statuses[status] += 1

    def answers(self) -> Answers:
        rate = len(self._latencies) / self._plan.seconds
        several = len(self._latencies) > 1
        return Answers(
            requests_per_s=rate,
            actions_per_s=rate * self._plan.actions,
            p50_ms=median(self._latencies or [0]) * 1000,
            p99_ms=quantiles(self._latencies, n=100)[98] * 1000 if several else 0,
            by_status=dict(self._statuses),
        )


class _Connection(asyncio.Protocol):
    """One connection: a request in flight, its answer awaited, the next one sent."""

    def __init__(self, tally: _Tally, request: Callable[[], bytes]) -> None:
        self._tally = tally
        self._request = request
        self._received = bytearray()
        self._whole = 0
        self.ended: asyncio.Future[Exception | None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # of a stream, it is one
        self._transport = transport
        self._send()

    def data_received(self, data: bytes) -> None:
        self._received += data
        if not self._whole:
            head = self._received.find(b"\r\n\r\n")
            if head < 0:
                return
            length = bytes(self._received[:head]).lower().split(b"content-length:")[1].split(b"\r\n")[0]
            self._whole = head + 4 + int(length)
        if len(self._received) >= self._whole:
            now = time.perf_counter()
            self._tally.answered(self._received, self._began, now)
            self._received.clear()
            self._whole = 0
            if now < self._tally.until:
                self._send()
            else:
                self._transport.close()

    def connection_lost(self, error: Exception | None) -> None:
        closed = None if self._transport.is_closing() else ConnectionResetError("the gateway closed a connection")
        if not self.ended.done():
            self.ended.set_result(error or closed)

    def _send(self) -> None:
        self._began = time.perf_counter()
        self._transport.write(self._request())


def _requests(plan: Plan, connection: int) -> Callable[[], bytes]:
    """Makes one request after another, to one account after another, each under ids of its own."""
    run, sent = f"load-{time.time_ns():x}-{connection}", 0
    headers = f" HTTP/1.1\r\nHost: {urlsplit(plan.url).netloc}\r\nAuthorization: Bearer {plan.token}\r\n"

    def request() -> bytes:
        nonlocal sent
        sent += 1
        if plan.kind == "health":
            return f"GET /livez{headers}\r\n".encode()
        path = f"/api/v1/prop/accounts/{plan.accounts[(connection + sent * plan.connections) % len(plan.accounts)]}"
        if plan.kind == "snapshot":
            return f"GET {path}/snapshot{headers}\r\n".encode()
        body = _body(plan, f"{run}-{sent}")
        query = "?dryRun=true" if plan.kind == "dry-run" else ""
        posted = f"POST {path}/decision-actions{query}{headers}Content-Type: application/json\r\n"
        return f"{posted}Content-Length: {len(body)}\r\n\r\n{body}".encode()

    return request


def _body(plan: Plan, run: str) -> str:
    asked: dict[str, Any] = {"action": "open", "symbol": plan.symbol, "side": "long", "quantity": SMALLEST}
    actions = [{"decisionActionId": f"a{place}", **asked} for place in range(plan.actions)]
    return json.dumps({"decisionRunId": run, "actions": actions})


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m gateway.load", description=__doc__)
    parser.add_argument("url")
    parser.add_argument("--token", default="")
    parser.add_argument("--accounts", required=True, help="ids, with commas between them")
    parser.add_argument("--symbol", default="BTC-USD")
    parser.add_argument("--kind", choices=KINDS, default="actions")
    parser.add_argument("--connections", type=int, default=64)
    parser.add_argument("--actions", type=int, default=1, help="in a request")
    parser.add_argument("--seconds", type=float, default=5)
    asked = vars(parser.parse_args())
    plan = Plan(**{**asked, "accounts": asked["accounts"].split(",")})
    from gateway.server import new_event_loop

    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        print_json(msgspec.to_builtins(runner.run(load(plan))))
    return 0


if __name__ == "__main__":
    sys.exit(main())
