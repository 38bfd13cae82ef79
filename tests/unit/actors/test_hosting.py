"""AccountHost: durable before acknowledged, serial, and a failing account alone (G1, G3, G4, G8)."""

import asyncio
import gc
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from typing import Any

import msgspec
import pytest

from actors import hosted
from actors.hosting import AccountHost
from actors.limits import HostLimits
from actors.messages import (
    Conflicted,
    Correct,
    Corrected,
    Deed,
    Read,
    Reading,
    Recompute,
    Recomputed,
    Refused,
    Reply,
    Submit,
    Submitted,
    Take,
    Taken,
    Unserved,
)
from actors.ports import Activation, Appender, Break, Lost
from engine.account import Account
from engine.book import AccountBook, ActionBatch
from engine.changes import Changes
from engine.commands import Action, CreateAccount, LiquidateAccount, PauseAccount, StartAccount, VoidFill
from engine.quotes import Quote, observed
from persistence.committer import Committer
from persistence.memory_store import MemoryStore
from persistence.store import Append, DataRefused, Head, StoredSnapshot, StoreUnavailable, append_of
from tests.support.appenders import SteeredAppender

NOW = datetime(2026, 1, 5, 12, tzinfo=UTC)


def quotes(price: str = "50000", at: datetime = NOW) -> dict[str, Quote]:
    return {"BTC-USD": observed("BTC-USD", Decimal(price), Decimal(price), None, "test", at)}


def opening(key: str, *, quantity: str = "0.1", run: str = "run-1") -> Take:
    action = Action(
        decision_action_id=key,
        action="open",
        symbol="BTC-USD",
        side="long",
        quantity=Decimal(quantity) + Decimal("0E-8"),
    )
    return Take("", ActionBatch(run, (action,)), "request-1")


class Desk:
    """A host over a memory store, with a clock that stands still until it is moved."""

    def __init__(self, **limits: Any) -> None:
        self.now = NOW
        self.seconds = 0.0
        self.store = MemoryStore()
        self.appender = SteeredAppender(self.store)
        self.host = self.another_host("h", None, **limits)

    def another_host(self, name: str, appender: Appender | None = None, **limits: Any) -> AccountHost:
        return AccountHost(
            name,
            self.store,
            appender or self.appender,
            HostLimits(**limits),
            now=lambda: self.now,
            monotonic=lambda: self.seconds,
        )

    async def account(self, account_id: str, *, start: bool = True) -> str:
        asked = CreateAccount(owner_id="o", clone_id="c")
        book, first = AccountBook.open(asked, account_id=account_id, now=self.now, request_id="r")
        await self.store.create(
            asked, append_of(book.account, epoch=0, expected_seq=0, events=[first], changes=Changes((), (), (), ()))
        )
        await self.host.see(1, quotes())
        assert (await self.host.activate([account_id])).hosted == (account_id,)
        if start:
            await self.ask(Submit(account_id, StartAccount(), "r"))
        return account_id

    async def ask(self, request: Take | Submit | Correct | Recompute | Read, host: AccountHost | None = None):
        return (await (host or self.host).handle((request,)))[0]

    async def take(self, account_id: str, request: Take, host: AccountHost | None = None):
        return await self.ask(Take(account_id, request.batch, request.request_id, request.dry_run), host)


async def test_nothing_is_acknowledged_before_it_is_committed() -> None:
    desk = Desk()
    account = await desk.account("a")
    desk.appender.hold()
    asked = asyncio.create_task(desk.take(account, opening("1")))
    reading = asyncio.create_task(desk.ask(Read(account, "r")))
    await asyncio.sleep(0.01)
    assert not asked.done()
    assert not reading.done(), "a read showed what is not durable"
    assert desk.store.heads[account].last_seq == 2
    desk.appender.release()
    taken = await asked
    assert isinstance(taken, Taken)
    assert desk.store.heads[account].last_seq == taken.account_seq == 5
    assert isinstance(await reading, Reading)


