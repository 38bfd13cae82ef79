"""A ledger decided again by the core that wrote it: byte for byte, and never by less."""

from decimal import Decimal
from typing import Any

import pytest

from engine.book import AccountBook, Entry
from engine.commands import MarkToMarket
from engine.decide import Context
from engine.events import RecordedEvent
from engine.quotes import Quotes
from engine.simulation.retrace import Placed, asked_by, retraced
from tests.golden.kept import golden, names
from tests.golden.scenarios import SCENARIOS
from tests.support.ledger_page import decoded, given, later, mark, open_long, opened, priced, quote


@pytest.fixture
def vectors(monkeypatch: pytest.MonkeyPatch) -> dict[int, Quotes]:
    """The price vectors that scenarios decide with, by the seq of the first event that each decision wrote."""
    seen: dict[int, Quotes] = {}

    def watched(name: str) -> None:
        decided = getattr(AccountBook, name)

        def watching(book: AccountBook, asked: Any, context: Context, **named: Any) -> Any:
            answer = decided(book, asked, context, **named)
            if isinstance(answer, Entry) and answer.recorded:
                seen[answer.recorded[0].seq] = dict(context.quotes)
            return answer

        monkeypatch.setattr(AccountBook, name, watching)

    watched("take")
    watched("submit")
    return seen


def placed(events: list[RecordedEvent] | tuple[RecordedEvent, ...]) -> list[Placed]:
    return [(event, decoded(event)) for event in events]


@pytest.mark.parametrize("name", names())
def test_a_golden_ledger_is_decided_again_byte_for_byte(name: str, vectors: dict[int, Quotes]) -> None:
    SCENARIOS[name]()  # which only says what the market showed
    known = dict(vectors)
    kept = golden(name).events
    made, difference = retraced(placed(kept), lambda event: known.get(event.seq, {}))
    assert difference is None
    assert [(each.payload, each.hash, each.request_id, each.epoch) for each in made] == [
        (each.payload, each.hash, each.request_id, each.epoch) for each in kept
    ]


def test_epochs_and_requests_are_those_of_the_ledger(vectors: dict[int, Quotes]) -> None:
    page = given(opened(100_000), open_long("BTC-USD", 1))
    page.book.epoch = 3
    page.happens(later(1), mark())
    made, difference = retraced(placed(page.ledger), lambda event: vectors.get(event.seq, {}))
    assert difference is None
    assert [each.epoch for each in made] == [0, 0, 0, 0, 0, 3]


def test_another_price_is_another_ledger(vectors: dict[int, Quotes]) -> None:
    page = given(opened(100_000), open_long("BTC-USD", 1), later(1), priced("BTC-USD", 51_000), mark())
    ledger = placed(page.ledger)
    known = dict(vectors)
    assert retraced(ledger, lambda event: known.get(event.seq, {}))[1] is None
    known[6] = {"BTC-USD": quote("BTC-USD", Decimal("51000.00000001"), at=page.now)}
    made, difference = retraced(ledger, lambda event: known.get(event.seq, {}))
    assert difference is not None
    assert (difference.seq, len(made)) == (6, 6)
    assert difference.made != difference.recorded


def test_a_price_that_is_not_there_decides_nothing(vectors: dict[int, Quotes]) -> None:
    page = given(opened(100_000), open_long("BTC-USD", 1), mark())
    _, difference = retraced(placed(page.ledger), lambda event: {} if event.seq > 2 else dict(vectors[2]))
    assert difference is not None
    assert difference.seq == 3


def test_a_mark_that_wrote_no_mark_is_still_a_mark() -> None:
    page = given(opened(100_000, max_drawdown="0.1"), open_long("BTC-USD", 1), mark())
    page.happens(priced("BTC-USD", 39_000), mark("pass-2"))
    ledger = placed(page.ledger)
    triggered = next(place for place, (event, _) in enumerate(ledger) if event.type == "liquidation_triggered")
    assert asked_by(ledger, triggered) == MarkToMarket("pass-2", unless_unchanged=True)
    assert asked_by(ledger, triggered - 1) == MarkToMarket("pass-2")
