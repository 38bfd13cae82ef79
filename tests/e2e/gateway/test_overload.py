"""Ten times the load it can serve: a gateway sheds what is too much, stays as large as it was, and is itself again."""

import asyncio
import statistics
import subprocess
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import psutil
import pytest

from persistence.pools import connection_pool
from persistence.tokens import Tokens
from tests.e2e.gateway.conftest import BOOTSTRAP

pytestmark = pytest.mark.postgres

IN_FLIGHT_MAX, PER_TOKEN_MAX = 16, 12
CONNECTIONS = 10 * IN_FLIGHT_MAX
CAPACITY_SECONDS = 1.5
LOAD_SECONDS = 4.0
RECOVERY_SECONDS_MAX = 10.0
GROWTH_BYTES_MAX = 48 * 1024 * 1024
"""What connections, receipts and freed but not returned pages may take; a queue that grows takes more in a second."""
ACTIONS = [{"decisionActionId": f"a{place}", "action": "hold", "rationale": "x" * 200} for place in range(100)]
Answers = Counter[tuple[int, str | None, bool]]
"""(status, code, whether Retry-After was given), counted."""


class Loaded:
    """One gateway in a process of its own, and accounts to load it with."""

    def __init__(self, url: str, process: psutil.Process, http: aiohttp.ClientSession, tokens: list[str]) -> None:
        self.process = process
        self._url = url + "/api/v1/prop/accounts"
        self._http = http
        self._tokens = tokens
        self._accounts: list[str] = []
        self._runs = 0

    async def open_accounts(self, count: int) -> None:
        for _ in range(count):
            account = await self._post(self._url, {"ownerId": "o", "cloneId": "c"})
            await self._post(f"{self._url}/{account['id']}/start", {})
            self._accounts.append(account["id"])

    async def _post(self, url: str, body: dict[str, object]) -> dict[str, str]:
        headers = {"Authorization": f"Bearer {BOOTSTRAP}"}
        async with self._http.post(url, json=body, headers=headers) as answer:
            assert answer.status < 300, await answer.text()
            found: dict[str, str] = await answer.json()
            return found

    async def send(self) -> tuple[int, str | None, bool]:
        """One batch of a hundred actions: some hundred rows to judge, hash and commit."""
        self._runs += 1
        path = f"{self._url}/{self._accounts[self._runs % len(self._accounts)]}/decision-actions"
        headers = {"Authorization": f"Bearer {self._tokens[self._runs % len(self._tokens)]}"}
        body = {"decisionRunId": f"r{self._runs}", "actions": ACTIONS}
        async with self._http.post(path, json=body, headers=headers) as answer:
            if answer.status == 200:
                await answer.read()
                return 200, None, False
            problem = await answer.json(content_type=None)
            return answer.status, problem["code"], "Retry-After" in answer.headers

    async def load(self, senders: int, seconds: float) -> Answers:
        """`senders` that send again as soon as they are answered."""
        answers: Answers = Counter()
        until = time.monotonic() + seconds

        async def sender() -> None:
            while time.monotonic() < until:
                answers[await self.send()] += 1

        await asyncio.gather(*(sender() for _ in range(senders)))
        return answers


@asynccontextmanager
async def loaded(database_url: str) -> AsyncIterator[Loaded]:
    async with connection_pool(database_url, connections_max=1, read_only=False) as pool:
        made = [await Tokens(pool).create(name, ["prop:trade"]) for name in ("one", "other")]
    command = [sys.executable, "-m", "tests.e2e.gateway.served_desk", database_url]
    serving = subprocess.Popen(
        [*command, str(IN_FLIGHT_MAX), str(PER_TOKEN_MAX)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert serving.stdin is not None
    assert serving.stdout is not None
    connector = aiohttp.TCPConnector(limit=CONNECTIONS)
    try:
        url = (await asyncio.to_thread(serving.stdout.readline)).strip()
        async with aiohttp.ClientSession(connector=connector) as http:
            gateway = Loaded(url, psutil.Process(serving.pid), http, [text for text, _ in made])
            await gateway.open_accounts(8)
            yield gateway
    finally:
        serving.stdin.close()
        try:
            serving.wait(20)
        finally:
            serving.kill()


async def test_ten_times_the_load_is_shed_and_survived(database_url: str):
    async with loaded(database_url) as gateway:
        at_ease = await gateway.load(PER_TOKEN_MAX // 2, CAPACITY_SECONDS)
        assert set(at_ease) == {(200, None, False)}
        capacity = at_ease.total() / CAPACITY_SECONDS
        idle_seconds = statistics.median([await timed(gateway) for _ in range(10)])

        before = gateway.process.memory_info().rss
        peak = asyncio.create_task(peak_rss(gateway.process, LOAD_SECONDS))
        heard = await gateway.load(CONNECTIONS, LOAD_SECONDS)
        grown = await peak - before

        shed = {answer: count for answer, count in heard.items() if answer[0] != 200}
        print(
            f"capacity {capacity:.0f}/s, offered {heard.total() / LOAD_SECONDS:.0f}/s, {heard}, grown {grown >> 20} MB"
        )
        assert set(shed) <= {(503, "overloaded", True), (429, "rate_limited", True)}, shed
        assert heard.total() >= 10 * heard[200, None, False], "not ten times what it served"
        assert heard[200, None, False] > 0, "what was admitted was served all the same"
        assert grown < GROWTH_BYTES_MAX, f"{grown >> 20} MB"

        since = time.monotonic()
        calm = 0
        while calm < 20:
            answer = await gateway.send()
            calm = calm + 1 if answer[0] == 200 else 0
            assert time.monotonic() - since < RECOVERY_SECONDS_MAX
        seconds = statistics.median([await timed(gateway) for _ in range(10)])
        assert seconds < 3 * idle_seconds + 0.05


async def timed(gateway: Loaded) -> float:
    since = time.monotonic()
    assert (await gateway.send())[0] == 200
    return time.monotonic() - since


async def peak_rss(process: psutil.Process, seconds: float) -> int:
    peak, until = 0, time.monotonic() + seconds
    while time.monotonic() < until:
        peak = max(peak, process.memory_info().rss)
        await asyncio.sleep(0.05)
    return peak