async def test_requests_that_arrive_during_a_commit_share_the_next_one_in_order() -> None:
    desk = Desk()
    account = await desk.account("a")
    desk.appender.hold()
    before = len(desk.appender.batches)
    asked = [asyncio.create_task(desk.take(account, opening("0", quantity="0.01")))]
    await asyncio.sleep(0.01)
    asked += [asyncio.create_task(desk.take(account, opening(str(number), quantity="0.01"))) for number in range(1, 10)]
    await asyncio.sleep(0.01)
    desk.appender.release()
    taken = await asyncio.gather(*asked)
    assert [reply.account_seq for reply in taken] == [5 + 3 * number for number in range(10)]
    assert len(desk.appender.batches) - before == 2


async def test_a_key_in_flight_waits_for_the_same_outcome() -> None:
    desk = Desk()
    account = await desk.account("a")
    desk.appender.hold()
    twice = [asyncio.create_task(desk.take(account, opening("1"))) for _ in range(2)]
    await asyncio.sleep(0.01)
    assert not any(each.done() for each in twice)
    desk.appender.release()
    first, second = await asyncio.gather(*twice)
    assert (first.results[0].replayed, second.results[0].replayed) == (False, True)
    assert first.results[0].prop_action_id == second.results[0].prop_action_id
    assert len(desk.store.actions) == 1


async def test_an_old_key_is_recalled_from_storage_before_it_is_judged() -> None:
    desk = Desk(receipts_in_memory_max=2)
    account = await desk.account("a")
    first = await desk.take(account, opening("0", quantity="0.01"))
    for number in range(1, 8):
        await desk.take(account, opening(str(number), quantity="0.01"))
    again = await desk.take(account, opening("0", quantity="0.01"))
    assert again.results[0].replayed
    assert again.results[0].prop_action_id == first.results[0].prop_action_id
    conflict = await desk.take(account, opening("0", quantity="0.02"))
    assert isinstance(conflict, Conflicted)
    assert conflict.conflicts[0].fields == ("quantity",)


@pytest.mark.parametrize("failure", ["unknown", "fenced", "refused", Lost])
async def test_an_append_without_confirmation_poisons_the_account_and_nothing_is_acknowledged(failure) -> None:
    desk = Desk()
    account = await desk.account("a")
    other = await desk.account("b")
    desk.appender.fail_with(failure)
    lost = await desk.take(account, opening("1"))
    assert isinstance(lost, Unserved)
    assert lost.reason == "outcome_unknown"
    gone = await desk.take(account, opening("1"))
    assert isinstance(gone, Unserved)
    assert gone.reason == "not_hosted"
    assert isinstance(await desk.take(other, opening("1")), Taken), "another account was stopped"
    epoch = desk.store.heads[account].epoch
    await desk.host.activate([account])
    assert desk.store.heads[account].epoch == epoch + 1
    again = await desk.take(account, opening("1"))
    assert isinstance(again, Taken)
    assert not again.results[0].replayed


async def test_a_commit_whose_answer_was_lost_is_found_again_after_the_rebuild() -> None:
    desk = Desk()
    account = await desk.account("a")
    commit = desk.store.commit

    async def commit_then_lose(appends):
        await commit(appends)
        raise Lost("connection cut after COMMIT")

    desk.store.commit = commit_then_lose  # type: ignore[method-assign]  # in place of its own
    assert (await desk.take(account, opening("1"))).reason == "outcome_unknown"
    desk.store.commit = commit  # type: ignore[method-assign]  # in place of its own
    await desk.host.activate([account])
    again = await desk.take(account, opening("1"))
    assert again.results[0].replayed
    assert again.account_seq == 5


