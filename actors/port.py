"""The port between the gateway and whatever hosts accounts: Ray actors or this very process."""

from collections.abc import Mapping, Sequence
from typing import Protocol

from actors.messages import PassReport, Reading, Reply, Request, Wellness
from engine.commands import CreateAccount
from engine.quotes import Quote
from persistence.store import Created


class AccountClient(Protocol):
    """Everything a gateway asks of the runtime. Calls are bounded by the client's deadline and never raise for a no."""

    async def create(self, opening: CreateAccount, *, request_id: str) -> Created:
        """A new pending account, or the one that already has its idempotency key. Raises `StoreUnavailable`."""

    async def call(self, request: Request) -> Reply:
        """Send one request to wherever its account lives, activating it if need be; re-sent through a lost actor
        until the deadline. Answers `Unserved` where there is no outcome; never `not_hosted`."""

    async def read(self, account_id: str, *, request_id: str) -> Reading | None:
        """The account at a durable seq: live where it is hosted, from storage where not; None where unknown.
        Raises `StoreUnavailable` (also when a live account cannot confirm its lease in time)."""

    async def mark_all(self, *, request_id: str) -> PassReport:
        """One marking pass now. Raises `StoreUnavailable` when the supervisor cannot be reached."""

    async def quotes(self) -> Mapping[str, Quote]:
        """The price vector that account actors see now."""

    async def wellness(self) -> Sequence[Wellness]:
        """Health of what lies behind the gateway."""
