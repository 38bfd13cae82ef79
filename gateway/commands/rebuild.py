"""`prop rebuild`: have accounts derived anew from their ledgers, one or all, over HTTP."""

import asyncio
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from gateway.commands import options
from gateway.commands.calling import calling
from gateway.commands.place import gateway_of, settings_of, token_of
from gateway.commands.terminal import FOUND, CommandError, print_json

if TYPE_CHECKING:
    from prop.models import Recomputation

Accounts = Annotated[
    list[str] | None,
    typer.Option("--account", metavar="ID", help="This one; may be repeated.", show_default=False),
]
All = Annotated[bool, typer.Option("--all", help="Every account there is, oldest first.")]
Reason = Annotated[str, typer.Option("--reason", metavar="TEXT", help="For the audit log.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Compare and say what differs; write nothing.")]


def rebuild(
    account: Accounts = None,
    all_accounts: All = False,
    reason: Reason = "prop rebuild",
    dry_run: DryRun = False,
    data_dir: options.DataDir = None,
    url: options.Url = None,
    token: options.Token = None,
    json: options.AsJson = False,
) -> None:
    """Replay ledgers from their first event, and put right whatever tables, snapshots and live state say otherwise.

    Takes accounts out of quarantine where their ledger holds. The ledger itself is never changed but for the event
    account_recomputed. Exit code 0 when every account agrees now, 1 when one does not.

    \b
    prop rebuild --account 0198c5a2-... --reason "table was edited by hand"
    prop rebuild --all --dry-run
    """
    if bool(account) == all_accounts:
        raise CommandError("name accounts with --account ID, or take --all")
    settings = settings_of(data_dir)
    gateway, key = gateway_of(settings.data_dir, url), token_of(settings.data_dir, token)
    if not asyncio.run(_rebuilt(gateway, key, account, reason, dry_run, json)):
        sys.exit(FOUND)


async def _rebuilt(url: str, token: str, ids: list[str] | None, reason: str, dry_run: bool, json: bool) -> bool:
    """Whether every account agrees with its ledger, or does now."""
    count = differed = left = 0
    async with calling(url, token) as prop:
        for account_id in ids or [each.id async for each in prop.accounts()]:
            found = await prop.recompute(account_id, reason, dry_run=dry_run)
            count, differed = count + 1, differed + (not found.consistent)
            left += not (found.consistent or found.repaired)
            _print(found, dry_run, json)
    if not json:
        print(f"{count} accounts, {differed} differed, {left} still do")
    return left == 0


def _print(found: "Recomputation", dry_run: bool, json: bool) -> None:
    if json:
        print_json(found.model_dump(mode="json", by_alias=True))
    elif found.consistent:
        print(f"{found.account_id}  agrees at seq {found.account_seq}")
    else:
        what = "repaired" if found.repaired else "would be repaired" if dry_run else "NOT repaired"
        print(f"{found.account_id}  {found.drifts} differences, {what}")
        for each in found.drift:
            print(f"  {each.table} {each.key} {each.field}: ledger {each.ledger_value}, stored {each.stored_value}")
