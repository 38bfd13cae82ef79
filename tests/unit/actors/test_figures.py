"""Figures of a host: what it counts is what was durable, by cause and outcome, and a decision that waits is seen."""

import asyncio

import msgspec
import pytest

from actors.figures import HostFigures
from actors.messages import Submit, Unserved
from engine.commands import MarkToMarket
from persistence.committer import AppendVerdict
from tests.unit.actors.test_hosting import Desk, opening


async def figures(desk: Desk) -> HostFigures:
    return msgspec.msgpack.decode((await desk.host.pulse()).figures, type=HostFigures)


async def test_actions_are_counted_once_durable_and_by_outcome() -> None:
    desk = Desk()
    account = await desk.account("a")
    desk.appender.hold()
    asked = asyncio.create_task(desk.take(account, opening("1")))
    await asyncio.sleep(0.01)
    desk.seconds += 2.0
    waiting = await figures(desk)
    assert waiting.counts.actions == {}
    assert (waiting.undurable_accounts, waiting.undurable_seconds) == (1, 2.0)
    desk.appender.release()
    await asked
    await desk.take(account, opening("1"))
    await desk.take(account, opening("2", quantity="9"))
    found = await figures(desk)
    assert found.counts.actions == {"executed": 1, "replayed": 1, "rejected": 1}
    assert found.counts.rejections == {"notional_exceeds_maximum": 1}
    assert found.counts.events["fill_booked"] == found.counts.events["action_rejected"] == 1
    assert (sum(found.counts.acknowledged.classes), found.counts.acknowledged.total_seconds) == (3, 2.0)
    assert (found.accounts, found.undurable_accounts, found.undurable_seconds) == (1, 0, 0.0)
    assert (found.counts.accounts_rebuilt, sum(found.counts.rebuilt.classes)) == (1, 1)


async def test_a_dry_run_counts_nothing() -> None:
    desk = Desk()
    account = await desk.account("a")
    before = await figures(desk)
    await desk.take(account, msgspec.structs.replace(opening("1"), dry_run=True))
    assert (await figures(desk)).counts == before.counts


@pytest.mark.parametrize("verdict", ["fenced", "refused", "unknown"])
async def test_a_state_that_is_thrown_away_is_counted_by_its_cause(verdict: AppendVerdict) -> None:
    desk = Desk()
    account = await desk.account("a")
    desk.appender.fail_with(verdict)
    assert isinstance(await desk.take(account, opening("1")), Unserved)
    found = (await figures(desk)).counts
    assert found.poisoned == {verdict: 1}
    assert found.unserved == {"outcome_unknown": 1}
    assert found.actions == {}


async def test_marks_are_counted_by_outcome() -> None:
    desk = Desk()
    await desk.take(await desk.account("a"), opening("1"))
    await desk.account("b")
    await desk.host.mark("pass", dict(desk.host._quotes))
    await desk.ask(Submit("b", MarkToMarket("asked"), "r"))
    assert (await figures(desk)).counts.marks == {"marked": 1, "flat": 1}
