"""Reclaiming in parts: in which of them an account comes is of no consequence."""

from collections.abc import Mapping, Sequence

import pytest

from persistence import reclaim as reclaiming
from persistence.memory_store import MemoryStore
from persistence.reclaim import Reclaimed, reclaim
from persistence.store import Head, Store, StoredSnapshot, StoreUnavailable
from tests.support.authors import Author

ACCOUNTS = 7


@pytest.fixture(autouse=True)
def small_parts(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(reclaiming, "PART_ACCOUNTS", 2)  # seven accounts instead of thousands


async def begun(store: MemoryStore) -> list[Author]:
    authors = [Author(number) for number in range(1, ACCOUNTS + 1)]
    for author in authors:
        await author.begin(store)
    return authors


async def reclaimed(store: Store, authors: Sequence[Author]) -> Reclaimed:
    return await reclaim(store, [author.id for author in authors], receipts_in_memory_max=4)


async def test_all_parts_come_back_each_under_its_new_epoch():
    store = MemoryStore()
    authors = await begun(store)
    found = await reclaimed(store, authors)
    assert found.failures == {}
    assert {each: book.state for each, book in found.books.items()} == {each.id: each.book.state for each in authors}
    assert found.heads == store.heads
    assert all(book.epoch == store.heads[each].epoch for each, book in found.books.items())


async def test_who_is_unknown_is_left_out():
    store = MemoryStore()
    authors = await begun(store)
    found = await reclaimed(store, [*authors, Author(ACCOUNTS + 1)])
    assert found.heads.keys() == found.books.keys() == {author.id for author in authors}


async def test_of_a_broken_ledger_only_its_account_is_missing():
    store = MemoryStore()
    authors = await begun(store)
    broken = authors[4]
    del store.events[broken.id, 1]
    found = await reclaimed(store, authors)
    assert list(found.failures) == [broken.id]
    assert found.books.keys() == {author.id for author in authors} - {broken.id}


class Locked(MemoryStore):
    """Somebody keeps the head rows of these accounts."""

    kept: frozenset[str] = frozenset()

    async def claim(self, account_ids: Sequence[str]) -> Mapping[str, Head]:
        free = [each for each in account_ids if each not in self.kept]
        if not free:
            raise StoreUnavailable("locked")
        return await super().claim(free)


async def test_a_part_that_is_locked_as_a_whole_holds_up_no_other():
    store = Locked()
    authors = await begun(store)
    store.kept = frozenset(author.id for author in authors[2:5])
    found = await reclaimed(store, authors)
    assert found.heads.keys() == found.books.keys() == {author.id for author in authors} - store.kept
    assert found.failures == {}


async def test_who_can_claim_nobody_says_so():
    store = Locked()
    authors = await begun(store)
    store.kept = frozenset(author.id for author in authors)
    with pytest.raises(StoreUnavailable, match="locked"):
        await reclaimed(store, authors)


class Failing(MemoryStore):
    """Goes away when asked for the second part's snapshots."""

    asked = 0

    async def snapshots(self, account_ids: Sequence[str]) -> Mapping[str, StoredSnapshot]:
        self.asked += 1
        if self.asked == 2:
            raise StoreUnavailable("away")
        return await super().snapshots(account_ids)


async def test_a_store_that_goes_away_meanwhile_is_said_to_be_away():
    store = Failing()
    authors = await begun(store)
    with pytest.raises(StoreUnavailable, match="away"):
        await reclaimed(store, authors)
