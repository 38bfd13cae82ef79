"""Admin: what operators do to accounts. Every call needs a reason and a token with `prop:admin`."""

from prop.calls import Calls
from prop.models import Account
from prop.transport import ADMIN


class AdminCalls(Calls):
    """The part of the client that is for operators."""

    async def pause(self, account_id: str, reason: str, *, dry_run: bool = False) -> Account:
        """Refuse actions, go on marking.

        >>> (await prop.pause(account.id, "inspection")).status
        'paused'
        """
        return await self._applied(f"{ADMIN}/accounts/{account_id}/pause", {"reason": reason}, dry_run)

    async def resume(self, account_id: str, reason: str, *, dry_run: bool = False) -> Account:
        """Let a paused or locked account trade again.

        >>> (await prop.resume(account.id, "inspected")).status
        'active'
        """
        return await self._applied(f"{ADMIN}/accounts/{account_id}/resume", {"reason": reason}, dry_run)

    async def lock(self, account_id: str, reason: str, *, dry_run: bool = False) -> Account:
        """Refuse actions and marks.

        >>> (await prop.lock(account.id, "frozen", dry_run=True)).status
        'locked'
        """
        return await self._applied(f"{ADMIN}/accounts/{account_id}/lock", {"reason": reason}, dry_run)

    async def admin_liquidate(self, account_id: str, reason: str, *, dry_run: bool = False) -> Account:
        """End an account as liquidated, by an operator.

        >>> (await prop.admin_liquidate(account.id, "rules broken", dry_run=True)).status
        'liquidated'
        """
        path = f"{ADMIN}/accounts/{account_id}/liquidate"
        return await self._ended(account_id, "liquidated", path, {"reason": reason}, dry_run)