async def test_a_stale_activation_can_neither_commit_nor_read_past_its_lease() -> None:
    desk = Desk(read_lease_ms=5_000)
    account = await desk.account("a")
    successor = desk.another_host("h2")
    await successor.see(1, quotes())
    await successor.activate([account])
    desk.seconds += 4.9
    assert isinstance(await desk.ask(Read(account, "r")), Reading), "within the lease"
    desk.seconds += 0.2
    assert (await desk.ask(Read(account, "r"))).reason == "not_hosted"

    taken = await desk.take(account, opening("1"), successor)
    assert isinstance(taken, Taken)
    stale = desk.another_host("h3")
    await stale.see(1, quotes())
    await stale.activate([account])
    await desk.host.activate([account])
    assert (await desk.take(account, opening("2"), stale)).reason == "outcome_unknown"
    assert isinstance(await desk.take(account, opening("2")), Taken)
    epochs = [event.epoch for (_, _), event in sorted(desk.store.events.items())]
    assert epochs == sorted(epochs)


async def test_an_account_that_breaks_is_told_of_until_it_has_gone_on_and_no_other() -> None:
    desk = Desk()
    account = await desk.account("a")
    other = await desk.account("b")
    desk.appender.fail_with("refused")
    await desk.take(account, opening("1"))
    broke = Break(epoch=1, seq=2, why="append refused")
    assert (await desk.host.pulse()).breaks == {account: (broke,)}
    assert (await desk.host.mark("p", quotes())).breaks == {account: (broke,)}
    await desk.host.activate([account])
    assert (await desk.host.pulse()).breaks == {account: (broke,)}, "forgotten before it had gone on"
    desk.appender.fail_with("refused")
    await desk.take(account, opening("1"))
    assert [each.epoch for each in (await desk.host.pulse()).breaks[account]] == [1, 2], "one was forgotten untold"
    await desk.host.activate([account])
    assert isinstance(await desk.take(other, opening("1")), Taken)
    assert isinstance(await desk.take(account, opening("1")), Taken)
    assert (await desk.host.pulse()).breaks == {}


async def broken(desk: Desk) -> str:
    account = await desk.account("a")
    desk.appender.fail_with("refused")
    await desk.take(account, opening("1"))
    return account


async def sheltered(desk: Desk, account: str, *, dry_run: bool = False) -> Reply:
    (reply,) = await desk.host.handle((Recompute(account, "r", WHY, dry_run=dry_run, sheltered=True),))
    return reply


async def test_a_recompute_lets_an_account_out_of_quarantine() -> None:
    desk = Desk()
    account = await broken(desk)
    epoch = desk.store.heads[account].epoch
    looked = await sheltered(desk, account, dry_run=True)
    assert looked == Recomputed(2, 0, (), repaired=False)
    assert (desk.store.heads[account].epoch, desk.store.audit_log) == (epoch, [])
    assert (await desk.take(account, opening("1"))).reason == "not_hosted", "a dry run let it out"
    assert await sheltered(desk, account) == Recomputed(3, 0, (), repaired=False)
    assert [entry.action for entry in desk.store.audit_log] == [WHY.action]
    pulse = await desk.host.pulse()
    assert (pulse.breaks, pulse.restored) == ({}, {account: epoch + 1})
    assert isinstance(await desk.take(account, opening("1")), Taken)


async def test_a_recompute_rebuilds_a_head_row_that_no_activation_could_believe() -> None:
    desk = Desk()
    account = await desk.account("a")
    await desk.take(account, opening("1"))
    head = desk.store.heads[account]
    desk.store.heads[account] = msgspec.structs.replace(head, last_seq=1, epoch=head.epoch + 1)
    await desk.take(account, opening("2"))
    assert account in (await desk.host.activate([account])).broken
    repaired = await sheltered(desk, account)
    assert isinstance(repaired, Recomputed)
    assert (repaired.repaired, repaired.drifts > 0) == (True, True)
    assert isinstance(await desk.take(account, opening("2")), Taken)


async def test_a_ledger_that_does_not_replay_stays_in_quarantine_and_says_where() -> None:
    desk = Desk()
    account = await broken(desk)
    started = desk.store.events[account, 2]
    desk.store.events[account, 2] = msgspec.structs.replace(started, hash=bytes(32))
    found = await sheltered(desk, account)
    assert isinstance(found, Recomputed)
    assert not found.repaired
    assert [(drift.table, drift.key) for drift in found.drift][:1] == [("prop_ledger_events", "2")]
    (noted,) = desk.store.audit_log
    assert (noted.before, noted.after) == (None, None)
    assert (await desk.take(account, opening("1"))).reason == "not_hosted"


