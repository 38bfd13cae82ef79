"""`prop token`: make, list and revoke service tokens, straight in the database."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from gateway.commands import options
from gateway.commands.place import database_of, settings_of
from gateway.commands.terminal import FOUND, CommandError, print_json, print_table

if TYPE_CHECKING:
    from persistence.tokens import TokenRow, Tokens

Result = TypeVar("Result")

app = typer.Typer(name="token", help="Service tokens.", no_args_is_help=True, rich_markup_mode=None)

Service = Annotated[str, typer.Argument(metavar="SERVICE", help="Who will call with it, such as ai-trading.")]
Scopes = Annotated[
    list[str], typer.Option("--scope", metavar="SCOPE", help="prop:read, prop:trade or prop:admin; may be repeated.")
]
Days = Annotated[
    int | None, typer.Option("--expires-in-days", metavar="N", min=1, help="For ever unless given.", show_default=False)
]
TokenId = Annotated[str, typer.Argument(metavar="ID", help="As `prop token list` shows it.")]


@app.command()
def create(
    service: Service,
    scope: Scopes,
    expires_in_days: Days = None,
    database_url: options.DatabaseUrl = None,
    data_dir: options.DataDir = None,
    json: options.AsJson = False,
) -> None:
    """Make a token and print it, once: only its hash is kept. A service may have two, so that one can be rotated.

    \b
    prop token create ai-trading --scope prop:trade --expires-in-days 90
    """
    expires_at = None if expires_in_days is None else datetime.now(UTC) + timedelta(days=expires_in_days)

    async def made(tokens: "Tokens") -> "tuple[str, TokenRow]":
        from persistence.tokens import TokenRefused

        try:
            return await tokens.create(service, scope, expires_at=expires_at)  # type: ignore[arg-type] # it checks them
        except TokenRefused as refused:
            raise CommandError(str(refused)) from None

    text, row = _with_tokens(data_dir, database_url, made)
    if json:
        print_json({"token": text, **_shown(row)})
    else:
        print(text)


@app.command("list")
def list_all(
    database_url: options.DatabaseUrl = None, data_dir: options.DataDir = None, json: options.AsJson = False
) -> None:
    """List every token ever made, without its text.

    \b
    prop token list
    """
    rows = _with_tokens(data_dir, database_url, lambda tokens: tokens.all())
    if json:
        for row in rows:
            print_json(_shown(row))
        return
    print_table(("ID", "SERVICE", "SCOPES", "STATE", "CREATED", "EXPIRES"), [_cells(row) for row in rows])


@app.command()
def revoke(
    token_id: TokenId,
    database_url: options.DatabaseUrl = None,
    data_dir: options.DataDir = None,
    json: options.AsJson = False,
) -> None:
    """End a token. Gateways notice within seconds.

    \b
    prop token revoke 0199c0de-...
    """
    revoked = _with_tokens(data_dir, database_url, lambda tokens: tokens.revoke(token_id))
    if json:
        print_json({"id": token_id, "revoked": revoked})
    elif revoked:
        print(f"revoked {token_id}")
    if not revoked:
        raise CommandError(f"no live token has the id {token_id}: see `prop token list`", FOUND)


def _with_tokens(
    data_dir: Path | None, database_url: str | None, work: "Callable[[Tokens], Awaitable[Result]]"
) -> Result:
    """Do `work` on the tokens of the database, whose schema is brought up to date first."""

    async def run(url: str) -> Result:
        from persistence.pools import connection_pool
        from persistence.tokens import Tokens

        pool = connection_pool(url, connections_max=1, read_only=False)
        await pool.open()
        try:
            return await work(Tokens(pool))
        finally:
            await pool.close()

    with database_of(settings_of(data_dir), database_url) as url:
        import psycopg
        import sqlalchemy.exc

        from persistence.migrations.run import upgrade
        from persistence.store import StoreUnavailable

        try:
            upgrade(url)
            return asyncio.run(run(url))
        except (StoreUnavailable, psycopg.Error, sqlalchemy.exc.SQLAlchemyError) as error:
            raise CommandError(str(getattr(error, "orig", error)).strip()) from None


def _shown(row: "TokenRow") -> dict[str, Any]:
    return {
        "id": row.id,
        "service": row.name,
        "scopes": list(row.scopes),
        "createdAt": _time(row.created_at),
        "expiresAt": _time(row.expires_at),
        "revokedAt": _time(row.revoked_at),
    }


def _cells(row: "TokenRow") -> list[str]:
    state = "revoked" if row.revoked_at else "live" if row.is_live(datetime.now(UTC)) else "expired"
    return [
        row.id,
        row.name,
        " ".join(row.scopes),
        state,
        _time(row.created_at) or "",
        _time(row.expires_at) or "never",
    ]


def _time(at: datetime | None) -> str | None:
    return None if at is None else at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
