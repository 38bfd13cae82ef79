"""Authors: accounts whose appends are made by the real book and committed by the test, when and if it likes."""

from datetime import UTC, datetime, timedelta
from typing import Any

from engine.book import AccountBook, ActionBatch, Entry
from engine.changes import Changes
from engine.commands import Action, Command, Correction, CreateAccount, StartAccount
from engine.decide import Context
from engine.events import FillBooked, RecordedEvent
from engine.ids import derived_id
from engine.money import round8
from engine.quotes import Quote
from engine.views import snapshot_view
from persistence.store import Append, AuditEntry, Created, Store, StoredSnapshot, append_of
from tests.support.ledger_page import Number, decimal, decoded

NOW = datetime(2026, 1, 5, 12, 0, 0, 123_456, tzinfo=UTC)
NOTHING = Changes((), (), (), ())


def account_id(number: int) -> str:
    return derived_id("account", "tests", number, NOW)


class Author:
    """One account; every method that returns an `Append` moves the book on, as the runtime would."""

    def __init__(self, number: int = 1, **opening: Any) -> None:
        given = {"owner_id": "owner-1", "clone_id": "clone-1", "metadata": {"näme": ["x", 1, None, {"b": 1, "a": 2}]}}
        self.opening = CreateAccount(**{**given, **opening})
        self.now = NOW + timedelta(seconds=number)
        self.book, first = AccountBook.open(
            self.opening, account_id=account_id(number), now=self.now, request_id="create"
        )
        self.ledger: list[RecordedEvent] = [first]
        self.first = append_of(self.book.account, epoch=0, expected_seq=0, events=(first,), changes=NOTHING)
        self.prices: dict[str, Number] = {"BTC-USD": 50_000, "ETH-USD": 2_000, "DUST": "0.00000003"}
        self._actions = 0

    @property
    def id(self) -> str:
        return self.book.account.id

    @property
    def fill_ids(self) -> list[str]:
        return [event.fill_id for event in map(decoded, self.ledger) if isinstance(event, FillBooked)]

    @property
    def snapshot(self) -> StoredSnapshot:
        return StoredSnapshot(self.id, self.book.account.seq, self.book.epoch, self.book.state)

    async def create(self, store: Store) -> Created:
        return await store.create(self.opening, self.first)

    async def claim(self, store: Store) -> None:
        self.book.epoch = (await store.claim([self.id]))[self.id].epoch

    async def begin(self, store: Store) -> "Author":
        """Created, claimed and started."""
        await self.create(store)
        await self.claim(store)
        assert await store.commit([self.start()]) == {self.id: "committed"}
        return self

    def start(self) -> Append:
        return self.submit(StartAccount())

    def submit(self, command: Command) -> Append:
        entry = self.book.submit(command, self._context(), request_id="request\t\\1")
        assert isinstance(entry, Entry), entry
        return self._append(entry)

    def correct(self, command: Correction, audit: AuditEntry | None = None) -> Append:
        ledger = [(each, decoded(each)) for each in self.ledger]
        entry = self.book.correct(command, ledger, self._context().now, request_id="request-3")
        assert isinstance(entry, Entry), entry
        return self._append(entry, audit)

    def audit(self, action: str, reason: str = 'why "so"\t\\N, é') -> AuditEntry:
        """As if the account had not changed."""
        seen = snapshot_view(self.book.account)
        return AuditEntry(
            token_name="operator",
            action=action,
            account_id=self.id,
            reason=reason,
            request_id="request\t\\4",
            before=seen,
            after=seen,
        )

    def reduce(self, quantity: str, symbol: str = "BTC-USD", *, price: Number | None = None) -> Append:
        self.prices |= {} if price is None else {symbol: price}
        return self.take(("reduce", symbol, {"quantity": decimal(quantity)}))

    def open(
        self, symbol: str = "BTC-USD", quantity: str = "0.01", *, price: Number | None = None, **more: Any
    ) -> Append:
        self.prices |= {} if price is None else {symbol: price}
        return self.take(("open", symbol, {"quantity": decimal(quantity), **more}))

    def close(self, symbol: str = "BTC-USD") -> Append:
        return self.take(("close", symbol, {}))

    def take(self, *asked: tuple[str, str, dict[str, Any]]) -> Append:
        actions = []
        for word, symbol, more in asked:
            self._actions += 1
            actions.append(
                Action(
                    decision_action_id=f"a{self._actions}",
                    action=word,
                    symbol=symbol,
                    side="long",
                    rationale='back\\slash, "quote", tab\t, newline\n, NULL, é, \\N',
                    **more,
                )
            )
        batch = ActionBatch("run {1,2}", tuple(actions))
        entry = self.book.take(batch, self._context(), request_id="request-2")
        assert isinstance(entry, Entry), entry
        return self._append(entry)

    def _append(self, entry: Entry, audit: AuditEntry | None = None) -> Append:
        self.ledger += entry.recorded
        return append_of(
            entry.account,
            epoch=self.book.epoch,
            expected_seq=entry.recorded[0].seq - 1,
            events=entry.recorded,
            changes=entry.changes,
            audit=() if audit is None else (audit,),
        )

    def _context(self) -> Context:
        self.now += timedelta(milliseconds=7)
        return Context(
            self.now,
            {
                symbol: Quote(symbol, decimal(price), decimal(price), round8(decimal(price)), "test", self.now)
                for symbol, price in self.prices.items()
            },
        )
