"""Ten times the load it can serve: a gateway sheds what is too much, stays as large as it was, and is itself again.

Judged by what is answered and by bytes, never by a time, so that a machine with other things to do changes nothing.
"""

import asyncio
import os
import re
import subprocess
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
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
LOAD_SECONDS = float(os.environ.get("PROP_TEST_OVERLOAD_SECONDS", "3"))
"""At least so long; longer where so far less than ten times what was served has been asked for."""
CALM = 40
GROWTH_BYTES_MAX = 48 * 1024 * 1024
"""What connections, receipts and freed but not returned pages may take; a queue that grows takes more in a second."""
ACTIONS = [{"decisionActionId": f"a{place}", "action": "hold", "rationale": "x" * 200} for place in range(100)]
Answers = Counter[tuple[int, str | None, bool]]
"""(status, code, whether Retry-After was given), counted."""
SERVED = (200, None, False)


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

    async def load(self, senders: int, is_enough: Callable[[Answers], bool]) -> Answers:
        """`senders` that send again as soon as they are answered, each until it is enough."""
        answers: Answers = Counter()

        async def sender() -> None:
            while not is_enough(answers):
                answers[await self.send()] += 1

        await asyncio.gather(*(sender() for _ in range(senders)))
        return answers

    async def in_flight(self) -> float:
        async with self._http.get(self._url.removesuffix("/api/v1/prop/accounts") + "/metrics") as answer:
            found = re.search(r"^prop_http_in_flight (\S+)$", await answer.text(), re.MULTILINE)
        assert found is not None
        return float(found[1])


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
        since = time.monotonic()
        at_ease = await gateway.load(PER_TOKEN_MAX // 2, lambda answers: answers.total() >= CALM)
        assert set(at_ease) == {SERVED}
        capacity = at_ease.total() / (time.monotonic() - since)

        before, since = gateway.process.memory_info().rss, time.monotonic()

        def is_enough(answers: Answers) -> bool:
            return time.monotonic() - since >= LOAD_SECONDS and answers.total() >= 10 * answers[SERVED] > 0

        peak = 0

        async def watched() -> None:
            nonlocal peak
            while True:
                peak = max(peak, gateway.process.memory_info().rss)
                await asyncio.sleep(0.05)

        watching = asyncio.create_task(watched())
        heard = await gateway.load(CONNECTIONS, is_enough)
        seconds = time.monotonic() - since
        watching.cancel()
        grown = peak - before
        print(
            f"served at ease {capacity:.0f}/s; loaded for {seconds:.1f} s: asked {heard.total() / seconds:.0f}/s,"
            f" served {heard[SERVED] / seconds:.0f}/s, {dict(heard)}, grown {grown >> 20} MB"
        )
        shed = set(heard) - {SERVED}
        assert shed, "nothing was too much"
        assert shed <= {(503, "overloaded", True), (429, "rate_limited", True)}, shed
        assert grown < GROWTH_BYTES_MAX, f"{grown >> 20} MB"

        # Every sender has its answer, so nothing is left of the load: not even the first is shed any more.
        assert await gateway.in_flight() == 0
        since = time.monotonic()
        assert [await gateway.send() for _ in range(CALM)] == [SERVED] * CALM
        print(f"{CALM} served one by one after it in {time.monotonic() - since:.1f} s")
