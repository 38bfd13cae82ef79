"""Transport: one request, sent again while that is safe and may help.

Guarantee: what is sent again is the very same request. Sent again are lost connections, answers that time out, 408,
429 and 503; after the `Retry-After` that was asked for, else after a growing pause with jitter; until the deadline or
the last attempt. Every write of this API may be sent twice: its ids say that it is the same. Redirects are not
followed: they would turn a write into a read.
"""

import asyncio
import json
import random
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import quote

import aiohttp
from yarl import URL

from prop.errors import Refused, Unreachable, refusal

PREFIX: Final = "/api/v1/prop"
ADMIN: Final = "/api/v1/admin/prop"
DEADLINE_SECONDS: Final = 30.0
ATTEMPT_SECONDS_MAX: Final = 15.0
"""A little more than the gateway's own deadline: its answer says more than our silence."""
PAUSE_SECONDS_FIRST: Final = 0.1
PAUSE_SECONDS_MAX: Final = 2.0
SENT_AGAIN: Final = frozenset({408, 429, 503})

Query = Mapping[str, str | int | bool | None]


class Transport:
    """One gateway and one token. Closing it closes its connections, for good.

    Raises `ValueError` for what is no URL of a gateway, and for a token that no header can hold.
    """

    def __init__(
        self, url: str, token: str, *, deadline_s: float = DEADLINE_SECONDS, attempts_max: int | None = None
    ) -> None:
        if not _is_address(url):
            raise ValueError(f"{url!r} is no address of a gateway: http://HOST or https://HOST is")
        if not (token.isascii() and token.isprintable()):
            raise ValueError("a token is printable ASCII")
        self.url = str(URL(url)).rstrip("/")
        self.deadline_s = deadline_s
        self.attempts_max = attempts_max
        self._headers = {"Authorization": f"Bearer {token}"}
        self._session: aiohttp.ClientSession | None = None
        self._is_closed = False

    @property
    def session(self) -> aiohttp.ClientSession:
        """Made at first use, in the loop that uses it."""
        if self._session is None:
            self._session = aiohttp.ClientSession(headers=self._headers)
        return self._session

    def address(self, path: str) -> URL:
        """Where a path is; a `..` in it is a name like any other, and stays one."""
        return URL(self.url + path, encoded=True)

    def pauses(self) -> "Pauses":
        return Pauses(self.deadline_s, self.attempts_max)

    def refuse_if_closed(self) -> None:
        if self._is_closed:
            raise Unreachable("this client is closed")

    async def close(self) -> None:
        self._is_closed = True
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def call(
        self,
        method: str,
        path: str,
        *,
        query: Query | None = None,
        body: Any = None,
        also: frozenset[int] = frozenset(),
        attempt_s_max: float = ATTEMPT_SECONDS_MAX,
    ) -> Any:
        """The JSON of a success, or of an answer with a status in `also`. Raises `Refused` or `Unreachable`."""
        pauses = self.pauses()
        while True:
            self.refuse_if_closed()
            try:
                return await self._once(method, path, query, body, also, min(attempt_s_max, pauses.left_s))
            except (Refused, Unreachable) as error:
                if isinstance(error, Refused) and error.status not in SENT_AGAIN:
                    error.attempts = pauses.count + 1
                    raise
                if not await pauses.pause(error.retry_after_s if isinstance(error, Refused) else None):
                    raise

    async def _once(
        self, method: str, path: str, query: Query | None, body: Any, also: frozenset[int], seconds_max: float
    ) -> Any:
        timeout = aiohttp.ClientTimeout(total=max(0.001, seconds_max))
        try:
            async with self.session.request(
                method,
                self.address(path),
                params=wire_query(query),
                json=body,
                timeout=timeout,
                allow_redirects=False,
            ) as response:
                return parsed(response, await response.read(), also)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise Unreachable(f"{self.url} does not answer ({str(error) or type(error).__name__})") from error


class Pauses:
    """The pauses between attempts, until a deadline or the last attempt."""

    def __init__(self, deadline_s: float, attempts_max: int | None = None) -> None:
        self._loop = asyncio.get_running_loop()
        self._until = self._loop.time() + deadline_s
        self._attempts_max = attempts_max
        self._next_s = PAUSE_SECONDS_FIRST
        self.count = 0

    @property
    def left_s(self) -> float:
        return self._until - self._loop.time()

    async def pause(self, at_least_s: float | None = None) -> bool:
        """Wait before the next attempt; False, at once, where there is to be none or no time left for it."""
        jittered = self._next_s * random.uniform(0.5, 1.0)  # noqa: S311  # no secret: it only spreads the load
        wait_s = jittered if at_least_s is None else at_least_s + jittered
        self._next_s = min(2 * self._next_s, PAUSE_SECONDS_MAX)
        if wait_s >= self.left_s or self.count + 1 == self._attempts_max:
            return False
        self.count += 1
        await asyncio.sleep(wait_s)
        return True


def segments(*names: str) -> str:
    """`/a/b`: each name one segment of a path, whatever characters it has."""
    return "".join(f"/{quote(name, safe='')}" for name in names)


def wire_query(query: Query | None) -> dict[str, str | int]:
    """Without what was not given; flags as the API has them."""
    given = {name: value for name, value in (query or {}).items() if value is not None and value is not False}
    return {name: "true" if value is True else value for name, value in given.items()}


def parsed(response: aiohttp.ClientResponse, body: bytes, also: frozenset[int] = frozenset()) -> Any:
    """The JSON of an answer. Raises `Refused` for a problem, `Unreachable` for what is not this API's."""
    try:
        said = json.loads(body)
    except ValueError:
        said = None
    if (response.status < 300 or response.status in also) and said is not None:
        return said
    if response.status < 400 or not isinstance(said, dict) or "code" not in said:
        raise Unreachable(f"{response.url.origin()} does not speak this API: {response.status}")
    raise refusal(response.status, said, _seconds(response.headers.get("Retry-After")))


def _is_address(url: str) -> bool:
    try:
        parts = URL(url)
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and bool(parts.host) and not (parts.query_string or parts.fragment)


def _seconds(retry_after: str | None) -> float | None:
    return float(retry_after) if retry_after is not None and retry_after.isdecimal() else None
