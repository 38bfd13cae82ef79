"""The demo's feed on a real database: rows as Data Ingestion would write them."""

import asyncio
import json
from datetime import date
from decimal import Decimal
from pathlib import Path

import psycopg
import pytest

from gateway.demo.feed import Feed, Replay

pytestmark = pytest.mark.postgres

D1, D2, D3 = date(2000, 1, 3), date(2000, 1, 4), date(2000, 1, 5)


async def test_the_feed_writes_what_data_ingestion_would(database_url: str, tmp_path: Path):
    replay = Replay({"OLD": {D1: Decimal(10), D2: Decimal(11), D3: Decimal(12)}, "NEW": {D2: Decimal(5)}})
    feed = Feed(replay, database_url, tmp_path / "replay.json", bars_per_second=100)
    running = asyncio.create_task(feed.run())
    while feed.step < 5:
        await asyncio.sleep(0.01)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    with psycopg.connect(database_url) as connection:
        rows = connection.execute(
            "select symbol, bid, ask, mid, source, now() - observed_at < interval '1 min' from market_prices "
            "order by observed_at, symbol desc limit 3"
        ).fetchall()
    assert rows == [
        ("OLD", Decimal("9.9980"), Decimal("10.0020"), None, "bokeh-sampledata", True),
        ("OLD", Decimal("10.9978"), Decimal("11.0022"), None, "bokeh-sampledata", True),
        ("NEW", Decimal("4.9990"), Decimal("5.0010"), None, "bokeh-sampledata", True),
    ]
    assert json.loads((tmp_path / "replay.json").read_text())["step"] >= 4
