"""Accounts: opening, reading, listing and ending them."""

from engine.commands import (
    CompleteAccount,
    Lifecycle,
    LiquidateAccount,
    StartAccount,
)
from engine.views import account_view
from gateway import mapping
from gateway.calls import Answer, Call
from gateway.fields import CLIENT_ID
from gateway.problems import Fault, InvalidRequest
from gateway.schemas import (
    AccountsQuery,
    CompleteIn,
    CreateAccountIn,
    EmptyIn,
    NoQuery,
    PageQuery,
    ReadQuery,
    ReasonIn,
    WriteQuery,
)
from persistence.queries import AccountFilter, AccountKey

_KEY: type[AccountKey] = AccountKey  # type: ignore[assignment]  # a generic alias, which msgspec takes for a type


async def create(call: Call[NoQuery, CreateAccountIn]) -> Answer:
    """Open a pending account, or return the one this idempotency key opened."""
    asked = mapping.opening(call.body)
    created = await call.parts.client.create(asked, request_id=call.request_id)
    call.notes.update(account_id=created.account.id, seq=created.account.account_seq)
    if not created.replayed:
        return Answer(
            body=created.account, status=201, headers={"Location": f"/api/v1/prop/accounts/{created.account.id}"}
        )
    reused = mapping.reused_key(created.opening, asked)
    if reused is not None:
        raise reused
    return Answer(body=created.account, headers={"Idempotent-Replayed": "true"})


async def read(call: Call[ReadQuery, None]) -> Answer:
    """One account."""
    account = await call.account(call.query)
    return Answer(body=account_view(account), seq=account.seq)


async def list_all(call: Call[AccountsQuery, None]) -> Answer:
    """Accounts that match every filter, oldest first."""
    query = call.query
    wanted = AccountFilter(
        status=query.status, owner_id=query.owner_id, clone_id=query.clone_id, race_id=query.race_id, mode=query.mode
    )
    return await _listed(call, wanted, query)


async def list_of_clone(call: Call[PageQuery, None]) -> Answer:
    """Accounts of a clone, oldest first."""
    clone_id = call.path["clone_id"]
    if CLIENT_ID.fullmatch(clone_id) is None:
        raise InvalidRequest([Fault("/path/cloneId", "invalid_format", "is no client id")])
    return await _listed(call, AccountFilter(clone_id=clone_id), call.query)


async def _listed(
    call: Call[AccountsQuery, None] | Call[PageQuery, None], wanted: AccountFilter, query: PageQuery
) -> Answer:
    scope = (wanted.status, wanted.owner_id, wanted.clone_id, wanted.race_id, wanted.mode)
    after = call.after("accounts", _KEY, query, *scope)
    found = await call.parts.queries.accounts(wanted, after=after, limit=query.limit)
    return Answer(body=call.page("accounts", found, *scope))


async def start(call: Call[WriteQuery, EmptyIn]) -> Answer:
    """Let a pending account trade. An active one is returned unchanged."""
    return await _applied(call, StartAccount())


async def complete(call: Call[WriteQuery, CompleteIn]) -> Answer:
    """End the account, closing its positions at the current quotes first unless `settle` is none."""
    return await _applied(call, CompleteAccount(call.body.settle))


async def liquidate(call: Call[WriteQuery, ReasonIn]) -> Answer:
    """Close every position at the current quotes and end the account as liquidated."""
    return await _applied(call, LiquidateAccount(call.body.reason))


async def _applied(
    call: Call[WriteQuery, EmptyIn] | Call[WriteQuery, CompleteIn] | Call[WriteQuery, ReasonIn], command: Lifecycle
) -> Answer:
    submitted = await call.submit(command, dry_run=call.query.dry_run)
    return Answer(body=submitted.account, dry_run=call.query.dry_run)
