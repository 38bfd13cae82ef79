"""What the auditor reads: rows of every account and every quote ever recorded, from Postgres or from memory."""

from collections.abc import Iterable
from typing import Any

import msgspec
import psycopg
from psycopg.rows import tuple_row

from engine.canonical import plain
from persistence.memory_store import MemoryStore
from tests.support.audit import AccountRows, EventRow, ReceiptRow
from tests.support.audit_prices import QuoteKey

HEADS = "select account_id::text, last_seq, cash from prop_account_balances order by account_id"
EVENTS = "select account_id::text, seq, epoch, type, occurred_at, payload from prop_ledger_events"
RECEIPTS = """
    select account_id::text, decision_run_id, decision_action_id, seq, action, result from prop_decision_actions
"""
QUOTES = "select symbol, bid, ask, observed_at from market_prices where bid is not null and ask is not null"


def in_postgres(url: str) -> tuple[list[AccountRows], list[QuoteKey]]:
    """Everything in one consistent picture."""
    with psycopg.connect(url, options="-c timezone=UTC -c statement_timeout=0", row_factory=tuple_row) as connection:
        connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        accounts = {
            account_id: AccountRows(account_id=account_id, last_seq=last_seq, cash=cash)
            for account_id, last_seq, cash in connection.execute(HEADS)
        }
        for account_id, seq, epoch, type_, at, payload in connection.execute(EVENTS):
            accounts[account_id].events.append(EventRow(seq=seq, epoch=epoch, type=type_, at=at, payload=payload))
        for account_id, run, action_id, seq, action, result in connection.execute(RECEIPTS):
            receipt = ReceiptRow(key=(run, action_id), seq=seq, action=action, result=result)
            accounts[account_id].receipts.append(receipt)
        quotes = [(symbol, bid, ask, at) for symbol, bid, ask, at in connection.execute(QUOTES)]
    return list(accounts.values()), quotes


def in_memory(store: MemoryStore, quotes: Iterable[QuoteKey]) -> tuple[list[AccountRows], list[QuoteKey]]:
    """The same rows of a store in memory, which keeps no quotes."""
    accounts = {
        account_id: AccountRows(account_id=account_id, last_seq=head.last_seq, cash=store.balances[account_id].cash)
        for account_id, head in store.heads.items()
    }
    for event in store.events.values():
        payload = msgspec.json.decode(event.payload)
        accounts[event.account_id].events.append(
            EventRow(seq=event.seq, epoch=event.epoch, type=event.type, at=event.occurred_at, payload=payload)
        )
    for (account_id, key), receipt in store.actions.items():
        shown = as_wire(receipt)
        accounts[account_id].receipts.append(
            ReceiptRow(key=key, seq=receipt.seq, action=shown["action"], result=shown["result"])
        )
    return list(accounts.values()), list(quotes)


def as_wire(view: object) -> Any:
    """A view of the engine as a client reads it."""
    return plain(view)
