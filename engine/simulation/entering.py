"""Entering: the accounts of a simulation, as the live engine would open them, or as it left one."""

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from typing import Final

from msgspec.structs import replace

from engine.account import Account
from engine.book import AccountBook
from engine.commands import CreateAccount, StartAccount
from engine.day import Day
from engine.decide import Context
from engine.ids import derived_id
from engine.policy import Policy
from engine.simulation.faults import BadInput, InputCode
from engine.simulation.policies import checked
from engine.simulation.seat import REQUEST_ID

OWNER: Final = "simulation"
STARTING_BALANCE: Final = CreateAccount(owner_id=OWNER, clone_id="").starting_balance


def opened(
    policies: Sequence[Policy], at: datetime, *, first: int = 0, starting_balance: Decimal = STARTING_BALANCE
) -> list[AccountBook]:
    """Active accounts, one a policy, whose ids follow from their place and the time."""
    return [_opened(first + place, policy, at, starting_balance) for place, policy in enumerate(policies)]


def _opened(index: int, policy: Policy, at: datetime, starting_balance: Decimal) -> AccountBook:
    opening = CreateAccount(
        owner_id=OWNER, clone_id=f"account-{index}", starting_balance=starting_balance, policy=checked(policy)
    )
    account_id = derived_id("account", OWNER, index, at)
    book, _ = AccountBook.open(opening, account_id=account_id, now=at, request_id=REQUEST_ID)
    book.submit(StartAccount(), Context(at, {}), request_id=REQUEST_ID)
    return book


def forked(book: AccountBook, policies: Sequence[Policy | None]) -> list[AccountBook]:
    """Copies of an account as its ledger left it, one a policy; None keeps the account's own.

    With another policy it is an account that never was: its ledger goes on from the real one and says nothing of the
    change. Raises `BadInput` for one that is not active, since nothing can be done with it.
    """
    if book.account.status != "active":
        status = book.account.status
        raise BadInput(InputCode.UNSUPPORTED, f"the account is {status}: only an active one goes on", status=status)
    return [_forked(book, policy) for policy in policies]


def _forked(book: AccountBook, policy: Policy | None) -> AccountBook:
    copy = book.fork()
    if policy is not None:
        account = replace(copy.account, opening=replace(copy.account.opening, policy=checked(policy)))
        copy.account = replace(account, day=_day(account) if policy.has_rules else None)
    return copy


def _day(account: Account) -> Day:
    """What the rules remember; of days before they were there, only how they ended."""
    if account.day is not None:
        return account.day
    return Day(
        date=account.last_at.date(),
        start_balance=account.cash,
        start_equity=account.equity,
        closing_peak=max(account.starting_balance, account.cash),
    )
