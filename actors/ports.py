"""Ports inside the runtime, so that supervision and routing are written once and run with Ray or without.

`Host` is a place where accounts live, `Fleet` makes and finds hosts, `Overseer` is the supervisor as a client sees
it, `Appender` makes events durable. Each raises `Lost` when an answer will not come: what was asked may or may
not have been done.
"""

from collections.abc import Sequence
from typing import Protocol

import msgspec

from actors.messages import Message, PassReport, Reply, Request, Unserved, Wellness
from engine.quotes import Quote
from persistence.committer import AppendVerdict
from persistence.store import Append


class Lost(Exception):
    """The other side died, hung past the deadline or dropped the answer. Whether it acted is unknown."""


class Silent(Lost):
    """No answer, and no sign of death either: hung, stopped, far too busy, or a call that was lost on the way."""


class Break(Message, frozen=True):
    """An account was at fault itself, in the activation of this epoch. `seq` is its last durable event, or the one that
    could not be replayed."""

    epoch: int
    seq: int
    why: str


class Activation(Message, frozen=True):
    """What an activation brought: accounts now hosted, ids nobody knows, and accounts whose ledger is broken."""

    hosted: tuple[str, ...]
    unknown: tuple[str, ...] = ()
    broken: dict[str, Break] = msgspec.field(default_factory=dict)


class Pulse(Message, frozen=True):
    """A host's sign of life: how many accounts it holds, which of them need no memory any more, and on which node; the
    last breaks of every account that broke here, the oldest first, and the epochs in which recomputes have put accounts
    right; `figures` are the packed `HostFigures` of this moment."""

    accounts: int
    idle: tuple[str, ...]
    node: str = ""
    breaks: dict[str, tuple[Break, ...]] = msgspec.field(default_factory=dict)
    restored: dict[str, int] = msgspec.field(default_factory=dict)
    figures: bytes = b""


class Room(Message, frozen=True):
    """What a cluster has room for: hosts in all, and the nodes to put them on (none where there is no choice)."""

    hosts_max: int
    nodes: tuple[str, ...] = ()


class Tally(Message, frozen=True):
    """How the accounts of one host fared in a marking pass: it held `hosted`, and `dropped` are those it holds no more.
    `breaks` are those of the pulse."""

    hosted: int = 0
    marked: int = 0
    flat: int = 0
    failed: int = 0
    liquidated: int = 0
    dropped: tuple[str, ...] = ()
    breaks: dict[str, tuple[Break, ...]] = msgspec.field(default_factory=dict)


class Location(Message, frozen=True):
    """The host on which an account lives."""

    host: str


class Appender(Protocol):
    """Makes appends durable, one verdict each, in order. Raises `committer.Overloaded` (nothing enqueued)."""

    async def append(self, appends: Sequence[Append]) -> Sequence[AppendVerdict]: ...


class Host(Protocol):
    """A place where accounts live."""

    @property
    def name(self) -> str: ...

    async def activate(self, account_ids: Sequence[str]) -> Activation:
        """Host these accounts under a new epoch each; those hosted already stay as they are."""

    async def handle(self, requests: tuple[Request, ...]) -> tuple[Reply, ...]:
        """Answer each request, in order of application."""

    async def see(self, version: int, quotes: dict[str, Quote]) -> int:
        """Use this price vector from now on, unless a later version was seen already; the version now in use."""

    async def mark(self, pass_id: str, quotes: dict[str, Quote]) -> Tally:
        """Mark every account that trades on one price vector, each on its own: a failing one stops no other."""

    async def passivate(self, account_ids: Sequence[str]) -> tuple[str, ...]:
        """Snapshot and let go of accounts that neither trade nor have anything in flight; those that have left."""

    async def hand_over(self, account_ids: Sequence[str]) -> tuple[str, ...]:
        """Finish what is in hand of these accounts and let them go; those that have left."""

    async def pulse(self) -> Pulse:
        """A sign of life."""

    async def roster(self) -> tuple[str, ...]:
        """Ids of every account hosted."""

    async def close(self) -> None:
        """Finish what is in flight, snapshot everything, hold nothing."""

    def hang_up(self) -> None:
        """Let go of what was opened to reach it, which is nothing where it is in this process; a later call opens it
        again. What is in flight is `Lost`."""


class Fleet(Protocol):
    """Makes, finds and ends hosts."""

    async def spawn(self, name: str, node: str | None) -> Host:
        """A new, empty host, on `node` if that can be had."""

    async def room(self) -> Room:
        """What the cluster has room for now. Raises `Lost`."""

    async def existing(self) -> Sequence[Host]:
        """Hosts that outlived an earlier supervisor."""

    async def discard(self, host: Host) -> None:
        """End a host without asking it: its accounts are fenced by their next activation."""


class Overseer(Protocol):
    """The supervisor, as clients see it."""

    async def locate(self, account_id: str, tried: str | None) -> Location | Unserved:
        """Where the account lives, activating it if need be; `tried` names a host that did not have it or was lost."""

    async def shelter(self, account_id: str) -> Location | Unserved:
        """A host for an account that cannot be activated, where a recompute may be asked for."""

    async def whereabouts(self, account_id: str) -> Location | None:
        """Where the account lives, if it lives anywhere."""

    async def mark_all(self, request_id: str) -> PassReport: ...

    async def quotes(self) -> dict[str, Quote]: ...

    async def wellness(self) -> tuple[Wellness, ...]: ...
