"""Group commit against a store that fails as told: nothing acknowledged that is not there, nothing written twice."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence

import pytest
from msgspec.structs import replace

from persistence.committer import AppendVerdict, Committer, Overloaded
from persistence.memory_store import MemoryStore
from persistence.store import Append, CommitAmbiguous, CommitVerdict, DataRefused, Head, StoreUnavailable
from tests.support.authors import Author

Fault = Callable[["FaultyStore", Sequence[Append]], Awaitable[Mapping[str, CommitVerdict]]]


class FaultyStore(MemoryStore):
    """Plays one fault a commit, in order, then works. `hold` keeps commits waiting until `release`."""

    def __init__(self) -> None:
        super().__init__()
        self.faults: deque[Fault] = deque()
        self.settle_faults = 0
        self.poison: set[str] = set()
        self.batches: list[list[str]] = []
        self.open = asyncio.Event()
        self.open.set()

    def hold(self) -> None:
        self.open.clear()

    def release(self) -> None:
        self.open.set()

    async def commit(self, appends: Sequence[Append]) -> Mapping[str, CommitVerdict]:
        self.batches.append([append.account_id for append in appends])
        await self.open.wait()
        fault = self.faults.popleft() if self.faults else FaultyStore.works
        return await fault(self, appends)

    async def works(self, appends: Sequence[Append]) -> Mapping[str, CommitVerdict]:
        if self.poison & {append.account_id for append in appends}:
            raise DataRefused("22P05")
        return await super().commit(appends)

    async def settle(self, account_ids: Sequence[str]) -> Mapping[str, Head]:
        if self.settle_faults:
            self.settle_faults -= 1
            raise StoreUnavailable("still away")
        return await super().settle(account_ids)


async def lost_before(_: FaultyStore, __: Sequence[Append]) -> Mapping[str, CommitVerdict]:
    raise CommitAmbiguous("the link was cut before COMMIT arrived")


async def lost_after(store: FaultyStore, appends: Sequence[Append]) -> Mapping[str, CommitVerdict]:
    await store.works(appends)
    raise CommitAmbiguous("the link was cut after COMMIT arrived")


async def away(_: FaultyStore, __: Sequence[Append]) -> Mapping[str, CommitVerdict]:
    raise StoreUnavailable("connection refused")


async def defect(_: FaultyStore, __: Sequence[Append]) -> Mapping[str, CommitVerdict]:
    raise ZeroDivisionError


async def claimed_while_lost(store: FaultyStore, appends: Sequence[Append]) -> Mapping[str, CommitVerdict]:
    await store.claim([appends[0].account_id])
    raise CommitAmbiguous("and another activation took over")


@pytest.fixture
def store() -> FaultyStore:
    return FaultyStore()


@pytest.fixture
async def committer(store: FaultyStore) -> AsyncIterator[Committer]:
    committer = Committer(store)
    yield committer
    store.release()
    await committer.close()
    assert (committer.queued_events, committer.queued_bytes) == (0, 0)


async def authors(store: FaultyStore, count: int) -> list[Author]:
    made = [await Author(number).begin(store) for number in range(count)]
    store.batches.clear()
    return made


def written(store: MemoryStore, author: Author) -> bool:
    """The store holds all that the author ever recorded, and nothing else."""
    head = store.heads[author.id]
    seqs = [seq for account, seq in store.events if account == author.id]
    whole = sorted(seqs) == list(range(1, head.last_seq + 1))
    return whole and (head.last_seq, head.head_hash) == (author.book.account.seq, author.book.head)


async def begun(condition: Callable[[], bool]) -> None:
    while not condition():
        await asyncio.sleep(0)


# ---------------------------------------------------------------- batching


async def test_what_arrives_while_a_commit_runs_goes_into_the_next(store: FaultyStore, committer: Committer):
    first, *rest = await authors(store, 4)
    store.hold()
    running = asyncio.create_task(committer.append([first.open()]))
    await begun(lambda: len(store.batches) == 1)
    waiting = [asyncio.create_task(committer.append([author.open()])) for author in rest]
    await asyncio.sleep(0)
    store.release()
    assert await asyncio.gather(running, *waiting) == [("committed",)] * 4
    assert store.batches == [[first.id], [author.id for author in rest]]
    assert all(written(store, author) for author in (first, *rest))
    assert committer.counters.commits == 2
    assert committer.counters.events == 12
    assert committer.counters.batch_sizes == {4: 1, 16: 1}  # of 3 and of 9 events


async def test_one_account_is_never_twice_in_a_commit_and_keeps_its_order(store: FaultyStore, committer: Committer):
    one, other = await authors(store, 2)
    appends = [one.open(), one.close(), other.open(), one.open("ETH-USD")]
    assert await committer.append(appends) == ("committed",) * 4
    assert store.batches == [[one.id, other.id], [one.id], [one.id]]
    assert written(store, one)


async def test_a_commit_is_split_at_the_event_limit(store: FaultyStore):
    committer = Committer(store, commit_events_max=7)
    made = await authors(store, 5)
    assert await committer.append([author.open() for author in made]) == ("committed",) * 5
    assert [len(batch) for batch in store.batches] == [2, 2, 1]
    await committer.close()


async def test_an_append_larger_than_a_commit_goes_alone(store: FaultyStore):
    committer = Committer(store, commit_events_max=2)
    made = await authors(store, 2)
    assert await committer.append([author.open() for author in made]) == ("committed",) * 2
    assert [len(batch) for batch in store.batches] == [1, 1]
    await committer.close()


async def test_nothing_to_append(committer: Committer):
    assert await committer.append([]) == ()


# ---------------------------------------------------------------- lost answers


async def test_an_answer_lost_after_commit_is_found_committed(store: FaultyStore, committer: Committer):
    made = await authors(store, 2)
    store.faults.append(lost_after)
    assert await committer.append([author.open() for author in made]) == ("committed",) * 2
    assert len(store.batches) == 1
    assert all(written(store, author) for author in made)
    assert committer.counters.ambiguous == {"committed": 2}


async def test_an_answer_lost_before_commit_is_written_again(store: FaultyStore, committer: Committer):
    (author,) = await authors(store, 1)
    store.faults.extend([lost_before, lost_before, lost_after])
    store.settle_faults = 2
    assert await committer.append([author.open()]) == ("committed",)
    assert written(store, author)
    assert committer.counters.ambiguous == {"not_written": 2, "committed": 1}
    assert committer.counters.unavailable == 2


async def test_an_account_claimed_while_its_answer_was_lost_is_fenced(store: FaultyStore, committer: Committer):
    taken, other = await authors(store, 2)
    store.faults.append(claimed_while_lost)
    assert await committer.append([taken.open(), other.open()]) == ("fenced", "committed")
    assert not written(store, taken)
    assert written(store, other)


async def test_a_commit_that_happened_is_no_less_so_for_a_later_claim(store: FaultyStore, committer: Committer):
    (author,) = await authors(store, 1)

    async def committed_then_claimed(store: FaultyStore, appends: Sequence[Append]) -> Mapping[str, CommitVerdict]:
        await store.works(appends)
        return await claimed_while_lost(store, appends)

    store.faults.append(committed_then_claimed)
    assert await committer.append([author.open()]) == ("committed",)


async def test_another_event_at_the_same_seq_is_no_proof(store: FaultyStore, committer: Committer):
    (author,) = await authors(store, 1)
    double = author.book.fork()
    mine = author.open()
    author.book = double
    theirs = replace(author.open("ETH-USD"), epoch=mine.epoch)

    async def overtaken(store: FaultyStore, _: Sequence[Append]) -> Mapping[str, CommitVerdict]:
        await store.works([theirs])
        raise CommitAmbiguous("and a double of ours wrote the same seq")

    store.faults.append(overtaken)
    assert mine.last_seq == theirs.last_seq
    assert await committer.append([mine]) == ("fenced",)


# ---------------------------------------------------------------- away, refused, fenced


async def test_a_store_that_is_away_is_waited_for(store: FaultyStore, committer: Committer):
    (author,) = await authors(store, 1)
    store.faults.extend([away] * 3)
    assert await committer.append([author.open()]) == ("committed",)
    assert len(store.batches) == 4
    assert written(store, author)


async def test_a_bad_append_is_refused_alone(store: FaultyStore, committer: Committer):
    made = await authors(store, 9)
    store.poison = {made[4].id}
    verdicts = await committer.append([author.open() for author in made])
    assert verdicts == ("committed",) * 4 + ("refused",) + ("committed",) * 4
    assert [written(store, author) for author in made] == [verdict == "committed" for verdict in verdicts]
    assert committer.counters.refused == 1


async def test_a_fenced_append_fences_what_follows_it(store: FaultyStore, committer: Committer):
    stale, other = await authors(store, 2)
    await store.claim([stale.id])
    verdicts = await committer.append([stale.open(), stale.close(), other.open()])
    assert verdicts == ("fenced", "fenced", "committed")
    assert committer.counters.fenced == 2


async def test_a_defect_of_the_store_is_an_unknown_outcome_and_the_next_commit_goes_on(
    store: FaultyStore, committer: Committer
):
    broken, other = await authors(store, 2)
    store.faults.append(defect)
    assert await committer.append([broken.open()]) == ("unknown",)
    assert await committer.append([other.open()]) == ("committed",)


# ---------------------------------------------------------------- limits


@pytest.mark.parametrize(("events_max", "bytes_max"), [(7, 1_000_000), (10_000, 8_000)])
async def test_past_the_limit_nothing_of_the_call_is_queued(store: FaultyStore, events_max: int, bytes_max: int):
    committer = Committer(store, queue_events_max=events_max, queue_bytes_max=bytes_max)
    one, two, three, four = await authors(store, 4)
    store.hold()
    running = asyncio.create_task(committer.append([one.open(), two.open()]))
    await begun(lambda: len(store.batches) == 1)
    with pytest.raises(Overloaded):
        await committer.append([three.open(), four.open()])
    assert committer.counters.overloaded == 1
    store.release()
    assert await running == ("committed", "committed")
    assert await committer.append([await authors_append(store, 5)]) == ("committed",)  # there is room again
    await committer.close()
    assert [account for batch in store.batches for account in batch if account in (three.id, four.id)] == []


async def authors_append(store: FaultyStore, number: int) -> Append:
    return (await Author(number).begin(store)).open()


async def test_no_verdict_in_time_is_unknown_and_what_was_queued_is_dropped(store: FaultyStore):
    committer = Committer(store, unresolved_seconds_max=0.05)
    running, queued, later = await authors(store, 3)
    store.hold()
    first = asyncio.create_task(committer.append([running.open()]))
    await begun(lambda: len(store.batches) == 1)
    assert await committer.append([queued.open()]) == ("unknown",)
    assert await first == ("unknown",)
    assert (committer.queued_events, committer.queued_bytes) == (0, 0)
    store.release()
    assert await committer.append([later.open()]) == ("committed",)
    assert store.batches == [[running.id], [later.id]]
    assert written(store, running)  # it was under way: unknown, not undone
    assert committer.counters.unknown == 2
    await committer.close()


async def test_close_commits_what_is_queued_and_refuses_what_comes(store: FaultyStore):
    committer = Committer(store)
    one, two, late = await authors(store, 3)
    store.faults.extend([away, lost_before])
    tasks: list[asyncio.Task[tuple[AppendVerdict, ...]]] = [
        asyncio.create_task(committer.append([author.open()])) for author in (one, two)
    ]
    await asyncio.sleep(0)
    closing = asyncio.create_task(committer.close())
    await asyncio.sleep(0)
    with pytest.raises(Overloaded):
        await committer.append([late.open()])
    await closing
    assert await asyncio.gather(*tasks) == [("committed",)] * 2
    assert written(store, one)
    assert written(store, two)


async def test_a_caller_that_gives_up_leaves_the_order_intact(store: FaultyStore, committer: Committer):
    (author,) = await authors(store, 1)
    store.hold()
    impatient = asyncio.create_task(committer.append([author.open()]))
    await begun(lambda: len(store.batches) == 1)
    impatient.cancel()
    store.release()
    assert await committer.append([author.close()]) == ("committed",)
    assert written(store, author)


async def test_a_queue_tells_how_long_its_oldest_has_waited_and_a_commit_how_long_it_took(store: FaultyStore):
    clock = 100.0
    committer = Committer(store, monotonic=lambda: clock)
    (author,) = await authors(store, 1)
    store.hold()
    asked = asyncio.create_task(committer.append([author.open()]))
    await begun(lambda: len(store.batches) == 1)
    clock += 3.0
    found = committer.figures
    assert (found.queued_events, found.oldest_seconds) == (3, 3.0)
    store.release()
    await asked
    found = committer.figures
    assert (found.queued_events, found.oldest_seconds) == (0, 0.0)
    assert (sum(found.counted.commit_time.classes), found.counted.commit_time.total_seconds) == (1, 3.0)
    assert found.counted.batched_events == found.counted.events == 3
    await committer.close()
