"""Calling: the client with which commands ask a running engine. They have no other way in.

What the engine refuses, and silence, end a command with what was said. A command asks once, unless it says otherwise:
who waits at a terminal would rather know.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

from gateway.commands.terminal import CommandError

if TYPE_CHECKING:
    from prop import AsyncProp

ANSWER_SECONDS_MAX: Final = 65.0
"""As long as the engine may take for its slowest answer, a marking pass."""


@asynccontextmanager
async def calling(url: str, token: str, *, attempts_max: int | None = 1) -> AsyncIterator["AsyncProp"]:
    """A client of the gateway at `url`. What it raises in the block becomes a `CommandError`."""
    from prop import AsyncProp, PropError

    try:
        client = AsyncProp(url, token, deadline_s=ANSWER_SECONDS_MAX, attempts_max=attempts_max)
    except ValueError as error:
        raise CommandError(str(error)) from None
    async with client:
        try:
            yield client
        except PropError as error:
            raise CommandError(str(error)) from None
