"""Reads: accounts, what they hold and did, prices, and the ledger as it is written.

Reads of one account take `min_seq` and `wait_ms`: read your writes. Lists are iterators that turn their own pages.
"""

from collections.abc import AsyncIterator, Iterable
from datetime import datetime
from typing import Literal

from prop.calls import Calls, of_account
from prop.models import (
    Account,
    AgedPosition,
    DecisionAction,
    DecisionContext,
    EquityCurve,
    Fill,
    LedgerEvent,
    Order,
    Price,
    Prices,
    Result,
    Snapshot,
    Standings,
)
from prop.stream import StreamedEvent, follow
from prop.transport import PREFIX, segments
from prop.values import in_utc

Status = Literal["pending", "active", "paused", "locked", "completed", "liquidated"]


class ReadCalls(Calls):
    """The part of the client that reads."""

    async def account(self, account_id: str, *, min_seq: int = 0, wait_ms: int = 0) -> Account:
        """One account.

        >>> (await prop.account(account.id)).owner_id
        'user-7'
        """
        return await self._get(of_account(account_id), Account, minSeq=min_seq, waitMs=wait_ms)

    def accounts(
        self,
        *,
        status: Status | None = None,
        owner_id: str | None = None,
        clone_id: str | None = None,
        race_id: str | None = None,
        mode: Literal["audition", "race", "live_paper"] | None = None,
    ) -> AsyncIterator[Account]:
        """Accounts that match every filter, oldest first.

        >>> [each.id async for each in prop.accounts(status="active")] == [account.id]
        True
        """
        filters = {"status": status, "ownerId": owner_id, "cloneId": clone_id, "raceId": race_id, "mode": mode}
        return self._rows(f"{PREFIX}/accounts", Account, filters)

    def clone_accounts(self, clone_id: str) -> AsyncIterator[Account]:
        """Accounts of a clone, oldest first.

        >>> [each.clone_id async for each in prop.clone_accounts("clone-9")]
        ['clone-9']
        """
        return self._rows(PREFIX + segments("clones", clone_id, "accounts"), Account, {})

    async def snapshot(self, account_id: str, *, min_seq: int = 0, wait_ms: int = 0) -> Snapshot:
        """The account, its balance and its open positions, each with the age of its mark.

        >>> (await prop.snapshot(account.id, min_seq=taken.account_seq)).positions[0].quantity
        Decimal('0.50000000')
        """
        return await self._get(of_account(account_id, "snapshot"), Snapshot, minSeq=min_seq, waitMs=wait_ms)

    async def decision_context(self, account_id: str, *, min_seq: int = 0, wait_ms: int = 0) -> DecisionContext:
        """What an agent needs before it decides.

        >>> (await prop.decision_context(account.id)).symbols[0].symbol
        'BTC-USD'
        """
        path = of_account(account_id, "decision-context")
        return await self._get(path, DecisionContext, minSeq=min_seq, waitMs=wait_ms)

    def decision_actions(
        self,
        account_id: str,
        *,
        decision_run_id: str | None = None,
        decision_action_id: str | None = None,
        status: Literal["executed", "rejected"] | None = None,
        code: str | None = None,
        min_seq: int = 0,
        wait_ms: int = 0,
    ) -> AsyncIterator[DecisionAction]:
        """Judged actions that match every filter, newest first. None under a key: the engine never had that action.

        >>> [each.result.status async for each in prop.decision_actions(account.id, decision_run_id="run-1")]
        ['executed']
        """
        filters = {"decisionRunId": decision_run_id, "decisionActionId": decision_action_id, "status": status}
        query = {**filters, "code": code, "minSeq": min_seq, "waitMs": wait_ms}
        return self._rows(of_account(account_id, "decision-actions"), DecisionAction, query)

    def orders(self, account_id: str, *, min_seq: int = 0, wait_ms: int = 0) -> AsyncIterator[Order]:
        """Orders, oldest first.

        >>> [order.intent async for order in prop.orders(account.id)]
        ['open']
        """
        query = {"minSeq": min_seq, "waitMs": wait_ms}
        return self._rows(of_account(account_id, "orders"), Order, query)

    def fills(self, account_id: str, *, min_seq: int = 0, wait_ms: int = 0) -> AsyncIterator[Fill]:
        """Fills, oldest first.

        >>> [fill.fee async for fill in prop.fills(account.id)]
        [Decimal('25.00000000')]
        """
        query = {"minSeq": min_seq, "waitMs": wait_ms}
        return self._rows(of_account(account_id, "fills"), Fill, query)

    def positions(
        self,
        account_id: str,
        *,
        status: Literal["open", "closed", "all"] = "open",
        min_seq: int = 0,
        wait_ms: int = 0,
    ) -> AsyncIterator[AgedPosition]:
        """Positions by when they were opened.

        >>> [position.side async for position in prop.positions(account.id, status="all")]
        ['long']
        """
        query = {"status": status, "minSeq": min_seq, "waitMs": wait_ms}
        return self._rows(of_account(account_id, "positions"), AgedPosition, query)

    async def equity(
        self,
        account_id: str,
        *,
        points: int = 500,
        since: datetime | None = None,
        until: datetime | None = None,
        min_seq: int = 0,
        wait_ms: int = 0,
    ) -> EquityCurve:
        """What the account was worth, from `since` until `until`, in at most so many points.

        >>> (await prop.equity(account.id)).points[0].equity
        Decimal('100000.00000000')
        """
        moments = {name: None if at is None else in_utc(at) for name, at in (("from", since), ("to", until))}
        path = of_account(account_id, "equity")
        return await self._get(path, EquityCurve, points=points, minSeq=min_seq, waitMs=wait_ms, **moments)

    async def result(self, account_id: str, *, min_seq: int = 0, wait_ms: int = 0) -> Result:
        """How an account that has ended did; raises `AccountNotTerminal` before.

        >>> ended = await prop.create_account("user-7", "clone-10")
        >>> ended = await prop.complete((await prop.start(ended.id)).id)
        >>> (await prop.result(ended.id)).statistics.trades
        0
        """
        return await self._get(of_account(account_id, "result"), Result, minSeq=min_seq, waitMs=wait_ms)

    async def standings(self, race_id: str, *, limit: int = 100) -> Standings:
        """Accounts of a race by equity, all valued in one marking pass.

        >>> (await prop.standings("race-1")).data
        []
        """
        return await self._get(PREFIX + segments("races", race_id, "standings"), Standings, limit=limit)

    def ledger(
        self,
        account_id: str,
        *,
        after_seq: int = 0,
        type: str | None = None,  # the name that the API has for it
        min_seq: int = 0,
        wait_ms: int = 0,
    ) -> AsyncIterator[LedgerEvent]:
        """Ledger events that are there, by seq.

        >>> [event.type async for event in prop.ledger(account.id, type="fill_booked")]
        ['fill_booked']
        """
        query = {"afterSeq": after_seq, "type": type, "minSeq": min_seq, "waitMs": wait_ms}
        return self._rows(of_account(account_id, "ledger"), LedgerEvent, query)

    def follow_ledger(
        self,
        account_id: str,
        *,
        after_seq: int = 0,
        type: str | None = None,  # the name that the API has for it
    ) -> AsyncIterator[StreamedEvent]:
        """Ledger events of an account after `after_seq`: those that are there, then each as it is committed, for ever.

        >>> async for event in prop.follow_ledger(account.id):
        ...     print(event.seq, event.type)
        ...     break
        1 account_created
        """
        after = str(after_seq) if after_seq else None
        return follow(self._transport, of_account(account_id, "ledger"), query={"type": type}, after=after)

    def events(
        self, *, after: str | None = None, start: Literal["beginning", "now"] = "beginning"
    ) -> AsyncIterator[StreamedEvent]:
        """Ledger events of all accounts after the `stream_id` of one, then each as it is committed, for ever.

        >>> async for event in prop.events(start="beginning"):
        ...     print(event.account_id == account.id, event.type)
        ...     break
        True account_created
        """
        return follow(self._transport, f"{PREFIX}/events", query={"start": start}, after=after)

    async def prices(self, symbols: Iterable[str] | None = None) -> list[Price]:
        """The quotes the engine sees now; all of them, or those of `symbols` that have one.

        >>> [price.mid for price in await prop.prices(["BTC-USD"])]
        [Decimal('50000.00000000')]
        """
        wanted = None if symbols is None else ",".join(symbols)
        return (await self._get(f"{PREFIX}/prices", Prices, symbols=wanted)).data
