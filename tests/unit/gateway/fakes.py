"""Fakes that implement the gateway's ports: the real book behind a dictionary, tables and tokens in memory."""

import os
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, cast

import aiohttp
import msgspec

from actors.messages import (
    Conflicted,
    PassReport,
    Reading,
    Refused,
    Reply,
    Request,
    Submit,
    Submitted,
    Take,
    Taken,
    Unserved,
    UnservedReason,
    Wellness,
)
from engine.book import AccountBook
from engine.commands import CreateAccount
from engine.decide import Context
from engine.ids import uuid7
from engine.quotes import Quote, observed
from engine.receipts import Receipt
from engine.rejections import Refusal
from engine.results import ResultView
from engine.views import AccountView, account_view, balance_view
from gateway.app import build_app
from gateway.parts import GatewayLimits, GatewayParts
from gateway.server import RunningServer, ServerLimits, serving_app
from persistence.event_log import BEGINNING, LoggedEvent, Place
from persistence.performance import Curve, Performance, RaceStandings
from persistence.queries import ANY_ACTION, AccountFilter, AccountKey, ActionFilter, Page, Queries, StoredAction
from persistence.store import Created, Head, StoreUnavailable
from persistence.tokens import Scope, TokenRow, sha256
from tests.e2e.gateway.door import Door

TRADE, READ, ADMIN = "trade-token", "read-token", "admin-token"
SECRET = b"0123456789abcdef"


def token_row(text: str, *scopes: Scope, expires_at: datetime | None = None) -> TokenRow:
    return TokenRow(
        id=text,
        name=f"name-of-{text}",
        token_sha256=sha256(text),
        scopes=scopes,
        created_at=datetime(2026, 1, 1, tzinfo=UTC),
        expires_at=expires_at,
        revoked_at=None,
    )


class FakeTokens:
    def __init__(self) -> None:
        self.rows = [
            token_row(TRADE, "prop:trade"),
            token_row(READ, "prop:read"),
            token_row(ADMIN, "prop:admin"),
        ]
        self.reads = 0
        self.away = False

    async def live(self, now: datetime) -> list[TokenRow]:
        self.reads += 1
        if self.away:
            raise StoreUnavailable("away")
        return list(self.rows)


class BookClient:
    """An `AccountClient` whose accounts live in this object. `unserved` makes every call go without an outcome."""

    def __init__(self) -> None:
        self.books: dict[str, AccountBook] = {}
        self.openings: dict[str, CreateAccount] = {}
        self.receipts: dict[str, list[Receipt]] = {}
        self.prices = {"BTC-USD": quote("BTC-USD", "50000")}
        self.unserved: UnservedReason | None = None
        self.failure: Exception | None = None
        self.well = True
        self.request_ids: list[str] = []

    async def create(self, opening: CreateAccount, *, request_id: str) -> Created:
        self._seen(request_id)
        for account_id, first in self.openings.items():
            if opening.idempotency_key is not None and first.idempotency_key == opening.idempotency_key:
                return Created(account_view(self.books[account_id].account), first, replayed=True)
        account_id = uuid7(datetime.now(UTC), os.urandom(10))
        self.books[account_id], _ = AccountBook.open(
            opening, account_id=account_id, now=datetime.now(UTC), request_id=request_id
        )
        self.openings[account_id] = opening
        return Created(account_view(self.books[account_id].account), opening, replayed=False)

    async def call(self, request: Request) -> Reply:
        self._seen(request.request_id)
        if self.unserved is not None:
            return Unserved(self.unserved, "as told")
        book = self.books.get(request.account_id)
        if book is None:
            return Unserved("unknown_account", "")
        context = Context(datetime.now(UTC), self.prices)
        match request:
            case Take():
                book = book.fork() if request.dry_run else book
                taken = book.take(request.batch, context, request_id=request.request_id)
                if isinstance(taken, tuple):
                    return Conflicted(taken)
                if not request.dry_run:
                    self.receipts.setdefault(request.account_id, []).extend(taken.changes.receipts)
                return Taken.of(book.account.seq, taken.results, balance_view(book.account))
            case Submit():
                book = book.fork() if request.dry_run else book
                entry = book.submit(request.command, context, request_id=request.request_id)
                if isinstance(entry, Refusal):
                    return Refused(entry)
                assert entry.decision is not None
                account = entry.account
                return Submitted(
                    account_view(account), balance_view(account), entry.decision.mark, entry.decision.failures
                )
            case _:
                return Reading(book.account)

    async def read(self, account_id: str, *, request_id: str) -> Reading | None:
        self._seen(request_id)
        book = self.books.get(account_id)
        return None if book is None else Reading(book.account)

    async def mark_all(self, *, request_id: str) -> PassReport:
        return PassReport("pass-1", len(self.books), 0, len(self.books), 0, 0, 1)

    async def quotes(self) -> Mapping[str, Quote]:
        return self.prices

    async def wellness(self) -> Sequence[Wellness]:
        return (Wellness("postgres", self.well, "as told"),)

    def _seen(self, request_id: str) -> None:
        self.request_ids.append(request_id)
        if self.failure is not None:
            raise self.failure


