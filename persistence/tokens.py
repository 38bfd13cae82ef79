"""Service tokens: who may call, and with what scope. The text of a token is shown once and never stored.

Owns `prop_service_tokens`. Stored is the SHA-256 of the text: enough for 32 random bytes, which nobody can guess and
no table of hashes can hold. At most two live tokens a service, so that one can be rotated while the other works.
"""

import hashlib
import os
import re
import secrets
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Final, Literal, get_args

import msgspec
from psycopg import AsyncConnection
from psycopg.rows import kwargs_row
from psycopg.sql import SQL

from engine.ids import uuid7
from persistence.pools import Pool, rows, writing

Scope = Literal["prop:read", "prop:trade", "prop:admin"]
SCOPES: Final[tuple[Scope, ...]] = get_args(Scope)
PREFIX: Final = "ptk_"
"""Lets a secret scanner recognise a leaked token."""
SECRET_BYTES: Final = 32
LIVE_PER_SERVICE_MAX: Final = 2
BOOTSTRAP: Final = "bootstrap"
BOOTSTRAP_CHARACTERS_MIN: Final = 32

_NAME: Final = re.compile(r"[A-Za-z0-9_.:-]{1,128}")

_COLUMNS: Final = SQL("id::text, name, token_sha256, scopes, created_at, expires_at, revoked_at")
_LIVE: Final = SQL("revoked_at is null and (expires_at is null or expires_at > %(now)s)")
_EVERY: Final = SQL("select {} from prop_service_tokens order by name, created_at, id").format(_COLUMNS)
_EVERY_LIVE: Final = SQL("select {} from prop_service_tokens where {} order by name, created_at, id").format(
    _COLUMNS, _LIVE
)
_LIVE_OF_SERVICE: Final = SQL(
    "select id::text from prop_service_tokens where name = %(name)s and {} order by created_at"
).format(_LIVE)
_REVOKE: Final = "update prop_service_tokens set revoked_at = now() where id::text = %s and revoked_at is null"
_REVOKE_OTHERS: Final = """
update prop_service_tokens set revoked_at = now() where name = %s and token_sha256 <> %s and revoked_at is null
"""
_INSERT: Final = SQL("""
insert into prop_service_tokens (id, name, token_sha256, scopes, created_at, expires_at)
values (%s, %s, %s, %s, %s, %s)
on conflict (token_sha256) do update set revoked_at = null where prop_service_tokens.name = excluded.name
returning {}
""").format(_COLUMNS)
_LOCK: Final = "select pg_advisory_xact_lock(hashtextextended('prop_service_tokens ' || %s, 0))"


class TokenRefused(ValueError):
    """No such token may be made; the message says what to do instead."""


class TokenRow(msgspec.Struct, frozen=True, kw_only=True):
    """A token as stored. `name` is the service it was made for."""

    id: str
    name: str
    token_sha256: bytes
    scopes: tuple[Scope, ...]
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None

    def is_live(self, now: datetime) -> bool:
        return self.revoked_at is None and (self.expires_at is None or self.expires_at > now)


def sha256(token: str) -> bytes:
    """What is stored and compared, for any text a client may send."""
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).digest()


class Tokens:
    """Tokens on a pool that may write. Every method raises `StoreUnavailable` when Postgres cannot be reached."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def create(
        self, name: str, scopes: Sequence[Scope], *, expires_at: datetime | None = None
    ) -> tuple[str, TokenRow]:
        """A new token for a service, and its text, which cannot be had again. Raises `TokenRefused`."""
        now = datetime.now(UTC)
        _check(name, scopes, expires_at, now)
        text = PREFIX + secrets.token_urlsafe(SECRET_BYTES)
        async with writing(self._pool) as connection:
            await _only_writer(connection, name)
            found = await connection.execute(_LIVE_OF_SERVICE, {"name": name, "now": now})
            live = [token_id for (token_id,) in await found.fetchall()]
            if len(live) >= LIVE_PER_SERVICE_MAX:
                raise TokenRefused(f"{name} has {len(live)} live tokens; revoke one first: {', '.join(live)}")
            return text, await _insert(connection, name, text, scopes, now, expires_at)

    async def all(self) -> list[TokenRow]:
        """Every token ever made, by service, oldest first."""
        return await rows(self._pool, kwargs_row(_row), _EVERY)

    async def live(self, now: datetime) -> list[TokenRow]:
        """Tokens that open the door at `now`."""
        return await rows(self._pool, kwargs_row(_row), _EVERY_LIVE, {"now": now})

    async def revoke(self, token_id: str) -> bool:
        """End a token; False where there is none of this id that was not revoked before."""
        async with writing(self._pool) as connection:
            ended = await connection.execute(_REVOKE, (token_id,))
            return ended.rowcount == 1

    async def install_bootstrap(self, token: str) -> TokenRow:
        """Make `token` the one bootstrap token, an admin; earlier ones are revoked. Raises `TokenRefused`.

        The same token again, by a restart or a second gateway, changes nothing.
        """
        if len(token) < BOOTSTRAP_CHARACTERS_MIN or not token.isascii() or not token.isprintable() or " " in token:
            raise TokenRefused(
                f"the bootstrap token must be {BOOTSTRAP_CHARACTERS_MIN} or more printable ASCII characters"
            )
        async with writing(self._pool) as connection:
            await _only_writer(connection, BOOTSTRAP)
            await connection.execute(_REVOKE_OTHERS, (BOOTSTRAP, sha256(token)))
            return await _insert(connection, BOOTSTRAP, token, ("prop:admin",), datetime.now(UTC), None)


def _check(name: str, scopes: Sequence[Scope], expires_at: datetime | None, now: datetime) -> None:
    if not _NAME.fullmatch(name):
        raise TokenRefused("a service name is 1 to 128 of A-Z a-z 0-9 _ . : -")
    if name == BOOTSTRAP:
        raise TokenRefused(f"{BOOTSTRAP} is the token given at start, not one to create")
    if not scopes or not set(scopes) <= set(SCOPES):
        raise TokenRefused(f"scopes are some of {', '.join(SCOPES)}; given: {', '.join(scopes) or 'none'}")
    if expires_at is not None and (expires_at.tzinfo is None or expires_at <= now):
        raise TokenRefused("a token expires at a time with a zone that is still to come")


async def _only_writer(connection: AsyncConnection[Any], name: str) -> None:
    """Held to the end of the transaction, so that two calls cannot each find room for one more."""
    await connection.execute(_LOCK, (name,))


async def _insert(
    connection: AsyncConnection[Any],
    name: str,
    text: str,
    scopes: Sequence[Scope],
    now: datetime,
    expires_at: datetime | None,
) -> TokenRow:
    async with connection.cursor(row_factory=kwargs_row(_row)) as cursor:
        await cursor.execute(
            _INSERT,
            (uuid7(now, os.urandom(10)), name, sha256(text), list(dict.fromkeys(scopes)), now, expires_at),
        )
        row = await cursor.fetchone()
    if row is None:
        raise TokenRefused("this text is the token of another service")
    return row


def _row(*, scopes: list[Scope], **columns: Any) -> TokenRow:
    return TokenRow(scopes=tuple(scopes), **columns)
