"""What travels between a gateway, the supervisor and the account actors.

Frozen structs in msgpack, tagged by name: small, versionable, and no pickled class crosses a process.
A reply is a value, also when it is a no; `Unserved` replies mean that nothing was applied.
"""

from collections import Counter
from collections.abc import Sequence
from typing import Final, Literal, Self

import msgspec

from engine.account import Account
from engine.book import ActionBatch, Conflict
from engine.canonical import shown
from engine.commands import Correction, Lifecycle, MarkToMarket
from engine.decide import MarkOutcome
from engine.events import FillVoided
from engine.rejections import Failure, Refusal
from engine.views import AccountView, ActionResult, BalanceView, PositionView
from persistence.drift import Drift


class Message(msgspec.Struct, frozen=True, tag=True):
    """Base of what crosses a process border."""


class Take(Message, frozen=True):
    """Judge a batch of actions."""

    account_id: str
    batch: ActionBatch
    request_id: str
    dry_run: bool = False


class Deed(Message, frozen=True):
    """What the audit log is to say of an administrator's request: who, what and why."""

    token_name: str
    action: str
    reason: str


class Submit(Message, frozen=True):
    """Apply one command that carries no key; with a `deed` where an administrator asks."""

    account_id: str
    command: Lifecycle | MarkToMarket
    request_id: str
    dry_run: bool = False
    deed: Deed | None = None


class Correct(Message, frozen=True):
    """Take a fill out."""

    account_id: str
    command: Correction
    request_id: str
    deed: Deed
    dry_run: bool = False


class Recompute(Message, frozen=True):
    """Replay the ledger, compare with live state and tables, and put right what is not the ledger's. `sheltered`: the
    account cannot be activated, and the host works from storage alone."""

    account_id: str
    request_id: str
    deed: Deed
    dry_run: bool = False
    sheltered: bool = False


class Read(Message, frozen=True):
    """The live account, once what it shows is durable."""

    account_id: str
    request_id: str


Request = Take | Submit | Correct | Recompute | Read


class Taken(Message, frozen=True):
    """Outcome of a batch, durable unless it was a dry run. A gateway only passes it on, so it travels as the JSON that
    a client gets; `results` and `balance` are for whoever looks into it. For its log line: the `epoch` of the
    activation that answered, and how many were `rejected`, now or by the original, by gate."""

    account_seq: int
    results_json: bytes
    balance_json: bytes
    epoch: int = 0
    rejected: dict[str, int] = {}

    @classmethod
    def of(cls, account_seq: int, results: Sequence[ActionResult], balance: BalanceView, *, epoch: int = 0) -> Self:
        rejected = Counter([result.code.value for result in results if result.code is not None])
        results_json = b"[" + b",".join([shown(each) for each in results]) + b"]"
        return cls(account_seq, results_json, shown(balance), epoch, rejected)

    @property
    def results(self) -> tuple[ActionResult, ...]:
        return msgspec.json.decode(self.results_json, type=tuple[ActionResult, ...])

    @property
    def balance(self) -> BalanceView:
        return msgspec.json.decode(self.balance_json, type=BalanceView)


class Submitted(Message, frozen=True):
    """Outcome of a command; `mark` and `failures` are those of a marking, `epoch` is that of the activation."""

    account: AccountView
    balance: BalanceView
    mark: MarkOutcome | None
    failures: tuple[Failure, ...]
    epoch: int = 0


class Corrected(Message, frozen=True):
    """The account without the fills of `voided`; None where the fill was out already."""

    voided: FillVoided | None
    account: AccountView
    balance: BalanceView
    positions: tuple[PositionView, ...]


class Recomputed(Message, frozen=True):
    """What a recompute found, and whether all of it is put right. `drift` holds the first of `drifts`."""

    account_seq: int
    drifts: int
    drift: tuple[Drift, ...]
    repaired: bool


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


Reply = Taken | Submitted | Corrected | Recomputed | Reading | Refused | Conflicted | Unserved


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