async def test_one_account_failing_in_a_pass_stops_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    desk = Desk()
    accounts = [await desk.account(name) for name in "abc"]
    for account in accounts:
        await desk.take(account, opening("1"))
    broken = desk.host._hosted["b"].book

    def break_(*_: object, **__: object) -> None:
        raise RuntimeError("a defect in one account")

    original = AccountBook.submit
    monkeypatch.setattr(
        AccountBook,
        "submit",
        lambda self, *args, **kwargs: break_() if self is broken else original(self, *args, **kwargs),
    )
    tally = await desk.host.mark("pass", quotes("51000"))
    assert (tally.hosted, tally.marked, tally.dropped) == (3, 2, ("b",))
    assert (await desk.take("b", opening("2"))).reason == "not_hosted"


async def test_a_pass_takes_every_price_from_one_vector() -> None:
    desk = Desk()
    account = await desk.account("a")
    await desk.take(account, opening("1", quantity="1"))
    await desk.host.see(2, quotes("1"))
    tally = await desk.host.mark("pass", quotes("60000"))
    assert (tally.marked, tally.dropped) == (1, ())
    reading = await desk.ask(Read(account, "r"))
    assert reading.account.positions["BTC-USD", "long"].mark_price == Decimal(60000)


async def test_a_pass_decides_no_further_ahead_of_its_commits_than_its_limit() -> None:
    desk = Desk(append_events_max=2)
    accounts = [await desk.account(f"account-{number}") for number in range(12)]
    for account in accounts:
        await desk.take(account, opening("1"))
    desk.appender.hold()
    running = asyncio.create_task(desk.host.mark("pass", quotes("50001")))
    for _ in range(100):  # as far as it goes
        await asyncio.sleep(0)
    ahead = [each for each in desk.host._hosted.values() if each.book.account.seq > each.durable_seq]
    assert len(ahead) == 4, "twice what one append takes"
    assert not running.done()
    desk.appender.release()
    assert (await running).marked == 12


async def test_what_a_pass_leaves_behind_dies_without_being_looked_for() -> None:
    desk = Desk()
    for number in range(40):
        account = await desk.account(f"account-{number}")
        await desk.take(account, opening("1"))
    await desk.host.mark("pass-1", quotes("50000"))
    gc.collect()
    gc.disable()
    try:
        await desk.host.mark("pass-2", quotes("50001"))
        assert gc.collect() < 40, "a cycle an account: processes that hold accounts collect too seldom for that"
    finally:
        gc.enable()


async def test_an_older_price_vector_that_arrives_late_is_dropped() -> None:
    desk = Desk()
    account = await desk.account("a")
    await desk.host.see(7, quotes("40000"))
    await desk.host.see(6, quotes("50000"))
    taken = await desk.take(account, opening("1"))
    assert taken.results[0].fill.price == Decimal(40000)


async def test_a_dry_run_answers_alike_and_leaves_nothing() -> None:
    desk = Desk()
    account = await desk.account("a")
    head = desk.store.heads[account]
    request = opening("1")
    dry = await desk.ask(Take(account, request.batch, "r", dry_run=True))
    assert dry.account_seq == head.last_seq
    assert desk.store.heads[account] == head
    real = await desk.take(account, request)
    assert not real.results[0].replayed
    assert real.results == dry.results
    gone = await desk.ask(Submit(account, LiquidateAccount("x"), "r", dry_run=True))
    assert isinstance(gone, Submitted)
    assert gone.account.status == "liquidated"
    assert (await desk.ask(Read(account, "r"))).account.status == "active"


async def test_past_its_limit_an_account_answers_overloaded_at_once() -> None:
    desk = Desk(queued_batches_per_account_max=3)
    account = await desk.account("a")
    desk.appender.hold()
    asked = [asyncio.create_task(desk.take(account, opening(str(number)))) for number in range(3)]
    await asyncio.sleep(0.01)
    shed = await desk.take(account, opening("4"))
    assert shed.reason == "overloaded"
    desk.appender.release()
    assert all(isinstance(reply, Taken) for reply in await asyncio.gather(*asked))


