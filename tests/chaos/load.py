"""Load: clients that trade over HTTP and send again with the same ids, each attempt kept in the history."""

import asyncio
import threading
import time
from random import Random
from typing import Any, Final

import aiohttp

from tests.support.history import History, Operation, Outcome
from tests.support.served import TOKEN

ATTEMPT_S: Final = 12.0
"""Beyond the gateway's own deadline of 10 s."""
PAUSE_S: Final = 0.1
NOTHING_DONE: Final = {"overloaded", "rate_limited", "shutting_down", "storage_unavailable", "account_quarantined"}
POLICY: Final = {
    "maxDrawdown": "0.9",
    "maxNotional": "1000000",
    "maxLeverage": "50",
    "quoteMaxAgeMs": {"trade": 2000, "mark": 3000, "liquidate": 2000},
}


class Load:
    """Clients in a thread of their own, until `stop`. `surprises` are answers that no client should ever see."""

    def __init__(self, url: str, history: History, *, clients: int, accounts: int, seed: int) -> None:
        self.accounts: list[str] = []
        self.surprises: list[str] = []
        self._url = url
        self._history = history
        self._counts = clients, accounts
        self._seed = seed
        self._stopping = asyncio.Event()
        self._loop = asyncio.new_event_loop()
        self._opened = threading.Event()
        self._thread = threading.Thread(target=self._loop.run_until_complete, args=(self._run(),), name="load")

    def start(self) -> None:
        """Returns when the accounts trade."""
        self._thread.start()
        self._opened.wait()

    def stop(self) -> None:
        """Returns when every operation has ended."""
        self._loop.call_soon_threadsafe(self._stopping.set)
        self._thread.join()

    async def _run(self) -> None:
        clients, accounts = self._counts
        async with aiohttp.ClientSession(
            self._url, headers={"Authorization": f"Bearer {TOKEN}"}, timeout=aiohttp.ClientTimeout(total=ATTEMPT_S)
        ) as http:
            self.accounts = [await self._account(http, number) for number in range(accounts)]
            self._opened.set()
            await asyncio.gather(*(self._client(http, f"c{number}") for number in range(clients)))

    async def _account(self, http: aiohttp.ClientSession, number: int) -> str:
        asked = {"ownerId": "chaos", "cloneId": f"c-{number}", "policy": POLICY, "startingBalance": "1000000"}
        async with http.post("/api/v1/prop/accounts", json=asked | {"idempotencyKey": f"chaos-{number}"}) as answer:
            answer.raise_for_status()
            account_id = str((await answer.json())["id"])
        async with http.post(f"/api/v1/prop/accounts/{account_id}/start", json={}) as answer:
            answer.raise_for_status()
        return account_id

    async def _client(self, http: aiohttp.ClientSession, name: str) -> None:
        chance, runs = Random(f"{self._seed} {name}"), 0
        while not self._stopping.is_set():
            account_id = chance.choice(self.accounts)
            if chance.random() < 0.2:
                await self._reads(http, name, account_id)
            else:
                runs += 1
                actions = [_action(chance, place) for place in range(chance.choice((1, 1, 2, 5)))]
                await self._acts(http, name, account_id, f"{name}-{runs}", actions)
            await asyncio.sleep(chance.expovariate(1 / PAUSE_S))

    async def _acts(
        self, http: aiohttp.ClientSession, name: str, account_id: str, run: str, actions: list[dict[str, Any]]
    ) -> None:
        """Until there is an outcome: what was asked is never given up."""
        while True:
            sent_at = time.monotonic()
            status, body = await self._post(
                http, f"/api/v1/prop/accounts/{account_id}/decision-actions", {"decisionRunId": run, "actions": actions}
            )
            outcome: Outcome = "ok" if status == 200 else "refused" if body.get("code") in NOTHING_DONE else "unknown"
            if status not in (0, 200, 429, 503) and body.get("code") not in NOTHING_DONE:
                self.surprises.append(f"{run} was answered {status} {body}")
            self._history.add(
                Operation(
                    client=name,
                    account_id=account_id,
                    sent_at=sent_at,
                    ended_at=time.monotonic(),
                    outcome=outcome,
                    run=run,
                    actions=tuple(actions),
                    seq=body.get("accountSeq"),
                    results=tuple(body.get("results", ())),
                    code=body.get("code"),
                )
            )
            if outcome == "ok" or self._stopping.is_set():
                return
            await asyncio.sleep(PAUSE_S)

    async def _reads(self, http: aiohttp.ClientSession, name: str, account_id: str) -> None:
        sent_at = time.monotonic()
        try:
            async with http.get(f"/api/v1/prop/accounts/{account_id}/snapshot") as answer:
                body = await answer.json()
        except (aiohttp.ClientError, TimeoutError):
            return
        if answer.status == 200:
            seen = Operation(
                client=name,
                account_id=account_id,
                sent_at=sent_at,
                ended_at=time.monotonic(),
                outcome="ok",
                seq=int(body["accountSeq"]),
            )
            self._history.add(seen)
        elif answer.status not in (429, 503):
            self.surprises.append(f"a read was answered {answer.status} {body}")

    async def _post(self, http: aiohttp.ClientSession, path: str, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        """Status and body; status 0 where no answer came."""
        try:
            async with http.post(path, json=body) as answer:
                return answer.status, await answer.json()
        except (aiohttp.ClientError, TimeoutError):
            return 0, {}


def _action(chance: Random, place: int) -> dict[str, Any]:
    asked = {"decisionActionId": f"a{place}", "symbol": chance.choice(("BTC-USD", "ETH-USD"))}
    side = chance.choice(("long", "short"))
    what = chance.choice(("open", "open", "reduce", "close"))
    size = {"open": {"notional": str(chance.randint(100, 2_000))}, "reduce": {"fraction": "0.5"}}.get(what, {})
    return asked | {"side": side, "action": what} | size
