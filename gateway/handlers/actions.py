"""Decision actions: judging a batch, and reading actions back."""

import msgspec

from engine.receipts import Receipt
from gateway import mapping, wire
from gateway.calls import Answer, Call
from gateway.problems import Problem
from gateway.replies import DecisionAction, SplicedActions
from gateway.schemas import DecisionActionsIn, DecisionActionsQuery, NoQuery, WriteQuery
from persistence.queries import ActionFilter, Page


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


async def list_all(call: Call[DecisionActionsQuery, None]) -> Answer:
    """Actions of an account as they were asked, and what became of them, newest first."""
    account_id, query, seq = call.account_id, call.query, await call.head(call.query)
    wanted = ActionFilter(
        decision_run_id=query.decision_run_id,
        decision_action_id=query.decision_action_id,
        status=query.status,
        code=query.code,
    )
    scope = account_id, *msgspec.structs.astuple(wanted)
    before = call.after("decision-actions", int, query, *scope)
    found = await call.parts.queries.actions(account_id, wanted, before=before, limit=query.limit)
    shown = Page(tuple(record(account_id, receipt) for receipt in found.data), found.next)
    return Answer(body=call.page("decision-actions", shown, *scope) | {"accountSeq": seq})


def record(account_id: str, receipt: Receipt) -> DecisionAction:
    return DecisionAction(
        account_id=account_id,
        decision_run_id=receipt.decision_run_id,
        account_seq=receipt.seq,
        decided_at=receipt.decided_at,
        action=receipt.action,
        result=receipt.result,
    )
