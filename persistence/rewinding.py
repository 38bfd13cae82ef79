"""Rewinding: an account as it stood at an earlier place of its ledger, without touching the account.

The ledger is replayed from its first event, so that the book is proven by its hash chain up to that place.
"""

from typing import Final

from engine.book import AccountBook, replayed
from engine.events import RecordedEvent
from engine.receipts import RECENT_MAX
from persistence.recovery import BrokenLedger, Decoding, LedgerBroken
from persistence.store import Store

NO_EPOCH: Final = 0
"""Nobody writes in it."""


async def book_at(store: Store, account_id: str, at_seq: int | None = None) -> AccountBook | None:
    """The book after event `at_seq`, or after the last one; None where there is no such account.

    Raises `LedgerBroken`, also where the ledger ends before `at_seq`, and `StoreUnavailable`.
    """
    events: list[RecordedEvent] = []
    async for recorded in store.ledger({account_id: 0}):
        events.append(recorded)
        if recorded.seq == at_seq:
            break
    if not events:
        return None
    decoding = Decoding(0, events)
    try:
        book, _ = replayed(decoding, epoch=NO_EPOCH, receipts_in_memory_max=RECENT_MAX)
    except Exception as error:  # whatever a row does to the replay, it says that the row is not what was recorded
        raise LedgerBroken(BrokenLedger(account_id, decoding.seq, str(error) or type(error).__name__)) from error
    if at_seq is not None and book.account.seq != at_seq:
        raise LedgerBroken(BrokenLedger(account_id, book.account.seq + 1, f"the ledger ends at seq {book.account.seq}"))
    return book