async def test_refusals_name_the_states_and_write_nothing() -> None:
    desk = Desk()
    account = await desk.account("a", start=False)
    refused = await desk.ask(Submit(account, PauseAccount("x"), "r"))
    assert isinstance(refused, Refused)
    assert refused.refusal.context == {"from": "pending", "to": "paused"}
    assert desk.store.heads[account].last_seq == 1


async def test_ended_accounts_are_idle_after_a_while_and_leave_with_a_snapshot() -> None:
    desk = Desk(idle_ms=5_000)
    account = await desk.account("a")
    await desk.ask(Submit(account, LiquidateAccount("over"), "r"))
    assert (await desk.host.pulse()).idle == ()
    desk.seconds += 6
    assert (await desk.host.pulse()).idle == (account,)
    await desk.host.passivate([account])
    assert await desk.host.roster() == ()
    assert (await desk.store.snapshots([account]))[account].seq == desk.store.heads[account].last_seq


async def test_a_snapshot_is_taken_every_so_many_events_and_recovery_starts_from_it() -> None:
    desk = Desk(snapshot_every_events=10)
    account = await desk.account("a")
    for number in range(8):
        await desk.take(account, opening(str(number), quantity="0.01"))
    await asyncio.sleep(0)
    snapshot = (await desk.store.snapshots([account]))[account]
    assert snapshot.seq >= 10
    live = (await desk.ask(Read(account, "r"))).account
    successor = desk.another_host("h2")
    await successor.activate([account])
    assert (await desk.ask(Read(account, "r"), successor)).account == live


async def test_accounts_that_are_marked_together_are_not_saved_together() -> None:
    desk = Desk(snapshot_every_events=10)
    accounts = [await desk.account(f"account-{number}") for number in range(40)]
    for account in accounts:
        await desk.take(account, opening("1"))
    await desk.host.close()  # all have a snapshot, and come back at the same seq
    before = {account: snapshot.seq for account, snapshot in (await desk.store.snapshots(accounts)).items()}
    again = desk.another_host("h2", snapshot_every_events=10)
    await again.activate(accounts)
    saved = []
    for number in range(10):
        assert (await again.mark(f"pass-{number}", quotes(str(50_000 + number)))).marked == 40
        await asyncio.sleep(0)
        kept = await desk.store.snapshots(accounts)
        saved.append(sum(snapshot.seq > before[account] for account, snapshot in kept.items()))
    assert saved[-1] == 40, "every account once in so many events"
    assert max(now - then for then, now in pairwise([0, *saved])) <= 12, "and never many at once"


async def test_closing_waits_for_what_was_decided() -> None:
    desk = Desk()
    account = await desk.account("a")
    desk.appender.hold()
    asked = asyncio.create_task(desk.take(account, opening("1")))
    await asyncio.sleep(0.01)
    closing = asyncio.create_task(desk.host.close())
    await asyncio.sleep(0.01)
    assert not closing.done()
    assert (await desk.take(account, opening("2"))).reason == "not_hosted"
    desk.appender.release()
    await closing
    assert isinstance(await asked, Taken)
    assert (await desk.store.snapshots([account]))[account].seq == 5


async def test_closing_finishes_a_request_that_has_yet_to_be_decided(monkeypatch: pytest.MonkeyPatch) -> None:
    desk = Desk(receipts_in_memory_max=0)
    account = await desk.account("a")
    recall, recalled = desk.store.receipts, asyncio.Event()

    async def slow(*asked):
        await recalled.wait()
        return await recall(*asked)

    await desk.take(account, opening("1"))
    monkeypatch.setattr(desk.store, "receipts", slow)
    both = ActionBatch("run-1", (*opening("1").batch.actions, *opening("2").batch.actions))
    asked = asyncio.create_task(desk.take(account, Take("", both, "r")))
    await asyncio.sleep(0.01)
    closing = asyncio.create_task(desk.host.close())
    await asyncio.sleep(0.01)
    recalled.set()
    await closing
    assert isinstance(await asyncio.wait_for(asked, 5), Taken)


