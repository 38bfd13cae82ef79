"""Api: the HTTP API as any client sees it. The commands have no other way in; programs have the `prop` client.

    ApiError        the gateway said no: status, code and detail of its problem document
      Unreachable   it said nothing

Guarantee: a patient call sends the same body again on 429, 503 or a lost connection, and nothing else; every write of
this API that carries its own ids may be sent twice.
"""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Mapping
from types import TracebackType
from typing import Any, Self

import aiohttp

PREFIX = "/api/v1/prop"
CALL_SECONDS_MAX = 30
PATIENCE_SECONDS = 60
"""How long a patient call goes on trying."""
BACKOFF_SECONDS_MAX = 2.0
PAGE = 1_000


class ApiError(Exception):
    """The gateway refused. `code` is the stable one of the problem document."""

    def __init__(self, status: int, code: str, detail: str) -> None:
        super().__init__(f"{status} {code}: {detail}" if status else detail)
        self.status = status
        self.code = code

    @property
    def may_be_repeated(self) -> bool:
        """Nothing was done, or sending the same ids again gives the one true outcome."""
        return self.status in (429, 503)


class Unreachable(ApiError):
    """No answer at all. The request may or may not have arrived."""

    def __init__(self, url: str, why: str) -> None:
        super().__init__(0, "unreachable", f"{url} does not answer ({why})")

    @property
    def may_be_repeated(self) -> bool:
        return True


class Api:
    """One gateway, one token."""

    def __init__(self, url: str, token: str) -> None:
        self.url = url
        self._session = aiohttp.ClientSession(
            headers={"Authorization": f"Bearer {token}"}, timeout=aiohttp.ClientTimeout(total=CALL_SECONDS_MAX)
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._session.close()

    async def get(self, path: str, query: Mapping[str, str | int] | None = None, *, patient: bool = False) -> Any:
        """The body of a 200. Raises :class:`ApiError`."""
        return await self._call("GET", path, None, query or {}, patient)

    async def post(self, path: str, body: Mapping[str, Any] | None = None, *, patient: bool = False) -> Any:
        """The body of a 200 or 201. Raises :class:`ApiError`."""
        return await self._call("POST", path, body or {}, {}, patient)

    async def rows(self, path: str, **query: str | int) -> AsyncIterator[Any]:
        """Every row of a list, page after page."""
        cursor: dict[str, str] = {}
        while True:
            page = await self.get(path, {"limit": PAGE, **query, **cursor})
            for row in page["data"]:
                yield row
            if not page["hasMore"]:
                return
            cursor = {"cursor": page["nextCursor"]}

    async def _call(
        self, method: str, path: str, body: Mapping[str, Any] | None, query: Mapping[str, str | int], patient: bool
    ) -> Any:
        give_up, pause = time.monotonic() + (PATIENCE_SECONDS if patient else 0), 0.1
        while True:
            try:
                return await self._once(method, path, body, query)
            except ApiError as error:
                if not error.may_be_repeated or time.monotonic() + pause > give_up:
                    raise
            await asyncio.sleep(pause)
            pause = min(2 * pause, BACKOFF_SECONDS_MAX)

    async def _once(
        self, method: str, path: str, body: Mapping[str, Any] | None, query: Mapping[str, str | int]
    ) -> Any:
        address = self.url + (path if path.startswith("/api/") else PREFIX + path)
        try:
            async with self._session.request(method, address, json=body, params=query) as response:
                text = await response.text()
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise Unreachable(self.url, str(error) or type(error).__name__) from None
        except ValueError as error:  # no URL at all
            raise Unreachable(self.url, str(error)) from None
        try:
            said = json.loads(text)
        except ValueError:
            raise ApiError(response.status, "no_json", f"{address} does not speak this API") from None
        if response.status >= 400:
            raise ApiError(response.status, str(said.get("code")), str(said.get("detail")))
        return said
