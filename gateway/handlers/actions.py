"""Decision actions: judging a batch, and reading one action back."""

import msgspec

from engine.receipts import Receipt
from gateway import mapping, wire
from gateway.calls import Answer, Call
from gateway.problems import Problem
from gateway.replies import DecisionAction, SplicedActions
from gateway.schemas import DecisionActionsIn, NoQuery, WriteQuery


async def take(call: Call[WriteQuery, DecisionActionsIn]) -> Answer:
    """Judge up to 100 actions in order. A gate that says no is a result, not an error."""
    batch = mapping.batch(call.body)
    taken = await call.take(batch, dry_run=call.query.dry_run)
    return Answer(
        body=wire.spliced(
            SplicedActions(
                account_id=call.account_id,
                decision_run_id=batch.decision_run_id,
                account_seq=taken.account_seq,
                dry_run=call.query.dry_run,
                results=msgspec.Raw(taken.results_json),
                balance=msgspec.Raw(taken.balance_json),
            )
        )
    )


async def read(call: Call[NoQuery, None]) -> Answer:
    """One action as it was asked, and what became of it."""
    prop_action_id = call.id_in_path("prop_action_id", "decision_action_not_found")
    stored = await call.parts.queries.action(prop_action_id)
    if stored is None:
        raise Problem("decision_action_not_found")
    return Answer(body=record(stored.account_id, stored.receipt), seq=stored.receipt.seq)


def record(account_id: str, receipt: Receipt) -> DecisionAction:
    return DecisionAction(
        account_id=account_id,
        decision_run_id=receipt.decision_run_id,
        account_seq=receipt.seq,
        decided_at=receipt.decided_at,
        action=receipt.action,
        result=receipt.result,
    )
