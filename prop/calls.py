"""Calls: what the parts of the client share: one reply as a model, and lists that turn their own pages."""

from collections.abc import AsyncIterator, Mapping
from typing import Any, TypeVar

from pydantic import ValidationError

from prop.errors import AccountTerminal, Unreachable
from prop.models import Account
from prop.transport import ADMIN, PREFIX, Query, Transport, segments
from prop.values import Reply

Model = TypeVar("Model", bound=Reply)
PAGE: int = 500
"""Rows asked for at once where the caller does not say."""


def of_account(account_id: str, *more: str) -> str:
    """The path of an account, or of something of it."""
    return PREFIX + segments("accounts", account_id, *more)


def of_admin(account_id: str, deed: str) -> str:
    """The path of what operators do to an account."""
    return ADMIN + segments("accounts", account_id, deed)


def understood(model: type[Model], said: Any) -> Model:
    """An answer as what it has to be. Raises `Unreachable` where it is not."""
    try:
        return model.model_validate(said)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(str(each) for each in first["loc"])
        raise Unreachable(f"the answer is no {model.__name__} of this API: {place} {first['msg']}") from error


class Calls:
    """Base of the parts of the client."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    async def _get(self, path: str, model: type[Model], **query: str | int | bool | None) -> Model:
        return understood(model, await self._transport.call("GET", path, query=query))

    async def _post(
        self, path: str, model: type[Model], body: Mapping[str, Any] | None = None, *, dry_run: bool = False
    ) -> Model:
        asked = None if body is None else dict(body)
        return understood(model, await self._transport.call("POST", path, query={"dryRun": dry_run}, body=asked))

    async def _rows(self, path: str, model: type[Model], query: Query) -> AsyncIterator[Model]:
        """Every row of a list, page after page."""
        asked: dict[str, str | int | bool | None] = {"limit": PAGE, **query}
        while True:
            page = understood(_Page, await self._transport.call("GET", path, query=asked))
            for row in page.data:
                yield understood(model, row)
            if not page.has_more:
                return
            asked["cursor"] = page.next_cursor

    async def _ended(self, account_id: str, status: str, path: str, body: Mapping[str, Any], dry_run: bool) -> Account:
        """What ends an account: where an earlier attempt did it, that is a success."""
        try:
            return await self._post(path, Account, body, dry_run=dry_run)
        except AccountTerminal as refused:
            if refused.attempts == 1:
                raise
            account = await self._get(of_account(account_id), Account)
            if account.status != status:
                raise
            return account


class _Page(Reply):
    """The envelope of a list."""

    data: list[Any]
    has_more: bool
    next_cursor: str | None
