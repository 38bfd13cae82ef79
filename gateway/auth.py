"""Auth: who calls, and what the token lets them do.

Guarantee: a token is only ever compared as SHA-256, against every live one, in constant time, and its text is neither
kept nor logged. Scopes: `prop:admin` implies all, `prop:trade` implies `prop:read`. A revoked token stops opening the
door within `REFRESH_SECONDS` while traffic flows; a new one works at once. While storage is away the last list serves
for `STALE_SECONDS_MAX`: accounts that live in memory can still be read.
"""

import asyncio
import hmac
import math
import re
import time
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Final, Protocol

from aiohttp import hdrs, web

from gateway.problems import Problem
from persistence.store import StoreUnavailable
from persistence.tokens import Scope, TokenRow, sha256

REFRESH_SECONDS: Final = 1.0
"""Age of the list at which it is read again, behind the requests it still serves."""
WAIT_SECONDS: Final = 5.0
"""Age at which a request waits for the new list instead."""
LOOKS_MAX: Final = 10.0
LOOKS_A_SECOND: Final = 2.0
"""An unknown token has the list read again at once, but only so often: guessing must not load Postgres."""
STALE_SECONDS_MAX: Final = 60.0
"""How long a list serves when storage does not answer."""

IMPLIED: Final[dict[Scope, frozenset[Scope]]] = {
    "prop:read": frozenset({"prop:read"}),
    "prop:trade": frozenset({"prop:read", "prop:trade"}),
    "prop:admin": frozenset({"prop:read", "prop:trade", "prop:admin"}),
}
_COVERING: Final = {
    needed: frozenset(scope for scope, implied in IMPLIED.items() if needed in implied) for needed in IMPLIED
}
_BEARER: Final = re.compile(r"[Bb][Ee][Aa][Rr][Ee][Rr] +([\x21-\x7e]{1,512})")
_CHALLENGE: Final = 'Bearer realm="prop"'


class LiveTokens(Protocol):
    """Where tokens come from: `persistence.tokens.Tokens`."""

    async def live(self, now: datetime) -> Sequence[TokenRow]: ...


class TokenRing:
    """The live tokens, as a gateway keeps them at hand."""

    def __init__(
        self, source: LiveTokens, *, clock: Callable[[], datetime], monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._source = source
        self._clock = clock
        self._monotonic = monotonic
        self._rows: tuple[TokenRow, ...] = ()
        self._read_at: float | None = None
        self._looks = LOOKS_MAX
        self._looked_at = monotonic()
        self._reading: asyncio.Task[None] | None = None

    async def find(self, token: str) -> TokenRow | None:
        """The live row of this token, or None. Raises `StoreUnavailable` when there is no list recent enough."""
        arrived = self._monotonic()
        age = self._age(arrived)
        if age > WAIT_SECONDS:
            await self._read_after(arrived)
        elif age > REFRESH_SECONDS:
            self._refresh()
        found = self._match(token)
        if found is None and self._may_look_again():
            await self._read_after(arrived)
            found = self._match(token)
        return found

    def _age(self, at: float) -> float:
        return math.inf if self._read_at is None else at - self._read_at

    def _match(self, token: str) -> TokenRow | None:
        digest, now, found = sha256(token), self._clock(), None
        for row in self._rows:  # all of them, whichever matches
            if hmac.compare_digest(row.token_sha256, digest) and row.is_live(now):
                found = row
        return found

    def _may_look_again(self) -> bool:
        """Spend one of the looks that unknown tokens are worth; they come back with time."""
        now = self._monotonic()
        self._looks = min(LOOKS_MAX, self._looks + (now - self._looked_at) * LOOKS_A_SECOND)
        self._looked_at = now
        if self._looks < 1:
            return False
        self._looks -= 1
        return True

    def _refresh(self) -> asyncio.Task[None]:
        if self._reading is None or self._reading.done():
            self._reading = asyncio.create_task(self._read())
        return self._reading

    async def _read_after(self, moment: float) -> None:
        """Have a list that was asked for after `moment`: a read already under way may be too old, the next is not."""
        for _ in range(2):
            if self._read_at is None or self._read_at < moment:
                await asyncio.shield(self._refresh())
        if self._age(self._monotonic()) > STALE_SECONDS_MAX:
            raise StoreUnavailable("the token list cannot be read")

    async def _read(self) -> None:
        started = self._monotonic()
        try:
            self._rows = tuple(await self._source.live(self._clock()))
        except StoreUnavailable:
            return  # the list at hand serves on, until it is too old
        self._read_at = started


async def authenticate(request: web.BaseRequest, ring: TokenRing) -> TokenRow:
    """The token of a request. Raises `Problem` `unauthenticated`; the answer never says what was wrong with a token."""
    given = request.headers.getall(hdrs.AUTHORIZATION, [])
    if not given:
        raise Problem("unauthenticated", headers={hdrs.WWW_AUTHENTICATE: _CHALLENGE})
    bearer = _BEARER.fullmatch(given[0]) if len(given) == 1 else None
    found = None if bearer is None else await ring.find(bearer[1])
    if found is None:
        challenge = f'{_CHALLENGE}, error="invalid_token"'
        raise Problem("unauthenticated", headers={hdrs.WWW_AUTHENTICATE: challenge})
    return found


def authorize(token: TokenRow, needed: Scope) -> None:
    """Raises `Problem` `forbidden` where no scope of the token covers the one needed."""
    if _COVERING[needed].isdisjoint(token.scopes):
        challenge = f'{_CHALLENGE}, error="insufficient_scope", scope="{needed}"'
        raise Problem("forbidden", f"needs {needed}", headers={hdrs.WWW_AUTHENTICATE: challenge})
