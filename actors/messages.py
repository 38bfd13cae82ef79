"""What travels between a gateway, the supervisor and the account actors.

Frozen structs in msgpack, tagged by name: small, versionable, and no pickled class crosses a process.
A reply is a value, also when it is a no; `Unserved` replies mean that nothing was applied.
"""

from typing import Final, Literal

import msgspec

from engine.account import Account
from engine.book import ActionBatch, Conflict
from engine.commands import Lifecycle, MarkToMarket
from engine.decide import MarkOutcome
from engine.rejections import Failure, Refusal
from engine.views import AccountView, ActionResult, BalanceView


class Message(msgspec.Struct, frozen=True, tag=True):
    """Base of what crosses a process border."""


class Take(Message, frozen=True):
    """Judge a batch of actions."""

    account_id: str
    batch: ActionBatch
    request_id: str
    dry_run: bool = False


class Submit(Message, frozen=True):
    """Apply one command that carries no key."""

    account_id: str
    command: Lifecycle | MarkToMarket
    request_id: str
    dry_run: bool = False


class Read(Message, frozen=True):
    """The live account, once what it shows is durable."""

    account_id: str
    request_id: str


Request = Take | Submit | Read


class Taken(Message, frozen=True):
    """Outcome of a batch, durable unless it was a dry run."""

    account_seq: int
    results: tuple[ActionResult, ...]
    balance: BalanceView


class Submitted(Message, frozen=True):
    """Outcome of a command; `mark` and `failures` are those of a marking."""

    account: AccountView
    balance: BalanceView
    mark: MarkOutcome | None
    failures: tuple[Failure, ...]


class Reading(Message, frozen=True):
    """An account at a durable seq."""

    account: Account


class Refused(Message, frozen=True):
    """The account's state or the quotes do not allow the command; nothing was written."""

    refusal: Refusal


class Conflicted(Message, frozen=True):
    """A key was answered before with other content; nothing of the batch ran."""

    conflicts: tuple[Conflict, ...]


UnservedReason = Literal["not_hosted", "unknown_account", "overloaded", "outcome_unknown", "quarantined"]


class Unserved(Message, frozen=True):
    """No outcome. Except for `outcome_unknown` nothing was done; that one is settled by sending the same ids again."""

    reason: UnservedReason
    detail: str


Reply = Taken | Submitted | Reading | Refused | Conflicted | Unserved


class PassReport(Message, frozen=True):
    """One marking pass over every marked account, on one price vector."""

    pass_id: str
    accounts: int
    marked: int
    flat: int
    failed: int
    liquidated: int
    duration_ms: int


class Wellness(Message, frozen=True):
    """What a readiness probe says of one component."""

    component: str
    well: bool
    detail: str


_ENCODER: Final = msgspec.msgpack.Encoder()
_REQUESTS: Final = msgspec.msgpack.Decoder(tuple[Request, ...])
_REPLIES: Final = msgspec.msgpack.Decoder(tuple[Reply, ...])


def packed(messages: tuple[Message, ...]) -> bytes:
    return _ENCODER.encode(messages)


def requests(data: bytes) -> tuple[Request, ...]:
    return _REQUESTS.decode(data)


def replies(data: bytes) -> tuple[Reply, ...]:
    return _REPLIES.decode(data)
