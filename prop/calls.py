"""Calls: what the parts of the client share: one reply as a model, and lists that turn their own pages."""

from collections.abc import AsyncIterator, Mapping
from typing import Any, TypeVar

from prop.errors import AccountTerminal
from prop.models import Account
from prop.transport import PREFIX, Query, Transport
from prop.values import Reply

Model = TypeVar("Model", bound=Reply)
PAGE: int = 500
"""Rows asked for at once where the caller does not say."""


class Calls:
    """Base of the parts of the client."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    async def _get(self, path: str, model: type[Model], **query: str | int | bool | None) -> Model:
        return model.model_validate(await self._transport.call("GET", path, query=query))

    async def _rows(self, path: str, model: type[Model], query: Query) -> AsyncIterator[Model]:
        """Every row of a list, page after page."""
        asked: dict[str, str | int | bool | None] = {"limit": PAGE, **query}
        while True:
            page = await self._transport.call("GET", path, query=asked)
            for row in page["data"]:
                yield model.model_validate(row)
            if not page["hasMore"]:
                return
            asked["cursor"] = page["nextCursor"]

    async def _applied(self, path: str, body: Mapping[str, Any], dry_run: bool) -> Account:
        said = await self._transport.call("POST", path, query={"dryRun": dry_run}, body=dict(body))
        return Account.model_validate(said)

    async def _ended(self, account_id: str, status: str, path: str, body: Mapping[str, Any], dry_run: bool) -> Account:
        """`_applied` for what ends an account: where an earlier attempt did it, that is a success."""
        try:
            return await self._applied(path, body, dry_run)
        except AccountTerminal as refused:
            if refused.attempts == 1:
                raise
            account = await self._get(f"{PREFIX}/accounts/{account_id}", Account)
            if account.status != status:
                raise
            return account
