"""`prop accounts`: the accounts of a running engine."""

import asyncio
from typing import Annotated, Any

import typer

from gateway.commands import options
from gateway.commands.place import gateway_of, settings_of, token_of
from gateway.commands.terminal import CommandError, print_json, print_table

COLUMNS = ("ID", "STATUS", "OWNER", "CLONE", "MODE", "STARTING BALANCE", "SEQ", "CREATED", "END REASON")

Status = Annotated[
    str | None,
    typer.Option(
        "--status",
        metavar="STATUS",
        help="Only these: pending, active, paused, locked, completed, liquidated.",
        show_default=False,
    ),
]
Limit = Annotated[int, typer.Option("--limit", metavar="N", min=1, help="At most so many, the oldest first.")]


def accounts(
    status: Status = None,
    limit: Limit = 1_000,
    data_dir: options.DataDir = None,
    url: options.Url = None,
    token: options.Token = None,
    json: options.AsJson = False,
) -> None:
    """List the accounts of a running engine.

    \b
    prop accounts --status active
    prop accounts --json | jq .id
    PROP_TOKEN=ptk_... prop accounts --url https://prop.example
    """
    settings = settings_of(data_dir)
    found = asyncio.run(
        _found(gateway_of(settings.data_dir, url), token_of(settings.data_dir, token), status=status, limit=limit)
    )
    if json:
        for account in found:
            print_json(account)
        return
    print_table(COLUMNS, [_row(account) for account in found], right=("STARTING BALANCE", "SEQ"))


async def _found(url: str, token: str, *, status: str | None, limit: int) -> list[dict[str, Any]]:
    from gateway.commands.api import PAGE, Api, ApiError

    query: dict[str, str | int] = {"limit": min(limit, PAGE), **({"status": status} if status else {})}
    found: list[dict[str, Any]] = []
    try:
        async with Api(url, token) as api:
            async for account in api.rows("/accounts", **query):
                found.append(account)
                if len(found) == limit:
                    break
    except ApiError as error:
        raise CommandError(str(error)) from None
    return found


def _row(account: dict[str, Any]) -> list[str]:
    return [
        account["id"],
        account["status"],
        account["ownerId"],
        account["cloneId"],
        account["mode"],
        f"{account['startingBalance']} {account['currency']}",
        str(account["accountSeq"]),
        account["createdAt"][:19] + "Z",
        account["endReason"] or "",
    ]
