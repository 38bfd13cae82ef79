"""`python -m benchmarks.actions.client URL ...`: decision actions over so many connections; prints a JSON document.

A process of its own, since it shares nothing with what it measures, and a small one: it takes as little of the cores as
a client in Python can. Each connection sends its next request when the last was answered, as an agent does.
"""

import argparse
import asyncio
import json
import sys
import time
from collections import Counter
from functools import partial
from statistics import median, quantiles
from urllib.parse import urlsplit

import uvloop

ANSWER_SECONDS_MAX = 30.0
ACTION = {"action": "open", "symbol": "BTC-USD", "side": "long", "quantity": "0.00000100", "leverage": "2"}
REQUEST = """POST {path} HTTP/1.1\r
Host: {host}\r
Authorization: Bearer {token}\r
Content-Type: application/json\r
Content-Length: {length}\r
\r
"""


class Connection(asyncio.Protocol):
    """One connection: a request in flight, its answer awaited, the next one sent."""

    def __init__(self, load: "Load", number: int) -> None:
        self._load = load
        self._number = number
        self._sent = 0
        self._received = bytearray()
        self._whole = 0
        self.ended = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # of a stream, it is one
        self._transport = transport
        self._send()

    def data_received(self, data: bytes) -> None:
        self._received += data
        if not self._whole:
            head = self._received.find(b"\r\n\r\n")
            if head < 0:
                return
            headers = bytes(self._received[:head]).lower()
            length = int(headers.split(b"content-length:")[1].split(b"\r\n")[0])
            self._whole = head + 4 + length
        if len(self._received) >= self._whole:
            now = time.perf_counter()
            self._load.answered(self._received, now - self._began, now)
            self._received.clear()
            self._whole = 0
            if now < self._load.until:
                self._send()
            else:
                self._transport.close()

    def connection_lost(self, error: Exception | None) -> None:
        if not self.ended.done():
            self.ended.set_result(error)

    def _send(self) -> None:
        self._sent += 1
        self._began = time.perf_counter()
        self._transport.write(self._load.request(self._number, self._sent))


class Load:
    """What is sent and what came back. A warm-up of a fifth of the time is not counted."""

    def __init__(self, options: argparse.Namespace) -> None:
        self._host = urlsplit(options.url).netloc
        self._token = options.token
        self._accounts = options.accounts.split(",")
        self._connections = options.connections
        self._actions = options.actions
        self._run = f"{options.run}-{time.time_ns():x}"
        now = time.perf_counter()
        self.since = now + options.seconds / 5
        self.until = self.since + options.seconds
        self.latencies: list[float] = []
        self.statuses: Counter[str] = Counter()

    def request(self, connection: int, number: int) -> bytes:
        account = self._accounts[(connection + number * self._connections) % len(self._accounts)]
        body = json.dumps(
            {
                "decisionRunId": f"{self._run}-{connection}-{number}",
                "actions": [{"decisionActionId": f"a{place}", **ACTION} for place in range(self._actions)],
            }
        ).encode()
        path = f"/api/v1/prop/accounts/{account}/decision-actions"
        head = REQUEST.format(path=path, host=self._host, token=self._token, length=len(body))
        return head.encode() + body

    def answered(self, answer: bytearray, seconds: float, now: float) -> None:
        if self.since <= now <= self.until:
            self.latencies.append(seconds)
            status = bytes(answer[9:12]).decode()
            executed = answer.count(b'"executed"')
            self.statuses[status if executed == self._actions else f"{status}, {executed} executed"] += 1


async def run(options: argparse.Namespace) -> Load:
    load = Load(options)
    loop = asyncio.get_running_loop()
    address = urlsplit(options.url)
    made = [
        await loop.create_connection(partial(Connection, load, number), address.hostname, address.port)
        for number in range(options.connections)
    ]
    ended = asyncio.gather(*(connection.ended for _, connection in made))
    for error in await asyncio.wait_for(ended, options.seconds + ANSWER_SECONDS_MAX):
        if error is not None:
            raise error
    return load


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.actions.client", description=__doc__)
    parser.add_argument("url")
    parser.add_argument("--token", default="")
    parser.add_argument("--accounts", required=True, help="ids, with commas between them")
    parser.add_argument("--connections", type=int, default=64)
    parser.add_argument("--actions", type=int, default=1, help="in a request")
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--run", default="bench", help="what decision run ids begin with")
    options = parser.parse_args()
    load = uvloop.run(run(options))
    latencies = load.latencies
    hundredths = quantiles(latencies, n=100) if len(latencies) > 1 else [0.0] * 99
    summary = {
        "actions_per_s": len(latencies) * options.actions / options.seconds,
        "p50_ms": median(latencies or [0]) * 1000,
        "p99_ms": hundredths[98] * 1000,
        "answers": load.statuses,
    }
    print(json.dumps(summary))
    return 0


if __name__ == "__main__":
    sys.exit(main())
