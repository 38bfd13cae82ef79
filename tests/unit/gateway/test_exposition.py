"""Figures of several gateways in one answer."""

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path

from msgspec.structs import replace
from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families

from gateway import exposition
from gateway.exposition import Beside, Exposition, meeting
from gateway.metrics import HttpMetrics


def gateway(beside: Beside | None, *, answers: int) -> Exposition:
    registry = CollectorRegistry()
    metrics = HttpMetrics(registry)
    for _ in range(answers):
        metrics.answered("GET", "/livez", 200, 0.002)
    return Exposition(registry, beside)


def samples(text: bytes) -> dict[tuple[str, str | None], float]:
    """Values by name and gateway, buckets left out."""
    return {
        (sample.name, sample.labels.get("gateway")): sample.value
        for family in text_string_to_metric_families(text.decode())
        for sample in family.samples
        if "le" not in sample.labels
    }


async def test_a_gateway_alone_answers_for_itself_and_says_nothing_of_others():
    with meeting(1) as beside:
        assert beside is None
    alone = gateway(None, answers=3)
    async with alone.shown():
        found = samples(await alone.text())
    assert found["prop_http_requests_total", None] == 3
    assert "prop_gateways" not in {name for name, _ in found}


async def test_whoever_is_asked_tells_the_figures_of_all():
    with meeting(3) as beside:
        assert beside is not None
        async with AsyncExitStack() as stack:
            gateways = [gateway(replace(beside, place=place), answers=10**place) for place in range(3)]
            for each in gateways:
                await stack.enter_async_context(each.shown())
            told = [samples(await each.text()) for each in gateways]
        assert told[0] == told[1] == told[2]
        for place in range(3):
            assert told[0]["prop_http_requests_total", str(place)] == 10**place
            assert told[0]["prop_http_request_seconds_count", str(place)] == 10**place
        assert told[0]["prop_gateways", None] == 3
    assert not Path(beside.folder).exists()


async def test_one_that_hangs_or_is_not_there_is_left_out(monkeypatch):
    monkeypatch.setattr(exposition, "ASKED_SECONDS_MAX", 0.05)
    hang = asyncio.Event()

    async def hanging(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await hang.wait()
        writer.close()

    with meeting(3) as beside:
        assert beside is not None
        first = gateway(beside, answers=1)
        async with first.shown(), await asyncio.start_unix_server(hanging, beside.socket_of(1)):
            found = samples(await first.text())
            hang.set()
    assert found["prop_gateways", None] == 1
    assert found["prop_http_requests_total", "0"] == 1
    assert ("prop_http_requests_total", "1") not in found
