"""Results: an account that ended before results were kept gets the one that its end would have frozen.

A result follows from the ledger alone, so it is the same whoever derives it and whenever. A ledger that does not hold
gives none; `prop verify` says what is wrong with it. Memory is bounded by one account.
"""

from typing import Final

import structlog
from sqlalchemy import Connection, text

from engine.book import replayed
from engine.events import RecordedEvent
from engine.results import ResultView, result_of
from persistence.codec import canonical_payload
from persistence.drift import result_row
from persistence.recovery import Decoding

LACKING: Final = """
SELECT id::text FROM prop_accounts account
WHERE status IN ('completed', 'liquidated')
  AND NOT EXISTS (SELECT FROM prop_account_results result WHERE result.account_id = account.id)
ORDER BY id
"""
LEDGER: Final = """
SELECT account_id::text, seq, type, version, occurred_at, epoch, request_id, payload::text, hash
FROM prop_ledger_events WHERE account_id = CAST(:account_id AS uuid) ORDER BY seq
"""
FREEZE: Final = """
INSERT INTO prop_account_results (account_id, account_seq, status, ended_at, policy_hash, head_hash, result)
VALUES (CAST(:account_id AS uuid), :account_seq, :status, :ended_at, :policy_hash, :head_hash, CAST(:result AS jsonb))
ON CONFLICT DO NOTHING
"""

log = structlog.get_logger(__name__)


def freeze_lacking(connection: Connection) -> None:
    """Freeze what is lacking, account by account, each in a transaction of its own."""
    for account_id in connection.execute(text(LACKING)).scalars().all():
        rows = connection.execute(text(LEDGER), {"account_id": account_id}).mappings()
        ledger = [RecordedEvent(**{**row, "payload": canonical_payload(row["payload"])}) for row in rows]
        result = _derived(account_id, ledger)
        if result is not None:
            connection.execute(text(FREEZE), result_row(result))
        connection.commit()


def _derived(account_id: str, ledger: list[RecordedEvent]) -> ResultView | None:
    try:
        book, _ = replayed(Decoding(0, ledger), receipts_in_memory_max=0)
    except Exception as error:  # whatever a row does to the replay, it says that the row is not what was recorded
        log.error("result_not_derived", account_id=account_id, detail=str(error) or type(error).__name__)
        return None
    return result_of(book.account, ledger)
