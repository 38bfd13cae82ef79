"""Calls: one authenticated, validated request as handlers see it, and the answer they give back.

Handlers neither read headers nor build responses. A handler asks the runtime through here, so that every reply which
is a no becomes the same `Problem` everywhere.
"""

import asyncio
import os
import re
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, Generic, TypeVar

import msgspec

from actors.messages import (
    Conflicted,
    Correct,
    Corrected,
    Deed,
    Recompute,
    Recomputed,
    Refused,
    Reply,
    Submit,
    Submitted,
    Take,
    Taken,
    Unserved,
)
from engine.account import Account
from engine.book import ActionBatch
from engine.commands import Correction, Lifecycle, MarkToMarket
from engine.ids import uuid7
from gateway import mapping
from gateway.admission import Admission
from gateway.auth import TokenRing
from gateway.cursors import Cursors
from gateway.exposition import Exposition
from gateway.parts import GatewayParts
from gateway.problems import Problem, of_refusal
from gateway.readiness import ReadinessProbe
from gateway.schemas import PageQuery, ReadQuery
from gateway.tail import Tail
from gateway.wire import JSON
from persistence.queries import Page

POLL_SECONDS: Final = 0.02
"""Between looks at an account that has not reached `minSeq` yet."""
UUID: Final = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_UNSERVED: Final[Mapping[str, str]] = {
    "not_hosted": "outcome_unknown",  # the port promises never to answer this; safe if it did
    "unknown_account": "account_not_found",
    "overloaded": "overloaded",
    "outcome_unknown": "outcome_unknown",
    "quarantined": "account_quarantined",
}

Asked = TypeVar("Asked")
Said = TypeVar("Said")
Item = TypeVar("Item")
Key = TypeVar("Key")


class Services(msgspec.Struct, frozen=True):
    """What handlers share: the parts, and what the app made of them."""

    parts: GatewayParts
    cursors: Cursors
    readiness: ReadinessProbe
    openapi: bytes
    docs: bytes
    tail: Tail
    admission: Admission
    ring: TokenRing
    exposition: Exposition


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """A reply in engine terms. `seq` makes it a single resource with an ETag; bytes in `body` are sent as they are.

    `dry_run` adds the member `dryRun` to a body that has none of its own.
    """

    body: Any
    status: int = 200
    seq: int | None = None
    dry_run: bool = False
    headers: Mapping[str, str] = {}
    media_type: str = JSON


class Call(msgspec.Struct, Generic[Asked, Said], frozen=True, kw_only=True):
    """One request. `query` and `body` are the route's models, `path` its variables; `token_name` is
    empty where anyone may call."""

    services: Services
    request_id: str
    token_name: str
    path: Mapping[str, str]
    query: Asked
    body: Said
    last_event_id: str | None = None
    """What a stream's reader saw last."""
    notes: dict[str, Any] = msgspec.field(default_factory=dict)
    """What the log line of this request is to say beside: figures and ids of ours, nothing that the client wrote."""

    @property
    def parts(self) -> GatewayParts:
        return self.services.parts

    @property
    def account_id(self) -> str:
        """The account in the path. Raises `Problem` `account_not_found` for what is no id at all."""
        return self.id_in_path("account_id", "account_not_found")

    def id_in_path(self, name: str, code: str) -> str:
        found = self.path[name]
        if UUID.fullmatch(found) is None:
            raise Problem(code)
        return found.lower()

    def new_id(self) -> str:
        return uuid7(self.parts.clock(), os.urandom(10))

    async def take(self, batch: ActionBatch, *, dry_run: bool) -> Taken:
        """Have a batch judged. Raises `Problem`."""
        reply = await self.parts.client.call(Take(self.account_id, batch, self.request_id, dry_run))
        if isinstance(reply, Conflicted):
            raise mapping.conflicting(batch, reply.conflicts)
        taken = _outcome(reply, Taken)
        self.notes.update(seq=taken.account_seq, epoch=taken.epoch, actions=len(batch.actions))
        if taken.rejected:
            self.notes["rejected"] = taken.rejected
        return taken

    async def submit(
        self, command: Lifecycle | MarkToMarket, *, dry_run: bool = False, deed: Deed | None = None
    ) -> Submitted:
        """Have a command applied, and audited where it is an administrator's `deed`. Raises `Problem`."""
        reply = await self.parts.client.call(Submit(self.account_id, command, self.request_id, dry_run, deed))
        submitted = _outcome(reply, Submitted)
        self.notes.update(seq=submitted.account.account_seq, epoch=submitted.epoch)
        return submitted

    async def correct(self, command: Correction, *, dry_run: bool, deed: Deed) -> Corrected:
        """Have a fill taken out. Raises `Problem`."""
        reply = await self.parts.client.call(Correct(self.account_id, command, self.request_id, deed, dry_run))
        return _outcome(reply, Corrected)

    async def recompute(self, *, dry_run: bool, deed: Deed) -> Recomputed:
        """Have tables and live state held to the ledger. Raises `Problem`."""
        reply = await self.parts.client.call(Recompute(self.account_id, self.request_id, deed, dry_run))
        return _outcome(reply, Recomputed)

    async def account(self, wanted: ReadQuery) -> Account:
        """The account at a durable seq of at least `min_seq`. Raises `Problem`."""

        async def read() -> tuple[int, Account]:
            reading = await self.parts.client.read(self.account_id, request_id=self.request_id)
            if reading is None:
                raise Problem("account_not_found")
            return reading.account.seq, reading.account

        return (await _reached(wanted, read))[1]

    async def head(self, wanted: ReadQuery) -> int:
        """The durable seq of the account in the tables, at least `min_seq`: what a list from them reflects."""

        async def read() -> tuple[int, None]:
            head = await self.parts.queries.head(self.account_id)
            if head is None:
                raise Problem("account_not_found")
            return head.last_seq, None

        return (await _reached(wanted, read))[0]

    def after(self, listing: str, key_type: type[Key], query: PageQuery, *scope: str | None) -> Key | None:
        """The key in the query's cursor, if it has one. Raises `Problem` `invalid_cursor`."""
        if query.cursor is None:
            return None
        return self.services.cursors.read(query.cursor, listing, scope, key_type)

    def page(self, listing: str, found: Page[Item, Key], *scope: str | None) -> dict[str, Any]:
        """The envelope of a list. `scope` is everything it was asked with: its cursor fits no other."""
        cursor = None if found.next is None else self.services.cursors.write(listing, scope, found.next)
        return {"data": found.data, "hasMore": found.next is not None, "nextCursor": cursor}


def _outcome(reply: Reply, wanted: type[Said]) -> Said:
    match reply:
        case Unserved():
            raise Problem(_UNSERVED[reply.reason], reply.detail)
        case Refused():
            raise of_refusal(reply.refusal)
        case _ if isinstance(reply, wanted):
            return reply
    raise TypeError(f"{type(reply).__name__} is no answer to this request")


async def _reached(wanted: ReadQuery, read: Callable[[], Awaitable[tuple[int, Item]]]) -> tuple[int, Item]:
    """Read until the seq is reached or `wait_ms` are over."""
    loop = asyncio.get_running_loop()
    until = loop.time() + wanted.wait_ms / 1000
    while True:
        seq, value = await read()
        if seq >= wanted.min_seq:
            return seq, value
        left = until - loop.time()
        if left <= 0:
            context = {"accountSeq": seq, "minSeq": wanted.min_seq}
            raise Problem("not_yet_durable", f"the account is at {seq}", context=context)
        await asyncio.sleep(min(POLL_SECONDS, left))
