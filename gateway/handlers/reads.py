"""Reads of one account, and of the prices the engine sees.

What shows balances is read from the live account; lists come from the tables, where everything is durable.
"""

from typing import Final

from engine.decision_context import decision_context
from gateway.calls import Answer, Call
from gateway.handlers.actions import record
from gateway.replies import AgedDecisionContext, Prices, aged, aged_snapshot, price
from gateway.schemas import AccountPageQuery, PositionsQuery, PricesQuery, ReadQuery
from persistence.queries import Page

ACTIONS_IN_CONTEXT: Final = 20


async def snapshot(call: Call[ReadQuery, None]) -> Answer:
    """The account, its balance and its open positions, each with the age of its mark."""
    account = await call.account(call.query)
    return Answer(body=aged_snapshot(account, call.parts.clock()), seq=account.seq)


async def context(call: Call[ReadQuery, None]) -> Answer:
    """What an agent needs before it decides."""
    account = await call.account(call.query)
    now = call.parts.clock()
    seen = decision_context(account, await call.parts.client.quotes(), now)
    shown = aged_snapshot(account, now)
    recent = (await call.parts.queries.actions(account.id, limit=ACTIONS_IN_CONTEXT)).data
    return Answer(
        body=AgedDecisionContext(
            account_id=account.id,
            account_seq=account.seq,
            snapshot=shown,
            policy=seen.policy,
            symbols=seen.symbols,
            liquidation_distance=seen.liquidation_distance,
            rules=shown.rules,
            actions=tuple(record(account.id, receipt) for receipt in recent),
        )
    )


async def orders(call: Call[AccountPageQuery, None]) -> Answer:
    """Orders, oldest first."""
    account_id, query, seq = call.account_id, call.query, await call.head(call.query)
    after = call.after("orders", int, query, account_id) or 0
    found = await call.parts.queries.orders(account_id, after=after, limit=query.limit)
    return Answer(body=call.page("orders", found, account_id) | {"accountSeq": seq})


async def fills(call: Call[AccountPageQuery, None]) -> Answer:
    """Fills, oldest first."""
    account_id, query, seq = call.account_id, call.query, await call.head(call.query)
    after = call.after("fills", int, query, account_id) or 0
    found = await call.parts.queries.fills(account_id, after=after, limit=query.limit)
    return Answer(body=call.page("fills", found, account_id) | {"accountSeq": seq})


async def positions(call: Call[PositionsQuery, None]) -> Answer:
    """Positions by when they were opened; the open ones unless `status` says otherwise."""
    account_id, query, seq = call.account_id, call.query, await call.head(call.query)
    after = call.after("positions", int, query, account_id, query.status) or 0
    found = await call.parts.queries.positions(account_id, status=query.status, after=after, limit=query.limit)
    now = call.parts.clock()
    shown = Page(tuple(aged(position, now) for position in found.data), found.next)
    return Answer(body=call.page("positions", shown, account_id, query.status) | {"accountSeq": seq})


async def prices(call: Call[PricesQuery, None]) -> Answer:
    """The quotes the engine sees now, by symbol. A symbol without a quote is left out."""
    quotes, now = await call.parts.client.quotes(), call.parts.clock()
    wanted = sorted(quotes) if call.query.symbols is None else dict.fromkeys(call.query.symbols)
    return Answer(body=Prices(data=tuple(price(quotes[symbol], now) for symbol in wanted if symbol in quotes)))
