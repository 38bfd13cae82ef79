"""Quarantine: accounts that break at one place again and again are not rebuilt any more (G8).

Guarantee: the count is the account's, whichever hosts it breaks on: hosts tell what broke, and only here is it counted.
A break is told again and again and counted once, by the epoch of the activation that broke. Two breaks at different
seqs are no pattern, and a recompute that put the account right begins a new count.
The count lives as long as the supervisor; a new one hears the last breaks again from the hosts that have outlived it.
"""

from collections.abc import Mapping
from typing import Final

import structlog

from actors.ports import Break

log = structlog.get_logger(__name__)

QUARANTINE_AFTER: Final = 2
"""An account that breaks this often at one seq is not rebuilt again."""
SHOWN_MAX: Final = 20
"""Accounts named to those who ask how recovery is; further ones are only counted."""


class Quarantine:
    """Every account that has broken. `absent` are those that live nowhere for that reason, and their last break."""

    def __init__(self) -> None:
        self._last: dict[str, Break] = {}
        self._times: dict[str, int] = {}
        self.absent: dict[str, Break] = {}

    def broke(self, account_id: str, broke: Break) -> bool:
        """Count it; True where that puts the account in quarantine."""
        last = self._last.get(account_id)
        if last is not None and broke.epoch <= last.epoch:
            return False  # told before
        times = self._times.get(account_id, 0) + 1 if last is not None and last.seq == broke.seq else 1
        self._last[account_id], self._times[account_id] = broke, times
        if times != QUARANTINE_AFTER:
            return False
        self.absent[account_id] = broke
        log.error("account_quarantined", account_id=account_id, seq=broke.seq, why=broke.why)
        return True

    def not_rebuilt(self, broken: Mapping[str, Break]) -> None:
        """Accounts that could not be activated."""
        for account_id, broke in broken.items():
            self.broke(account_id, broke)
            if account_id not in self.absent:
                log.error("account_broken", account_id=account_id, seq=broke.seq, why=broke.why)
            self.absent[account_id] = broke

    def restored(self, account_id: str, epoch: int) -> None:
        """Somebody has put it right, in an activation of this epoch."""
        last = self._last.get(account_id)
        if last is None or epoch > last.epoch:
            self._last[account_id], self._times[account_id] = Break(epoch, 0, "put right"), 0
            self.absent.pop(account_id, None)

    def lives(self, account_id: str) -> None:
        """It could be activated."""
        if account_id not in self:
            self.absent.pop(account_id, None)

    def __contains__(self, account_id: str) -> bool:
        return self._times.get(account_id, 0) >= QUARANTINE_AFTER

    def sentence(self, account_id: str) -> str:
        """Why it takes no writes, for whoever is on call. Of an account that has broken."""
        broke = self._last[account_id]
        what = "broke twice" if account_id in self else "cannot be rebuilt"
        return f"account {account_id} {what} at seq {broke.seq}: {broke.why}"

    def summary(self) -> str:
        """How many are absent, and the first of them by id, seq and reason."""
        shown = [f", {each} (seq {broke.seq}: {broke.why})" for each, broke in list(self.absent.items())[:SHOWN_MAX]]
        further = len(self.absent) - len(shown)
        return f"{len(self.absent)} accounts in quarantine{''.join(shown)}" + (
            f" and {further} more" if further else ""
        )
