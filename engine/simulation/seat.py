"""Seat: one account in the exact simulation, moved by the live core and by nothing else (G9).

With a ledger it is the live `AccountBook`: the same events, ids and hashes as in production, durability left out.
Without one the same `decide` is asked, but nothing is put into bytes and hashed, which takes half the time.
"""

from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from engine.account import Account
from engine.book import AccountBook, ActionBatch, Entry
from engine.commands import Action, Command, TakeAction
from engine.decide import Context, decide
from engine.events import EVENT_TYPES, Event, RecordedEvent
from engine.invariants import InvariantBroken
from engine.rejections import Refusal
from engine.simulation.units import units

REQUEST_ID: Final = "simulation"
_DECODERS: Final[Mapping[str, msgspec.json.Decoder[Event]]] = {
    type_: msgspec.json.Decoder(event) for type_, event in EVENT_TYPES.items()
}


class Seat:
    """`account` is the state after all that happened; `ledger` what was recorded, empty where none is kept."""

    __slots__ = ("_book", "_equity_of", "_equity_units", "account", "ledger")

    def __init__(self, book: AccountBook, *, keeps_ledger: bool) -> None:
        self.account = book.account
        self.ledger: list[RecordedEvent] = []
        self._book = book if keeps_ledger else None
        self._equity_of: Account | None = None
        self._equity_units = 0

    @property
    def is_marked(self) -> bool:
        """Whether a mark could change anything: an account without positions is only looked at for its rules."""
        account = self.account
        return account.status == "active" and bool(account.positions or account.day is not None)

    @property
    def equity_units(self) -> int:
        """Equity in units of 1e-8; raises `BadInput` where it does not fit a table. An account to which nothing happens
        stays the very same, and so does its equity."""
        if self._equity_of is not self.account:
            self._equity_of, self._equity_units = self.account, units(self.account.equity, "equity")
        return self._equity_units

    def act(self, run_id: str, actions: Sequence[Action], context: Context) -> list[Event]:
        """Judge actions in order, each alone; every one brings either a fill or a rejection."""
        if self._book is not None:
            entry = self._book.take(ActionBatch(run_id, tuple(actions)), context, request_id=REQUEST_ID)
            if not isinstance(entry, Entry):
                raise InvariantBroken(f"run {run_id} of {self.account.id} uses a key again: {entry[0]}")
            return self._entered(entry)
        events: list[Event] = []
        for action in actions:
            decision = decide(self.account, TakeAction(run_id, action), context)
            self.account = decision.account
            events += decision.events
        return events

    def submit(self, command: Command, context: Context) -> list[Event]:
        """One command that the account's state allows."""
        if self._book is not None:
            entry = self._book.submit(command, context, request_id=REQUEST_ID)
            if isinstance(entry, Refusal):
                raise InvariantBroken(f"{type(command).__name__} of {self.account.id} was refused: {entry.code}")
            return self._entered(entry)
        decision = decide(self.account, command, context)
        if decision.refusal is not None:
            raise InvariantBroken(f"{type(command).__name__} of {self.account.id} was refused: {decision.refusal.code}")
        self.account = decision.account
        return list(decision.events)

    def _entered(self, entry: Entry) -> list[Event]:
        self.account = entry.account
        self.ledger += entry.recorded
        return [_DECODERS[each.type].decode(each.payload) for each in entry.recorded]
