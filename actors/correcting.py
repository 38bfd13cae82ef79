"""Correcting: what a host needs beside its books when an administrator asks: the whole ledger, words for the audit log.

Owns no state. What an administrator asked for is audited with the account as it was before and as it is after.
"""

import asyncio
from datetime import datetime
from functools import partial
from typing import Final, overload

from msgspec.structs import replace

from actors.messages import Correct, Corrected, Recompute, Recomputed, Submit
from engine.account import Account
from engine.book import AccountBook, Entry
from engine.events import FillVoided
from engine.rejections import Refusal
from engine.views import AccountView, account_view, balance_view, open_positions, snapshot_view
from persistence import recompute
from persistence.drift import Stored
from persistence.recompute import Finding
from persistence.recovery import Decoding
from persistence.store import AuditEntry, Mend, Store, append_of

DRIFT_SHOWN_MAX: Final = 100
"""Drifts named in a reply and in the event; further ones are only counted."""
VALUE_CHARACTERS_MAX: Final = 120
"""Of a drifted value in the event."""


async def decided(store: Store, book: AccountBook, request: Correct, now: datetime) -> Entry | Refusal:
    """Have a book, whose events are all durable, take a fill out. A long ledger takes seconds, so another thread goes
    through it: the host's other accounts go on. Raises `StoreUnavailable`, and whatever a broken ledger does."""
    ledger = [event async for event in store.ledger({book.account.id: 0})]
    decide = partial(book.correct, request.command, Decoding(0, ledger), now, request_id=request.request_id)
    return await asyncio.to_thread(decide)


async def examined(stored: Stored, live: AccountBook | None, *, epoch: int, receipts_in_memory_max: int) -> Finding:
    """`recompute.examined`, in another thread for the same reason."""
    examine = partial(recompute.examined, stored, live, epoch=epoch, receipts_in_memory_max=receipts_in_memory_max)
    return await asyncio.to_thread(examine)


@overload
def audited(request: Correct | Recompute, before: Account | None, after: Account | None) -> AuditEntry: ...
@overload
def audited(request: Submit, before: Account, after: Account) -> AuditEntry | None: ...
def audited(request: Submit | Correct | Recompute, before: Account | None, after: Account | None) -> AuditEntry | None:
    """The row for a request that an administrator made; None where none did. An account that cannot be replayed has
    neither a before nor an after."""
    deed = request.deed
    if deed is None:
        return None
    return AuditEntry(
        token_name=deed.token_name,
        action=deed.action,
        account_id=request.account_id,
        reason=deed.reason,
        request_id=request.request_id,
        before=None if before is None else snapshot_view(before),
        after=None if after is None else snapshot_view(after),
    )


def shown(account: Account, before: Account, *, dry_run: bool) -> AccountView:
    """The account as answered: a dry run reflects the seq it started from, the only durable one."""
    view = account_view(account)
    return replace(view, account_seq=before.seq) if dry_run else view


def corrected(entry: Entry, before: Account, *, dry_run: bool) -> Corrected:
    voided = entry.decision.events[0] if entry.decision is not None and entry.decision.events else None
    return Corrected(
        voided if isinstance(voided, FillVoided) else None,
        shown(entry.account, before, dry_run=dry_run),
        balance_view(entry.account),
        open_positions(entry.account),
    )


def mended(found: Finding, book: AccountBook, request: Recompute, before: Account, now: datetime) -> Mend:
    """Moves the replayed book on by `account_recomputed`, and names every row that has to be put back."""
    told = tuple(
        f"{each.table} {each.key} {each.field}: ledger {_short(each.ledger_value)}, stored {_short(each.stored_value)}"
        for each in found.drift[:DRIFT_SHOWN_MAX]
    )
    entry = book.recomputed(request.deed.reason, told, now, request_id=request.request_id)
    append = append_of(
        book.account,
        epoch=book.epoch,
        expected_seq=entry.recorded[0].seq - 1,
        events=entry.recorded,
        changes=found.lost,
        audit=[audited(request, before, book.account)],
    )
    append = replace(append, result=found.lost_result)
    return Mend(append=append, opening=book.account.opening, drifted=found.drifted)


def recomputed(found: Finding, account_seq: int, *, repaired: bool) -> Recomputed:
    return Recomputed(account_seq, len(found.drift), found.drift[:DRIFT_SHOWN_MAX], repaired)


def _short(value: str | None) -> str:
    if value is None:
        return "nothing"
    return value if len(value) <= VALUE_CHARACTERS_MAX else value[: VALUE_CHARACTERS_MAX - 3] + "..."
