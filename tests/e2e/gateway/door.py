"""A gateway on a real socket, and what is heard from it."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import msgspec

from gateway.server import RunningServer


class Door:
    """A gateway on a real socket, and a client of it."""

    def __init__(self, server: RunningServer, http: aiohttp.ClientSession, token: str):
        self.server = server
        self.url = server.url
        self._http = http
        self._token = token

    async def send(
        self,
        method: str,
        path: str,
        *,
        token: str | None = "",
        headers: Mapping[str, str] | None = None,
        **more: Any,
    ) -> "Heard":
        sent = dict(headers or {})
        if token is not None:
            sent["Authorization"] = f"Bearer {token or self._token}"
        async with self._http.request(method, self.url + path, headers=sent, **more) as response:
            return Heard(response.status, response.headers, await response.read())

    async def get(self, path: str, **more: Any) -> "Heard":
        return await self.send("GET", path, **more)

    async def post(self, path: str, body: Any = None, **more: Any) -> "Heard":
        return await self.send("POST", path, **({} if body is None else {"json": body}), **more)

    @asynccontextmanager
    async def stream(self, path: str, headers: Mapping[str, str]) -> AsyncIterator[aiohttp.ClientResponse]:
        """An answer that is read while it comes."""
        sent = {"Authorization": f"Bearer {self._token}", **headers}
        async with self._http.get(self.url + path, headers=sent) as response:
            yield response

    async def opened(self, *, started: bool = True, **fields: Any) -> str:
        """The id of a new account."""
        heard = await self.post("/api/v1/prop/accounts", {"ownerId": "o", "cloneId": "c", **fields})
        assert heard.status == 201, heard.body
        account_id = str(heard.json["id"])
        if started:
            assert (await self.post(f"/api/v1/prop/accounts/{account_id}/start")).status == 200
        return account_id


class Heard:
    """An answer."""

    def __init__(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        self.status = status
        self.headers = headers
        self.body = body

    @property
    def json(self) -> Any:
        return msgspec.json.decode(self.body)

    @property
    def refusal(self) -> tuple[int, str]:
        assert self.headers["Content-Type"] == "application/problem+json", self.body
        assert self.json["status"] == self.status
        return self.status, self.json["code"]

    @property
    def pointers(self) -> dict[str, str]:
        return {fault["pointer"]: fault["code"] for fault in self.json.get("errors", [])}
