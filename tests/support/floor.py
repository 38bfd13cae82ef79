"""A floor: supervisor, hosts and client in this process over a store in memory, and prices that the test writes."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from decimal import Decimal

from actors.limits import ClientLimits, HostLimits, SupervisorLimits
from actors.local_client import LocalRuntime, local_runtime
from actors.messages import Submit, Submitted, Take, Taken, Unserved
from engine.book import ActionBatch
from engine.commands import Action, CreateAccount, StartAccount
from engine.quotes import Quote, observed
from persistence.memory_store import MemoryStore
from persistence.store import StoreUnavailable
from tests.support.appenders import SteeredAppender


class Prices:
    """A price table that the test writes. `away` makes reading fail as a lost database does."""

    def __init__(self) -> None:
        self.quotes: dict[str, Quote] = {}
        self.away = False

    def observe(self, symbol: str, price: str) -> None:
        self.quotes = self.quotes | {
            symbol: observed(symbol, Decimal(price), Decimal(price), None, "test", datetime.now(UTC))
        }

    async def read(self) -> dict[str, Quote]:
        if self.away:
            raise StoreUnavailable("the price table cannot be read")
        return dict(self.quotes)


class Floor:
    def __init__(
        self, runtime: LocalRuntime, store: MemoryStore, prices: Prices, appender: SteeredAppender | None = None
    ) -> None:
        self.runtime, self.store, self.prices = runtime, store, prices
        self.appender = appender or SteeredAppender(store)
        self.client, self.supervisor, self.fleet = runtime.client, runtime.supervisor, runtime.fleet

    async def trading(self, name: str) -> str:
        created = await self.client.create(CreateAccount(owner_id="o", clone_id=name), request_id="r")
        started = await self.client.call(Submit(created.account.id, StartAccount(), "r"))
        assert isinstance(started, Submitted)
        return created.account.id

    async def buy(self, account: str, key: str, quantity: str = "0.10000000") -> Taken | Unserved:
        action = Action(
            decision_action_id=key, action="open", symbol="BTC-USD", side="long", quantity=Decimal(quantity)
        )
        reply = await self.client.call(Take(account, ActionBatch("run", (action,)), "r"))
        assert isinstance(reply, Taken | Unserved)
        return reply


@asynccontextmanager
async def floor(**supervision: int) -> AsyncIterator[Floor]:
    store, prices = MemoryStore(), Prices()
    prices.observe("BTC-USD", "50000")
    usual = {"marking_cadence_ms": 0, "quotes_poll_ms": 10, "pulse_ms": 20, "spare_hosts": 0}
    limits = SupervisorLimits(**usual | supervision)
    appender = SteeredAppender(store)
    async with local_runtime(
        store,
        appender,
        prices,
        host_limits=HostLimits(idle_ms=50),
        supervisor_limits=limits,
        client_limits=ClientLimits(deadline_ms=2_000, attempt_ms=500),
    ) as runtime:
        yield Floor(runtime, store, prices, appender)


async def no_beat(detail: dict[str, object]) -> None:
    """Nobody looks for a heartbeat here."""


async def eventually(holds: Callable[[], object]) -> None:
    """Wait for a condition, at most 5 seconds."""
    async with asyncio.timeout(5):
        while not holds():
            await asyncio.sleep(0.005)
