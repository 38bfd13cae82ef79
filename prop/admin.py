"""Admin: what operators do to accounts. Every call needs a reason and a token with `prop:admin`."""

from collections.abc import AsyncIterator

from prop.calls import Calls, of_admin
from prop.models import Account, AuditRow, Recomputation, VoidFillIn, Voiding, VoidOrderIn


class AdminCalls(Calls):
    """The part of the client that is for operators."""

    async def pause(self, account_id: str, reason: str, *, dry_run: bool = False) -> Account:
        """Refuse actions, go on marking.

        >>> (await prop.pause(account.id, "inspection")).status
        'paused'
        """
        return await self._post(of_admin(account_id, "pause"), Account, {"reason": reason}, dry_run=dry_run)

    async def resume(self, account_id: str, reason: str, *, dry_run: bool = False) -> Account:
        """Let a paused or locked account trade again.

        >>> (await prop.resume(account.id, "inspected")).status
        'active'
        """
        return await self._post(of_admin(account_id, "resume"), Account, {"reason": reason}, dry_run=dry_run)

    async def lock(self, account_id: str, reason: str, *, dry_run: bool = False) -> Account:
        """Refuse actions and marks.

        >>> (await prop.lock(account.id, "frozen", dry_run=True)).status
        'locked'
        """
        return await self._post(of_admin(account_id, "lock"), Account, {"reason": reason}, dry_run=dry_run)

    async def admin_liquidate(self, account_id: str, reason: str, *, dry_run: bool = False) -> Account:
        """End an account as liquidated, by an operator.

        >>> (await prop.admin_liquidate(account.id, "rules broken", dry_run=True)).status
        'liquidated'
        """
        path = of_admin(account_id, "liquidate")
        return await self._ended(account_id, "liquidated", path, {"reason": reason}, dry_run)

    async def void_fill(
        self, account_id: str, fill_id: str, reason: str, *, cascade: bool = False, dry_run: bool = False
    ) -> Voiding:
        """Take a fill out and derive the account again from those that remain.

        Raises `VoidWouldOrphan`, whose `members` name them, where later fills would no longer be possible; `cascade`
        takes those out too.

        >>> first = taken.results[0].fill
        >>> (await prop.void_fill(account.id, first.id, "bad print", dry_run=True)).voided_fill_ids == [first.id]
        True
        """
        asked = VoidFillIn(fill_id=fill_id, reason=reason, cascade=cascade)
        path = of_admin(account_id, "void-fill")
        return await self._post(path, Voiding, asked.wire(), dry_run=dry_run)

    async def void_order(
        self, account_id: str, order_id: str, reason: str, *, cascade: bool = False, dry_run: bool = False
    ) -> Voiding:
        """Take an order's fill out, like `void_fill`.

        >>> order = taken.results[0].order
        >>> (await prop.void_order(account.id, order.id, "bad print", dry_run=True)).voided_order_ids == [order.id]
        True
        """
        asked = VoidOrderIn(order_id=order_id, reason=reason, cascade=cascade)
        path = of_admin(account_id, "void-order")
        return await self._post(path, Voiding, asked.wire(), dry_run=dry_run)

    async def recompute(self, account_id: str, reason: str, *, dry_run: bool = False) -> Recomputation:
        """Replay the ledger from its first event, compare it with the live state and the tables, repair the tables.

        >>> (await prop.recompute(account.id, "monthly check")).consistent
        True
        """
        path = of_admin(account_id, "recompute")
        return await self._post(path, Recomputation, {"reason": reason}, dry_run=dry_run)

    def audit_log(self, account_id: str) -> AsyncIterator[AuditRow]:
        """What administrators did to the account, newest first.

        >>> [row.action async for row in prop.audit_log(account.id)]
        []
        """
        return self._rows(of_admin(account_id, "audit-log"), AuditRow, {})