class FakeQueries:
    """What the tables would say of the books."""

    def __init__(self, client: BookClient) -> None:
        self._client = client

    async def accounts(
        self, wanted: AccountFilter, *, after: AccountKey | None = None, limit: int
    ) -> Page[AccountView, AccountKey]:
        filters = {name: value for name, value in msgspec.structs.asdict(wanted).items() if value is not None}
        views = sorted(
            (account_view(book.account) for book in self._client.books.values()),
            key=lambda view: (view.created_at, view.id),
        )
        fitting = [
            view
            for view in views
            if all(getattr(view, name) == value for name, value in filters.items())
            and (after is None or (view.created_at, view.id) > after)
        ]
        more = len(fitting) > limit
        last = fitting[limit - 1] if more else None
        return Page(tuple(fitting[:limit]), (last.created_at, last.id) if last else None)

    async def head(self, account_id: str) -> Head | None:
        book = self._client.books.get(account_id)
        return None if book is None else Head(account_id, 1, book.account.seq, book.head)

    async def actions(
        self, account_id: str, wanted: ActionFilter = ANY_ACTION, *, before: int | None = None, limit: int
    ) -> Page[Receipt, int]:
        return Page(tuple(self._client.receipts.get(account_id, [])[::-1][:limit]), None)

    async def action(self, prop_action_id: str) -> StoredAction | None:
        for account_id, receipts in self._client.receipts.items():
            for receipt in receipts:
                if receipt.result.prop_action_id == prop_action_id:
                    return StoredAction(account_id, receipt)
        return None

    async def _nothing(self, account_id: str, **_: Any) -> Page[Any, int]:
        return Page((), None)

    ledger = orders = fills = positions = _nothing


class FakeLog:
    """A log in which a test may put events."""

    def __init__(self) -> None:
        self.events: list[LoggedEvent] = []
        self.reads = 0
        self.away = False

    async def after(self, place: Place, *, limit: int) -> list[LoggedEvent]:
        self.reads += 1
        if self.away:
            raise StoreUnavailable("away")
        return [logged for logged in self.events if logged.place > place][:limit]

    async def end(self) -> Place:
        return self.events[-1].place if self.events else BEGINNING

    async def cluster(self) -> str:
        return "one"


class FakePerformance:
    """Nobody has ended, no curve has more than its first point, no race has anybody."""

    async def curve(self, account_id: str, *, to_seq: int, points: int, **_: Any) -> Curve:
        return Curve((), 0)

    async def result(self, account_id: str) -> ResultView | None:
        return None

    async def standings(self, race_id: str) -> RaceStandings:
        return RaceStandings(None, ())


class FakeDoor(Door):
    """A gateway over fakes, which a test may steer."""

    def __init__(self, server: RunningServer, http: aiohttp.ClientSession, client: BookClient, tokens: FakeTokens):
        super().__init__(server, http, ADMIN)
        self.client = client
        self.tokens = tokens


def quote(symbol: str, price: str) -> Quote:
    value = Decimal(price)
    return observed(symbol, value, value, value, "test", datetime.now(UTC))


@asynccontextmanager
async def opened_door(
    limits: GatewayLimits | None = None, server_limits: ServerLimits | None = None
) -> AsyncIterator[FakeDoor]:
    client, tokens = BookClient(), FakeTokens()
    parts = GatewayParts(
        client=client,
        queries=cast(Queries, FakeQueries(client)),
        events=FakeLog(),
        performance=cast(Performance, FakePerformance()),
        tokens=tokens,
        secret=SECRET,
        version="0.0.test",
        limits=limits or GatewayLimits(),
    )
    async with (
        serving_app(build_app(parts), host="127.0.0.1", port=0, limits=server_limits) as server,
        aiohttp.ClientSession() as http,
    ):
        yield FakeDoor(server, http, client, tokens)
