"""Recovery in parts: in which of them an account comes is of no consequence."""

from collections.abc import Sequence

import pytest

from persistence import recovery
from persistence.memory_store import MemoryStore
from persistence.recovery import recover
from persistence.store import StoredSnapshot, StoreUnavailable
from tests.support.authors import Author

ACCOUNTS = 7


@pytest.fixture(autouse=True)
def small_parts(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(recovery, "PART_ACCOUNTS", 2)  # seven accounts instead of thousands


async def begun(store: MemoryStore) -> list[Author]:
    authors = [Author(number) for number in range(1, ACCOUNTS + 1)]
    for author in authors:
        await author.begin(store)
    return authors


async def test_all_parts_come_back():
    store = MemoryStore()
    authors = await begun(store)
    heads = await store.claim([author.id for author in authors])
    found = await recover(store, heads)
    assert found.failures == {}
    assert {each: found.books[each].state for each in heads} == {each.id: each.book.state for each in authors}


async def test_of_a_broken_ledger_only_its_account_is_missing():
    store = MemoryStore()
    authors = await begun(store)
    broken = authors[4]
    del store.events[broken.id, 1]
    found = await recover(store, await store.claim([author.id for author in authors]))
    assert list(found.failures) == [broken.id]
    assert found.books.keys() == {author.id for author in authors} - {broken.id}


class Failing(MemoryStore):
    """Goes away when asked for the second part's snapshots."""

    asked = 0

    async def snapshots(self, account_ids: Sequence[str]) -> dict[str, StoredSnapshot]:
        self.asked += 1
        if self.asked == 2:
            raise StoreUnavailable("away")
        return dict(await super().snapshots(account_ids))


async def test_a_store_that_goes_away_meanwhile_is_said_to_be_away():
    store = Failing()
    heads = await store.claim([author.id for author in await begun(store)])
    with pytest.raises(StoreUnavailable):
        await recover(store, heads)
