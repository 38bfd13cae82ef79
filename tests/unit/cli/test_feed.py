"""The demo's prices: what is replayed, and how it starts over."""

from datetime import date
from decimal import Decimal
from pathlib import Path

import pytest

from gateway.demo.feed import SYMBOLS, Feed, Replay, bid_and_ask

D1, D2, D3 = date(2000, 1, 3), date(2000, 1, 4), date(2000, 1, 5)


@pytest.fixture
def replay() -> Replay:
    return Replay(
        {"OLD": {D1: Decimal(10), D2: Decimal(11), D3: Decimal(12)}, "NEW": {D2: Decimal(5)}},
    )


def test_all_symbols_advance_together_and_join_when_they_are_listed(replay: Replay):
    assert replay.closes(0) == {"OLD": 10}
    assert replay.closes(1) == {"OLD": 11, "NEW": 5}


def test_a_day_without_a_bar_keeps_the_last_close(replay: Replay):
    assert replay.closes(2) == {"OLD": 12, "NEW": 5}


def test_after_the_last_day_the_first_comes_again_and_nothing_is_unlisted(replay: Replay):
    assert [replay.day(step) for step in (2, 3, 7)] == [D3, D1, D2]
    assert replay.closes(3) == {"OLD": 10, "NEW": 5}
    assert replay.closes(4) == {"OLD": 11, "NEW": 5}


def test_bid_and_ask_stand_around_the_close():
    assert bid_and_ask(Decimal("130.31")) == (Decimal("130.2839"), Decimal("130.3361"))
    bid, ask = bid_and_ask(Decimal("14.00"))
    assert (bid + ask) / 2 == 14


def test_the_recorded_prices_are_the_real_ones_unadjusted():
    recorded = Replay.recorded()
    assert recorded.day(0) == date(2000, 3, 1)
    assert recorded.closes(0) == {"AAPL": Decimal("130.31"), "IBM": Decimal("100.25"), "MSFT": Decimal("90.81")}
    assert set(recorded.closes(len(recorded.days) - 1)) == set(SYMBOLS)
    split = recorded.days.index(date(2000, 6, 21))
    assert recorded.closes(split)["AAPL"] < recorded.closes(split - 1)["AAPL"] * Decimal("0.6")


@pytest.mark.parametrize(("kept", "step"), [(None, 0), ("{", 0), ('{"step": 2}', 2), ('{"step": -5}', 0), ("[]", 0)])
def test_a_restart_goes_on_where_the_replay_was(tmp_path: Path, replay: Replay, kept: str | None, step: int):
    file = tmp_path / "replay.json"
    if kept is not None:
        file.write_text(kept)
    feed = Feed(replay, "postgresql://nowhere", file, bars_per_second=1)
    assert (feed.step, feed.day) == (step, replay.day(step))
