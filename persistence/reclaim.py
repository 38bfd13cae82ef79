"""Reclaim: many accounts taken over and rebuilt, part after part.

Guarantee: an account is claimed before it is read, so that whoever hosted it can write no more (G4). While one part is
decoded here, Postgres claims and reads for another.
"""

import asyncio
from collections.abc import Sequence
from typing import Final

import msgspec

from engine.book import AccountBook
from persistence.recovery import BrokenLedger, recover
from persistence.store import Head, Store, StoreUnavailable

PART_ACCOUNTS: Final = 500
PARTS_AT_ONCE: Final = 2
"""As many connections are in use."""


class Reclaimed(msgspec.Struct, frozen=True):
    """`heads`: who was claimed, each under its new epoch. Each of them is in one of the others, too, unless another
    activation has claimed it since."""

    heads: dict[str, Head]
    books: dict[str, AccountBook]
    failures: dict[str, BrokenLedger]


async def reclaim(store: Store, account_ids: Sequence[str], *, receipts_in_memory_max: int) -> Reclaimed:
    """Claim and rebuild accounts. Left out is who is unknown, and whose part could not be claimed while others were;
    raises `StoreUnavailable` where that is all of them, or what was claimed cannot be read."""
    reclaimed = Reclaimed({}, {}, {})
    parts = iter([account_ids[start : start + PART_ACCOUNTS] for start in range(0, len(account_ids), PART_ACCOUNTS)])
    unclaimed: list[StoreUnavailable] = []

    async def take_turns() -> None:
        for part in parts:
            try:
                heads = await store.claim(part)
            except StoreUnavailable as away:
                unclaimed.append(away)
                continue
            recovered = await recover(store, heads, receipts_in_memory_max=receipts_in_memory_max)
            reclaimed.heads.update(heads)
            reclaimed.books.update(recovered.books)
            reclaimed.failures.update(recovered.failures)

    try:
        async with asyncio.TaskGroup() as turns:
            for _ in range(PARTS_AT_ONCE):
                turns.create_task(take_turns())
    except BaseExceptionGroup as failed:
        raise failed.exceptions[0] from None  # the others were stopped by it
    if unclaimed and not reclaimed.heads:
        raise unclaimed[0]
    return reclaimed
