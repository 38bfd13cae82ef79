"""Results: what is frozen of an account when it ends, derived from its ledger and nothing else (G10)."""

from collections.abc import Iterable
from datetime import datetime
from decimal import Decimal
from hashlib import blake2b
from typing import Final

from engine.account import Account, Counters, Status
from engine.canonical import canonical
from engine.events import AccountCompleted, AccountLiquidated, RecordedEvent
from engine.policy import Policy
from engine.statistics import Statistics, statistics
from engine.views import BalanceView, View, balance_view

ENDINGS: Final = frozenset({AccountCompleted.TYPE, AccountLiquidated.TYPE})


class ResultView(View, frozen=True, kw_only=True):
    """An account as it ended. `account_seq` and `head_hash` are those of the event that ended it, `policy_hash` the
    blake2b-256 of the canonical policy; both in hex. Positions that were left open count at their last mark."""

    account_id: str
    account_seq: int
    status: Status
    end_reason: str
    started_at: datetime
    ended_at: datetime
    currency: str
    starting_balance: Decimal
    balance: BalanceView
    statistics: Statistics
    counters: Counters
    policy_hash: str
    head_hash: str


def result_of(account: Account, events: Iterable[RecordedEvent]) -> ResultView | None:
    """The result, where one of these events of the account is the one that ended it."""
    if not account.is_terminal:
        return None
    ending = next((event for event in events if event.type in ENDINGS), None)
    if ending is None:
        return None  # it ended before these
    started_at, ended_at, reason, counters = (
        account.started_at,
        account.ended_at,
        account.end_reason,
        account.final_counters,
    )
    if started_at is None or ended_at is None or reason is None or counters is None:
        raise AssertionError(f"account {account.id} ended without beginning")
    return ResultView(
        account_id=account.id,
        account_seq=ending.seq,
        status=account.status,
        end_reason=reason,
        started_at=started_at,
        ended_at=ended_at,
        currency=account.opening.currency,
        starting_balance=account.starting_balance,
        balance=balance_view(account),
        statistics=statistics(account),
        counters=counters,
        policy_hash=policy_hash(account.policy).hex(),
        head_hash=ending.hash.hex(),
    )


def policy_hash(policy: Policy) -> bytes:
    return blake2b(canonical(policy), digest_size=32).digest()
