"""Admin: stopping, correcting and auditing accounts. Each write has a reason, and leaves a row in the audit log."""

from actors.messages import Deed
from engine.commands import (
    Correction,
    Lifecycle,
    LiquidateAccount,
    LockAccount,
    PauseAccount,
    ResumeAccount,
    VoidFill,
    VoidOrder,
)
from gateway.calls import Answer, Call
from gateway.replies import Recomputation, Voiding
from gateway.schemas import AccountPageQuery, ReasonIn, VoidFillIn, VoidOrderIn, WriteQuery


async def pause(call: Call[WriteQuery, ReasonIn]) -> Answer:
    """Refuse actions, go on marking. A paused account is returned unchanged."""
    return await _applied(call, PauseAccount(call.body.reason), "pause")


async def resume(call: Call[WriteQuery, ReasonIn]) -> Answer:
    """Let a paused or locked account trade again. An active one is returned unchanged."""
    return await _applied(call, ResumeAccount(call.body.reason), "resume")


async def lock(call: Call[WriteQuery, ReasonIn]) -> Answer:
    """Refuse actions and marks. A locked account is returned unchanged."""
    return await _applied(call, LockAccount(call.body.reason), "lock")


async def liquidate(call: Call[WriteQuery, ReasonIn]) -> Answer:
    """Close every position at the current quotes and end the account as liquidated."""
    return await _applied(call, LiquidateAccount(call.body.reason), "liquidate")


async def void_fill(call: Call[WriteQuery, VoidFillIn]) -> Answer:
    """Take a fill out: the account is re-derived from its remaining fills.

    A fill that is out already changes nothing. Where later fills would take off more than is there, 409 lists them in
    `fills`; `cascade` takes them out too. The liquidation rule is applied by the next mark.
    """
    asked = call.body
    return await _corrected(call, VoidFill(asked.fill_id.lower(), asked.reason, asked.cascade), "void_fill")


async def void_order(call: Call[WriteQuery, VoidOrderIn]) -> Answer:
    """Take the fill of an order out, as void-fill does."""
    asked = call.body
    return await _corrected(call, VoidOrder(asked.order_id.lower(), asked.reason, asked.cascade), "void_order")


async def recompute(call: Call[WriteQuery, ReasonIn]) -> Answer:
    """Replay the ledger from its first event, compare with live state and tables, and put right what differs.

    The ledger is never changed but for one more event, `account_recomputed`. `drift` lists the first hundred
    differences. Where the ledger itself does not hold, nothing is repaired.
    """
    deed = Deed(call.token_name, "recompute", call.body.reason)
    found = await call.recompute(dry_run=call.query.dry_run, deed=deed)
    return Answer(
        body=Recomputation(
            account_id=call.account_id,
            account_seq=found.account_seq,
            consistent=found.drifts == 0,
            drifts=found.drifts,
            drift=found.drift,
            repaired=found.repaired,
        ),
        dry_run=call.query.dry_run,
    )


async def audit_log(call: Call[AccountPageQuery, None]) -> Answer:
    """What administrators did to an account, newest first."""
    account_id, query, seq = call.account_id, call.query, await call.head(call.query)
    before = call.after("audit-log", int, query, account_id)
    found = await call.parts.queries.audit_log(account_id, before=before, limit=query.limit)
    return Answer(body=call.page("audit-log", found, account_id) | {"accountSeq": seq})


async def _applied(call: Call[WriteQuery, ReasonIn], command: Lifecycle, action: str) -> Answer:
    deed = Deed(call.token_name, action, call.body.reason)
    submitted = await call.submit(command, dry_run=call.query.dry_run, deed=deed)
    return Answer(body=submitted.account, dry_run=call.query.dry_run)


async def _corrected(
    call: Call[WriteQuery, VoidFillIn] | Call[WriteQuery, VoidOrderIn], command: Correction, action: str
) -> Answer:
    deed = Deed(call.token_name, action, call.body.reason)
    done = await call.correct(command, dry_run=call.query.dry_run, deed=deed)
    voided = done.voided
    return Answer(
        body=Voiding(
            account_id=call.account_id,
            account_seq=done.account.account_seq,
            voided_fill_ids=voided.fill_ids if voided is not None else (),
            voided_order_ids=voided.order_ids if voided is not None else (),
            restated_fills=voided.restated_fills if voided is not None else (),
            account=done.account,
            balance=done.balance,
            positions=done.positions,
        ),
        dry_run=call.query.dry_run,
    )
