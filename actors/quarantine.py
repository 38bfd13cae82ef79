"""Quarantine: accounts that break at one place again and again are not rebuilt any more (G8)."""

from typing import Final

import structlog

log = structlog.get_logger(__name__)

QUARANTINE_AFTER: Final = 2
"""An account that breaks this often at one seq is not rebuilt again."""


class Quarantine:
    """Counts of one host's life: a host that starts anew gives every account its chance again."""

    def __init__(self, host: str) -> None:
        self._host = host
        self._breaks: dict[str, tuple[int, int]] = {}
        self._reasons: dict[str, str] = {}

    def broke(self, account_id: str, seq: int, why: str) -> None:
        """The account itself was at fault, `seq` being its last durable event or the one that could not be replayed."""
        last_seq, times = self._breaks.get(account_id, (seq, 0))
        times = times + 1 if last_seq == seq else 1
        self._breaks[account_id] = seq, times
        self._reasons[account_id] = f"broke twice at seq {seq}: {why}"
        if times == QUARANTINE_AFTER:
            log.error("account_quarantined", host=self._host, account_id=account_id, seq=seq, why=why)

    def release(self, account_id: str) -> None:
        """Somebody has put it right."""
        self._breaks.pop(account_id, None)
        self._reasons.pop(account_id, None)

    def reason(self, account_id: str) -> str:
        """Why it is in here."""
        return self._reasons[account_id]

    def __contains__(self, account_id: str) -> bool:
        return self._breaks.get(account_id, (0, 0))[1] >= QUARANTINE_AFTER
