"""Clients of a simulated world: they propose, read, correct and administer, and try again with the same ids."""

import asyncio
from collections.abc import Awaitable, Callable
from decimal import Decimal
from typing import Any, TypeVar

from actors.messages import Correct, Deed, Reading, Recompute, Submit, Taken, Unserved
from actors.messages import Take as TakeRequest
from actors.ports import Lost
from engine.book import ActionBatch
from engine.commands import (
    Action,
    CreateAccount,
    LockAccount,
    MarkToMarket,
    PauseAccount,
    ResumeAccount,
    StartAccount,
    VoidFill,
)
from engine.policy import LONG, SHORT, Policy, QuoteMaxAge
from persistence.recovery import LedgerBroken
from persistence.store import StoreUnavailable
from tests.simulation.world import Gateway, World
from tests.support.audit_rows import as_wire
from tests.support.history import History, Operation, Outcome

Answer = TypeVar("Answer")

ATTEMPTS = 6
PAUSE_S = 0.15
GIVEN_UP = 0.5
POLICY = Policy(quote_max_age_ms=QuoteMaxAge(trade=2_000, mark=3_000, liquidate=2_000))
"""Quotes go stale within a run."""
DEED = Deed("simulation", "test", "because")


class Client:
    """One client; `history` is what it was told. Times are those of the virtual clock."""

    def __init__(self, name: str, world: World, history: History) -> None:
        self.name = name
        self._world = world
        self._history = history
        self._runs = 0
        self._fills: dict[str, list[str]] = {}

    async def trade_until(self, ends_at: float, accounts: list[str]) -> None:
        chance = self._world.chance
        while _time() < ends_at:
            await asyncio.sleep(chance.expovariate(1 / 0.15))
            await self._something(chance.choice(accounts))

    async def watch_until(self, ends_at: float, accounts: list[str]) -> None:
        """Only look, by dry runs, which go where the account was last known to live; always through one gateway."""
        while _time() < ends_at:
            await asyncio.sleep(0.5)
            for account_id in accounts:
                await self._previews(account_id, self._world.watching)

    async def opened(self, key: str) -> str:
        """A trading account; asked for until it is there."""
        opening = CreateAccount(owner_id="o", clone_id=key, idempotency_key=key, policy=POLICY)
        while True:
            gateway = self._gateway()
            try:
                created = await gateway.client.create(opening, request_id=key)
            except StoreUnavailable:
                continue
            while isinstance(await gateway.client.call(Submit(created.account.id, StartAccount(), key)), Unserved):
                await asyncio.sleep(PAUSE_S)
            return created.account.id

    async def acts(self, account_id: str, *actions: Action, attempts: int = ATTEMPTS) -> Outcome:
        """A batch, sent until there is an outcome, or so many times. One that was refused may be given up: nothing was
        done."""
        self._runs += 1
        run = f"{self.name}-{self._runs}"
        outcome: Outcome = "unknown"
        for _ in range(attempts):
            outcome = await self._sends(account_id, run, actions)
            if outcome == "ok" or (outcome == "refused" and self._world.chance.random() < GIVEN_UP):
                break
            await asyncio.sleep(PAUSE_S)
        return outcome

    async def recomputes(self, account_id: str) -> None:
        """What an administrator does about an account in quarantine."""
        await self._administers(Recompute(account_id, self.name, DEED))

    async def _something(self, account_id: str) -> None:
        chance = self._world.chance
        what = chance.random()
        if what < 0.6:
            actions = [self._action(f"a{place}") for place in range(chance.choice((1, 1, 2, 3)))]
            await self.acts(account_id, *actions)
        elif what < 0.8:
            await self._reads(account_id)
        elif what < 0.88:
            command = chance.choice((PauseAccount(reason="x"), LockAccount(reason="x"), MarkToMarket(pass_id="p")))
            await self._administers(Submit(account_id, command, self.name))
            await self._administers(Submit(account_id, ResumeAccount(reason="x"), self.name))
        elif what < 0.94:
            fills = self._fills.get(account_id)
            if fills:
                void = VoidFill(fill_id=chance.choice(fills), reason="x", cascade=chance.random() < 0.5)
                await self._administers(Correct(account_id, void, self.name, DEED))
        else:
            await self.recomputes(account_id)

    def _action(self, key: str) -> Action:
        chance = self._world.chance
        symbol, side = chance.choice(("BTC-USD", "ETH-USD")), chance.choice((LONG, SHORT))
        what = chance.choice(("open", "open", "open", "reduce", "close"))
        size: dict[str, Any] = {}
        if what == "open":
            size = {"notional": Decimal(chance.randint(100, 30_000)) + Decimal("0E-8")}
        elif what == "reduce":
            size = {"fraction": Decimal("0.50000000")}
        return Action(decision_action_id=key, action=what, symbol=symbol, side=side, **size)

    async def _sends(self, account_id: str, run: str, actions: tuple[Action, ...]) -> Outcome:
        gateway, sent_at = self._gateway(), _time()
        request = TakeRequest(account_id, ActionBatch(run, actions), run)
        try:
            reply: object = await _while_alive(gateway, lambda: gateway.client.call(request))
        except GatewayDied:
            reply = Unserved("outcome_unknown", "the gateway died")
        sent = tuple(
            {name: value for name, value in as_wire(action).items() if value is not None} for action in actions
        )
        seq, results, code = None, (), None
        outcome: Outcome = "unknown"
        if isinstance(reply, Taken):
            outcome, seq = "ok", reply.account_seq
            results = tuple(as_wire(result) for result in reply.results)
            fills = self._fills.setdefault(account_id, [])
            fills += [result.fill.id for result in reply.results if result.fill is not None]
        elif isinstance(reply, Unserved) and reply.reason != "outcome_unknown":
            outcome, code = "refused", reply.reason
        elif not isinstance(reply, Unserved):
            raise AssertionError(f"{run} was answered {reply}")
        self._history.add(
            Operation(
                client=self.name,
                account_id=account_id,
                sent_at=sent_at,
                ended_at=_time(),
                outcome=outcome,
                run=run,
                actions=sent,
                seq=seq,
                results=results,
                code=code,
            )
        )
        self._world.note(f"{self.name} {run} {outcome} {code or ''} {seq or ''}")
        return outcome

    async def _reads(self, account_id: str) -> None:
        gateway, sent_at = self._gateway(), _time()
        try:
            reading = await _while_alive(gateway, lambda: gateway.client.read(account_id, request_id=self.name))
        except (StoreUnavailable, GatewayDied):
            return
        except LedgerBroken as broken:
            raise AssertionError(f"{account_id} does not replay: {broken}") from broken
        if not isinstance(reading, Reading):
            raise AssertionError(f"{account_id} was lost")
        self._world.seen.append(reading.account)
        self._saw(account_id, reading.account.seq, sent_at)

    async def _previews(self, account_id: str, gateway: Gateway) -> None:
        sent_at = _time()
        batch = ActionBatch("preview", (self._action("a0"),))
        reply = await gateway.client.call(TakeRequest(account_id, batch, self.name, dry_run=True))
        if isinstance(reply, Taken):
            self._saw(account_id, reply.account_seq, sent_at)

    def _saw(self, account_id: str, seq: int, sent_at: float) -> None:
        seen = Operation(
            client=self.name, account_id=account_id, sent_at=sent_at, ended_at=_time(), outcome="ok", seq=seq
        )
        self._history.add(seen)
        self._world.note(f"{self.name} saw {account_id} at {seq}")

    async def _administers(self, request: Submit | Correct | Recompute) -> None:
        gateway = self._gateway()
        try:
            reply = await _while_alive(gateway, lambda: gateway.client.call(request))
        except GatewayDied:
            return
        self._world.note(f"{self.name} {type(request).__name__} {type(reply).__name__}")

    def _gateway(self) -> Gateway:
        return self._world.chance.choice(self._world.gateways)


class GatewayDied(Exception):
    """The connection broke before an answer came."""


async def _while_alive(gateway: Gateway, ask: Callable[[], Awaitable[Answer]]) -> Answer:
    """The answer; what a dead gateway was doing for its client stops where it was."""
    try:
        return await gateway.process.asked(ask)
    except Lost:
        if gateway.process.is_dead:
            raise GatewayDied from None
        raise


def _time() -> float:
    return asyncio.get_running_loop().time()
