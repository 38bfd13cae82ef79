"""Books as a store has them: replayed from the whole ledger, and at the head that storage names."""

from engine.book import AccountBook, replayed
from persistence import codec
from persistence.store import Store


async def stored_book(store: Store, account_id: str) -> AccountBook:
    """Replayed from the whole ledger, which checks seq and hash of every event; its head is the head row's."""
    events = [event async for event in store.ledger({account_id: 0})]
    book, _ = replayed(
        ((event, codec.decode(event.type, event.version, event.payload)) for event in events),
        receipts_in_memory_max=1_000_000,
    )
    head = (await store.settle([account_id]))[account_id]
    assert (head.last_seq, head.head_hash) == (book.account.seq, book.head)
    return book
