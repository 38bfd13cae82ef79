"""The tail: asks only while somebody listens, waits for nobody, and leaves nobody waiting."""

import asyncio
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from gateway import tail as module
from gateway.tail import CHUNK_BYTES, Subscription, Tail
from persistence.event_log import LoggedEvent, Place
from persistence.queries import LedgerRow
from tests.unit.gateway.fakes import FakeLog

ACCOUNT = "01900000-0000-7000-8000-000000000001"


def logged(seq: int, account_id: str = ACCOUNT, text: str = "") -> LoggedEvent:
    at = datetime(2026, 1, 5, tzinfo=UTC)
    event = LedgerRow(
        account_id=account_id,
        seq=seq,
        type="account_started",
        version=1,
        occurred_at=at,
        recorded_at=at,
        epoch=1,
        request_id="r",
        payload={"text": text},
        hash="00",
    )
    return LoggedEvent(Place(seq, account_id, seq), event)


def anything(_: LedgerRow) -> bool:
    return True


@pytest.fixture
def source(monkeypatch: pytest.MonkeyPatch) -> FakeLog:
    monkeypatch.setattr(module, "AWAY_SECONDS", 0.01)
    return FakeLog()


@pytest.fixture
async def tail(source: FakeLog) -> AsyncIterator[Tail]:
    tail = Tail(source, poll_ms=1, buffer_bytes_max=3 * CHUNK_BYTES)
    async with tail.running():
        yield tail


async def seqs(subscription: Subscription, count: int) -> list[int]:
    found: list[int] = []
    async with asyncio.timeout(5):
        while len(found) < count:
            found += [live.event.seq for live in await subscription.take(1)]
    return found


async def until(holds: Callable[[], Any]) -> None:
    async with asyncio.timeout(5):
        while not holds():
            await asyncio.sleep(0.001)


async def test_nobody_listening_costs_nothing(tail: Tail, source: FakeLog):
    await asyncio.sleep(0.02)
    assert source.reads == 0
    async with tail.subscribed(anything):
        await until(lambda: source.reads > 2)
    await asyncio.sleep(0.01)
    reads = source.reads
    await asyncio.sleep(0.02)
    assert source.reads == reads


async def test_each_subscription_gets_what_belongs_to_it_from_its_beginning_on(tail: Tail, source: FakeLog):
    source.events = [logged(1)]
    other = ACCOUNT[:-1] + "2"
    async with tail.subscribed(anything) as everything:
        source.events += [logged(2), logged(3, other)]
        assert await seqs(everything, 2) == [2, 3]
        async with tail.subscribed(lambda event: event.account_id == other) as one:
            source.events += [logged(4), logged(5, other)]
            assert await seqs(one, 1) == [5]
            assert await seqs(everything, 2) == [4, 5]
            assert await one.take(0.01) == []


async def test_coming_and_going_at_any_moment_loses_nothing(tail: Tail, source: FakeLog):
    for place in range(50):
        async with tail.subscribed(anything):
            await asyncio.sleep(0)
        async with tail.subscribed(anything) as subscription:
            source.events.append(logged(place + 1))
            assert await seqs(subscription, 1) == [place + 1]


async def test_a_reader_that_does_not_keep_up_holds_nothing_and_nobody(tail: Tail, source: FakeLog):
    async with tail.subscribed(anything) as slow, tail.subscribed(anything) as quick:
        for seq in range(1, 9):
            source.events.append(logged(seq, text="x" * (CHUNK_BYTES // 2)))
            assert await seqs(quick, 1) == [seq]
        assert slow.lagging
        assert await slow.take(1) == []
        assert not quick.lagging


async def test_what_waits_is_taken_in_chunks(tail: Tail, source: FakeLog):
    async with tail.subscribed(anything) as subscription:
        source.events += [logged(seq, text="x" * (CHUNK_BYTES // 2)) for seq in range(1, 6)]
        taken = [len(await subscription.take(1)) for _ in range(3)]
    assert taken == [2, 2, 1]


async def test_postgres_away_is_waited_for(tail: Tail, source: FakeLog):
    async with tail.subscribed(anything) as subscription:
        source.away = True
        source.events.append(logged(1))
        assert await subscription.take(0.05) == []
        source.away = False
        assert await seqs(subscription, 1) == [1]


async def test_a_defect_leaves_no_reader_waiting(tail: Tail, source: FakeLog):
    async with tail.subscribed(anything) as subscription:
        source.events.append(None)  # type: ignore[arg-type]  # nothing that can be read
        await until(lambda: subscription.lagging)
    source.events.clear()
    async with tail.subscribed(anything) as subscription:
        source.events.append(logged(1))
        assert await seqs(subscription, 1) == [1]
