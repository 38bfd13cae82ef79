"""Recompute: one account's tables and live state held to its ledger, and what it takes to put them right.

Pure: the picture is handed in, and what comes out is written by `Store.mend`. The ledger is never repaired: where it
does not hold, `book` is None and nothing may be derived from it.
"""

from collections.abc import Iterator, Mapping
from typing import Final

import msgspec

from engine.book import AccountBook
from engine.canonical import plain
from engine.changes import Changes
from engine.results import ResultView, result_of
from engine.views import snapshot_view
from persistence.drift import ROW, Drift, RowKey, Rows, Stored, by_key, compared_live, differing
from persistence.reconcile import LEDGER, SNAPSHOTS, differences, drifts, made_by

NOTHING: Final = Changes((), (), (), ())


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that differs from the ledger. `book` is the account as the ledger makes it; `drifted` are the keys of
    rows that are wrong, missing or surplus, by table; `lost` holds the rows to put there, and `lost_result` the
    account's result."""

    drift: tuple[Drift, ...]
    book: AccountBook | None
    drifted: Mapping[str, tuple[RowKey, ...]]
    lost: Changes
    lost_result: ResultView | None = None


def examined(stored: Stored, live: AccountBook | None, *, epoch: int, receipts_in_memory_max: int) -> Finding:
    """Compare all that is stored, and the live account at the same seq if there is one, with the replayed ledger. The
    book that comes out writes in `epoch`."""
    if not stored.ledger:
        return Finding(drift=tuple(drifts(stored)), book=None, drifted={}, lost=NOTHING)
    made = made_by(stored, epoch=epoch, receipts_in_memory_max=receipts_in_memory_max)
    drift = tuple(differences(stored, made))
    if isinstance(made, Drift) or any(each.table == LEDGER for each in drift):
        return Finding(drift=drift, book=None, drifted={}, lost=NOTHING)
    book, found = made.book, {each.table for each in drift}
    drifted = {
        table: tuple(_differing(book.account.id, table, rows, by_key(table, stored.rows[table])))
        if table in found
        else ()
        for table, rows in made.rows.items()
    }
    drifted[SNAPSHOTS] = tuple((int(seq),) for seq in dict.fromkeys(e.key for e in drift if e.table == SNAPSHOTS))
    drift += () if live is None else tuple(_live(book, live))
    lost_result = result_of(book.account, stored.ledger) if drifted["prop_account_results"] else None
    return Finding(drift=drift, book=book, drifted=drifted, lost=_lost(made.changes, drifted), lost_result=lost_result)


def _differing(account_id: str, table: str, ledger: Rows, stored: Rows) -> Iterator[RowKey]:
    for key in ledger.keys() | stored.keys():
        if key not in ledger or key not in stored or any(differing(account_id, table, key, ledger[key], stored[key])):
            yield key


def _live(book: AccountBook, live: AccountBook) -> Iterator[Drift]:
    found = list(compared_live(book.account, plain(snapshot_view(live.account))))
    if not found and (book.account, book.head) != (live.account, live.head):
        found = [
            Drift(
                account_id=book.account.id,
                table="live",
                key=str(book.account.seq),
                field=ROW,
                ledger_value=book.head.hex(),
                stored_value=live.head.hex(),
            )
        ]
    yield from found


def _lost(made: Changes, drifted: Mapping[str, tuple[RowKey, ...]]) -> Changes:
    """Of the rows that the ledger makes, those that are not stored as they should be."""
    orders, fills, positions, actions = (
        frozenset(drifted[table]) for table in ("prop_orders", "prop_fills", "prop_positions", "prop_decision_actions")
    )
    return Changes(
        tuple(order for order in made.orders if (order.id,) in orders),
        tuple(fill for fill in made.fills if (fill.id,) in fills),
        tuple(row for row in made.positions if (row.opened_seq,) in positions),
        tuple(receipt for receipt in made.receipts if receipt.key in actions),
    )
