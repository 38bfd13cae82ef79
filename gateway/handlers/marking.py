"""Marking: valuing open positions now."""

from engine.commands import MarkToMarket
from gateway.calls import Answer, Call
from gateway.replies import Marking, marking_pass
from gateway.schemas import EmptyIn, NoQuery


async def mark_one(call: Call[NoQuery, EmptyIn]) -> Answer:
    """Mark one account at the current quotes; a breached drawdown liquidates it."""
    submitted = await call.submit(MarkToMarket(call.new_id()))
    if submitted.mark is None:
        raise TypeError("a marking was answered without its outcome")
    return Answer(
        body=Marking(
            account_id=submitted.account.id,
            account_seq=submitted.account.account_seq,
            outcome=submitted.mark,
            balance=submitted.balance,
            failures=submitted.failures,
        )
    )


async def mark_all(call: Call[NoQuery, EmptyIn]) -> Answer:
    """One pass over every active and paused account, on one price vector."""
    return Answer(body=marking_pass(await call.parts.client.mark_all(request_id=call.request_id)))
