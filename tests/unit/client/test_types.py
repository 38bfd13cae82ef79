"""The client's types as a caller's type checker sees them: `mypy --strict` reads what is never run here."""

from collections.abc import AsyncIterator, Iterator
from decimal import Decimal
from importlib.resources import files
from typing import assert_type

from prop import AsyncProp, Prop, StreamedEvent
from prop.models import Account, DecisionActions, EquityCurve, Fill, Standings


async def awaiting(prop: AsyncProp) -> None:
    assert_type(await prop.start("a"), Account)
    assert_type((await prop.snapshot("a")).balance.equity, Decimal)
    assert_type(prop.fills("a"), AsyncIterator[Fill])
    assert_type(prop.events(), AsyncIterator[StreamedEvent])
    async for event in prop.follow_ledger("a", after_seq=7):
        assert_type(event.seq, int)


def blocking(prop: Prop) -> None:
    assert_type(prop.start("a"), Account)
    assert_type(prop.decide("a", [{"action": "hold"}], run_id="r"), DecisionActions)
    assert_type(prop.fills("a", min_seq=3), Iterator[Fill])
    assert_type(prop.events(start="now"), Iterator[StreamedEvent])
    assert_type(prop.equity("a", points=9), EquityCurve)
    assert_type(prop.standings("r"), Standings)
    prop.complete("a", settle="later")  # type: ignore[arg-type]  # no such word
    prop.decide([])  # type: ignore[arg-type, call-arg]  # the account is missing


def test_the_package_says_that_it_is_typed():
    assert files("prop").joinpath("py.typed").is_file()
