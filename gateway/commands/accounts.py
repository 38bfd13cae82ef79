"""`prop accounts`: the accounts of a running engine."""

import asyncio
from typing import TYPE_CHECKING, Annotated, cast

import typer

from gateway.commands import options
from gateway.commands.calling import calling
from gateway.commands.place import gateway_of, settings_of, token_of
from gateway.commands.terminal import print_json, print_table

if TYPE_CHECKING:
    from prop.models import Account
    from prop.reads import Status

COLUMNS = ("ID", "STATUS", "OWNER", "CLONE", "MODE", "STARTING BALANCE", "SEQ", "CREATED", "END REASON")

OnlyStatus = Annotated[
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
    status: OnlyStatus = None,
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
    wanted = cast("Status | None", status)  # the engine says what a status is
    found = asyncio.run(
        _found(gateway_of(settings.data_dir, url), token_of(settings.data_dir, token), status=wanted, limit=limit)
    )
    if json:
        for account in found:
            print_json(account.wire())
        return
    print_table(COLUMNS, [_row(account) for account in found], right=("STARTING BALANCE", "SEQ"))


async def _found(url: str, token: str, *, status: "Status | None", limit: int) -> "list[Account]":
    found: list[Account] = []
    async with calling(url, token) as prop:
        async for account in prop.accounts(status=status):
            found.append(account)
            if len(found) == limit:
                break
    return found


def _row(account: "Account") -> list[str]:
    return [
        account.id,
        account.status,
        account.owner_id,
        account.clone_id,
        account.mode,
        f"{account.starting_balance} {account.currency}",
        str(account.account_seq),
        f"{account.created_at:%Y-%m-%dT%H:%M:%S}Z",
        account.end_reason or "",
    ]
