"""RoutedClient: what a client is told when answers get lost on the way."""

import pytest

from actors.messages import Reply, Request, Unserved, UnservedReason
from actors.ports import Lost
from tests.support.floor import floor


@pytest.mark.parametrize("reason", ["overloaded", "quarantined"])
async def test_after_a_lost_answer_nobody_is_told_that_nothing_was_done(reason: UnservedReason) -> None:
    """Whoever is told so may give up and ask again under new ids, which would do it twice."""
    async with floor() as desk:
        account = await desk.trading("a")
        (host,) = desk.fleet.hosts.values()
        handle = host.handle

        async def refused(requests: tuple[Request, ...]) -> tuple[Reply, ...]:
            return tuple(Unserved(reason, "storage is away") for _ in requests)

        async def answer_lost(requests: tuple[Request, ...]) -> tuple[Reply, ...]:
            await handle(requests)
            host.handle = refused  # type: ignore[method-assign]  # in place of its own
            raise Lost("the answer was lost")

        host.handle = answer_lost  # type: ignore[method-assign]  # in place of its own
        reply = await desk.buy(account, "1")
        assert desk.store.positions, "it was done"
        assert isinstance(reply, Unserved)
        assert reply.reason == "outcome_unknown"
