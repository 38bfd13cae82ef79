"""The client on a wire that is cut all the time: everything happens once, and nothing that happened is missed."""

import asyncio
from decimal import Decimal

import pytest

from persistence import reconcile
from prop import AsyncProp, StreamedEvent, open_
from tests.e2e.gateway.conftest import BOOTSTRAP
from tests.e2e.gateway.door import Door
from tests.support.cutting import cutting
from tests.support.desk import Desk

pytestmark = pytest.mark.postgres

WRITES = 60


async def test_what_is_asked_happens_once_and_is_told_once(door: Door, engine: Desk):
    async with cutting(door.url, share=0.15, seed=7) as (url, wire), AsyncProp(url, BOOTSTRAP) as client:
        account = await client.start((await client.create_account("user-7", "clone-9")).id)
        told: list[StreamedEvent] = []
        of_all: list[StreamedEvent] = []
        following = (
            asyncio.create_task(_collect(client, account.id, told)),
            asyncio.create_task(_collect(client, None, of_all)),
        )
        for place in range(WRITES):
            actions = [open_("BTC-USD", "long", quantity="0.01"), {"action": "hold"}]
            taken = await client.decide(account.id, actions, run_id=f"r{place}")
            assert [result.status for result in taken.results] == ["executed", "rejected"]
        ended = await client.complete(account.id)
        assert ended.status == "completed"
        fills = [fill async for fill in client.fills(account.id)]
        accounts = [each.id async for each in client.accounts()]
        async with asyncio.timeout(20):
            while len(told) < ended.account_seq or len(of_all) < ended.account_seq:
                await asyncio.sleep(0.01)
        for task in following:
            task.cancel()
    assert min(wire.cuts.values()) > 5, wire.cuts
    assert accounts == [account.id]
    assert [fill.quantity for fill in fills] == [Decimal("0.01")] * WRITES + [Decimal("0.01") * WRITES]
    for events in (told, of_all):
        assert [event.seq for event in events] == list(range(1, ended.account_seq + 1))
    assert (await reconcile.verify(engine.url)).drift == ()


async def _collect(client: AsyncProp, account_id: str | None, into: list[StreamedEvent]) -> None:
    async for event in client.events() if account_id is None else client.follow_ledger(account_id):
        into.append(event)