async def test_an_account_that_is_let_go_while_it_is_handed_over_breaks_nothing() -> None:
    desk = Desk()
    idle, busy = await desk.account("a", start=False), await desk.account("b")
    with desk.host._hosted[busy].holding():
        moving = asyncio.create_task(desk.host.hand_over([idle, busy]))
        await asyncio.sleep(0)
        assert await desk.host.passivate([idle]) == (idle,)
    assert await moving == (busy,)


async def test_a_closed_host_is_no_place_to_live(monkeypatch: pytest.MonkeyPatch) -> None:
    desk = Desk()
    account, late = await desk.account("a"), await desk.account("b")
    await desk.host.hand_over([late])
    claim, claiming = desk.store.claim, asyncio.Event()

    async def slow(account_ids):
        await claiming.wait()
        return await claim(account_ids)

    monkeypatch.setattr(desk.store, "claim", slow)
    activating = asyncio.create_task(desk.host.activate([late]))
    await asyncio.sleep(0)
    await desk.host.close()
    claiming.set()
    for ending in (activating, desk.host.activate([account]), desk.host.pulse(), desk.host.roster()):
        with pytest.raises(Lost):
            await ending
    assert (await desk.host.mark("pass", quotes())).hosted == 0


async def test_the_clock_stepping_back_never_puts_an_event_before_the_one_it_follows() -> None:
    desk = Desk()
    account = await desk.account("a")
    desk.now = NOW - timedelta(hours=1)
    await desk.take(account, opening("1"))
    times = [event.occurred_at for _, event in sorted(desk.store.events.items())]
    assert times == sorted(times)


async def test_more_than_the_queue_holds_goes_in_several_appends_and_nobody_waits_for_ever() -> None:
    desk = Desk()
    committer = Committer(desk.store, queue_events_max=7)
    desk.host = desk.another_host("h", committer, append_events_max=6)
    accounts = [await desk.account(name) for name in "abcd"]
    async with asyncio.timeout(5):
        asked = [desk.take(account, opening(str(key), quantity="0.01")) for key in range(5) for account in accounts]
        replies = await asyncio.gather(*asked)
    assert all(isinstance(reply, Taken) for reply in replies)
    assert [desk.store.heads[account].last_seq for account in accounts] == [2 + 5 * 3] * 4
    assert committer.counters.overloaded == 0
    await committer.close()


async def test_an_appender_that_fails_in_a_way_nobody_foresaw_strands_no_waiter() -> None:
    desk = Desk()
    account = await desk.account("a")
    desk.appender.fail_with(RuntimeError)
    async with asyncio.timeout(5):
        lost = await desk.take(account, opening("1"))
        await desk.host.activate([account])
        again = await desk.take(account, opening("1"))
    assert isinstance(lost, Unserved)
    assert lost.reason == "outcome_unknown"
    assert isinstance(again, Taken)


async def test_a_decision_that_cannot_be_written_down_stops_no_other_account(monkeypatch: pytest.MonkeyPatch) -> None:
    desk = Desk()
    broken, well = await desk.account("broken"), await desk.account("well")

    def made(account: Account, **rest: Any) -> Append:
        if account.id == broken:
            raise ArithmeticError("a figure of its result is none")
        return append_of(account, **rest)

    monkeypatch.setattr(hosted, "append_of", made)
    async with asyncio.timeout(60):  # a lost answer never comes; the log of the defect takes seconds on a busy machine
        lost, taken = await asyncio.gather(desk.take(broken, opening("1")), desk.take(well, opening("1")))
        assert isinstance(lost, Unserved)
        assert lost.reason == "outcome_unknown"
        assert isinstance(taken, Taken)
        monkeypatch.undo()
        await desk.host.activate([broken])
        assert isinstance(await desk.take(broken, opening("1")), Taken)


async def test_an_account_that_is_taken_over_while_it_comes_back_is_not_called_broken(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The ledger goes on beyond the head that was claimed: another activation wrote it."""
    desk = Desk()
    account = await desk.account("a")
    first, second, read = desk.another_host("h1"), desk.another_host("h2"), desk.store.snapshots
    await second.see(1, quotes())

    async def overtaken(account_ids: Sequence[str]) -> Mapping[str, StoredSnapshot]:
        monkeypatch.undo()
        await second.activate([account])
        assert isinstance(await desk.take(account, opening("1"), second), Taken)
        return await read(account_ids)

    monkeypatch.setattr(desk.store, "snapshots", overtaken)
    assert await first.activate([account]) == Activation(hosted=())
    assert isinstance(await desk.take(account, opening("2"), second), Taken), "the one that took it over has it"


async def test_an_account_that_somebody_keeps_locked_is_not_called_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    desk = Desk()
    locked, well = await desk.account("locked"), await desk.account("well")
    claim, host = desk.store.claim, desk.another_host("h1")

    async def without_it(account_ids: Sequence[str]) -> Mapping[str, Head]:
        return await claim([each for each in account_ids if each != locked])

    monkeypatch.setattr(desk.store, "claim", without_it)
    assert await host.activate([locked, well, "nobody"]) == Activation(hosted=(well,), unknown=("nobody",))


async def test_a_host_that_was_stopped_during_a_commit_reads_nothing_on_the_strength_of_it() -> None:
    desk = Desk(read_lease_ms=5_000)
    account = await desk.account("a")
    desk.appender.hold()
    asked = asyncio.create_task(desk.take(account, opening("1")))
    await asyncio.sleep(0.01)
    desk.seconds += 20  # the commit was done long before its answer was seen
    desk.appender.release()
    assert isinstance(await asked, Taken)
    successor = desk.another_host("h2")
    await successor.activate([account])
    assert (await desk.ask(Read(account, "r"))).reason == "not_hosted"


# ---------------------------------------------------------------- corrections


WHY = Deed("operator", "void_fill", "why")


def voiding(account: str, fill_id: str, *, dry_run: bool = False) -> Correct:
    return Correct(account, VoidFill(fill_id, "why"), "request-2", WHY, dry_run)


async def test_a_correction_waits_for_what_was_decided_and_what_comes_waits_for_it() -> None:
    desk = Desk()
    account, other = await desk.account("a"), await desk.account("b")
    first = await desk.take(account, opening("1"))
    fill_id = first.results[0].fill.id
    desk.appender.hold()
    undurable = asyncio.create_task(desk.take(account, opening("2", quantity="0.2")))
    await asyncio.sleep(0.01)
    correcting = asyncio.create_task(desk.ask(voiding(account, fill_id)))
    await asyncio.sleep(0.01)
    later = asyncio.create_task(desk.take(account, opening("3", quantity="0.3")))
    pausing = asyncio.create_task(desk.ask(Submit(account, PauseAccount("lunch"), "r")))
    marking = asyncio.create_task(desk.host.mark("pass", quotes()))
    await asyncio.sleep(0.01)
    assert not any(task.done() for task in (undurable, correcting, later, pausing, marking))
    elsewhere = desk.host._hosted[other].book.account.seq
    reading = asyncio.create_task(desk.take(other, opening("1")))
    await asyncio.sleep(0.01)
    assert desk.host._hosted[other].book.account.seq > elsewhere, "another account waited for the correction"
    desk.appender.release()
    taken, corrected, after, paused, tally, _ = await asyncio.gather(
        undurable, correcting, later, pausing, marking, reading
    )
    assert corrected.voided.fill_ids == (fill_id,)
    assert corrected.voided.positions[0].quantity == Decimal("0.2")
    assert taken.account_seq < corrected.account.account_seq < after.account_seq < paused.account.account_seq
    assert tally.dropped == ()
    assert desk.store.fills[fill_id].status == "voided"
    (entry,) = desk.store.audit_log
    assert entry.before is not None
    assert (entry.token_name, entry.action, entry.before.account_seq) == ("operator", "void_fill", taken.account_seq)


async def test_a_dry_correction_leaves_no_trace() -> None:
    desk = Desk()
    account = await desk.account("a")
    taken = await desk.take(account, opening("1"))
    events = dict(desk.store.events)
    reply = await desk.ask(voiding(account, taken.results[0].fill.id, dry_run=True))
    assert isinstance(reply, Corrected)
    assert reply.account.account_seq == taken.account_seq
    assert (desk.store.events, desk.store.audit_log) == (events, [])
    reading = await desk.ask(Read(account, "r"))
    assert reading.account.positions


async def test_a_correction_whose_ledger_is_another_poisons_and_writes_nothing() -> None:
    desk = Desk()
    account = await desk.account("a")
    taken = await desk.take(account, opening("1"))
    event = desk.store.events[account, 4]
    desk.store.events[account, 4] = msgspec.structs.replace(event, payload=event.payload.replace(b"0.1", b"0.2"))
    reply = await desk.ask(voiding(account, taken.results[0].fill.id))
    assert isinstance(reply, Unserved)
    assert reply.reason == "outcome_unknown"
    assert desk.store.heads[account].last_seq == taken.account_seq
    assert desk.store.audit_log == []


async def test_an_administrators_pause_is_audited_with_its_event_and_alone_where_there_is_none() -> None:
    desk = Desk()
    account = await desk.account("a")
    deed = Deed("operator", "pause", "lunch")
    for _ in range(2):
        await desk.ask(Submit(account, PauseAccount("lunch"), "r", deed=deed))
    first, second = desk.store.audit_log
    assert first.before is not None
    assert first.after is not None
    assert (first.before.account.status, first.after.account.status) == ("active", "paused")
    assert second.before == second.after == first.after
    await desk.ask(Submit(account, PauseAccount("lunch"), "r"))
    await desk.ask(Submit(account, PauseAccount("lunch"), "r", dry_run=True, deed=deed))
    assert len(desk.store.audit_log) == 2


async def test_a_live_state_that_is_not_the_ledgers_is_replaced_by_a_recompute() -> None:
    desk = Desk()
    account = await desk.account("a")
    await desk.take(account, opening("1"))
    hosted = desk.host._hosted[account]
    sound = hosted.book.account
    hosted.book.account = msgspec.structs.replace(sound, high_watermark=sound.high_watermark + 1)
    asked = Recompute(account, "r", Deed("operator", "recompute", "why"))
    found = await desk.ask(asked)
    assert isinstance(found, Recomputed)
    assert [(drift.table, drift.field) for drift in found.drift] == [("live", "balance.highWatermark")]
    assert found.repaired
    reading = await desk.ask(Read(account, "r"))
    assert reading.account == msgspec.structs.replace(sound, seq=sound.seq + 1, last_at=reading.account.last_at)
    assert (await desk.ask(asked)).drift == ()


async def test_a_recompute_that_breaks_leaves_the_account_in_quarantine_and_others_answered(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    desk = Desk()
    account = await broken(desk)
    other = await desk.account("b")

    async def refused(_: object) -> None:
        raise DataRefused("no such row")

    monkeypatch.setattr(desk.store, "mend", refused)
    unrestored, read = await desk.host.handle((Recompute(account, "r", WHY, sheltered=True), Read(other, "r")))
    assert isinstance(unrestored, Unserved)
    assert (unrestored.reason, unrestored.detail) == ("quarantined", "the recompute broke: DataRefused: no such row")
    assert isinstance(read, Reading)


async def test_a_recompute_that_is_not_confirmed_is_not_believed(monkeypatch: pytest.MonkeyPatch) -> None:
    desk = Desk()
    account = await desk.account("a")

    async def away(_: object) -> None:
        raise StoreUnavailable("cut off")

    monkeypatch.setattr(desk.store, "mend", away)
    reply = await desk.ask(Recompute(account, "r", Deed("operator", "recompute", "why")))
    assert isinstance(reply, Unserved)
    assert reply.reason == "outcome_unknown"
    assert account not in await desk.host.roster()
