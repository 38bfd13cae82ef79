"""`prop status`: whether a running engine is well, component by component."""

import asyncio
from typing import TYPE_CHECKING

from gateway.commands import options
from gateway.commands.calling import calling
from gateway.commands.place import gateway_of, settings_of, token_of
from gateway.commands.terminal import FOUND, CommandError, print_json, print_table

if TYPE_CHECKING:
    from prop.models import Readiness, Version

COLUMNS = ("COMPONENT", "WELL", "DETAIL")


def status(
    data_dir: options.DataDir = None,
    url: options.Url = None,
    token: options.Token = None,
    json: options.AsJson = False,
) -> None:
    """Say whether a running engine is well, and which component is not.

    What /readyz?verbose says. Exit code 0 when everything is well, 1 when something is not, 2 when no gateway answers.

    \b
    prop status
    prop status --url http://prop:8080 --json
    """
    settings = settings_of(data_dir)
    gateway = gateway_of(settings.data_dir, url)
    found, version = asyncio.run(_found(gateway, token_of(settings.data_dir, token)))
    if json:
        print_json({"url": gateway, "version": version.version, **found.wire()})
    else:
        rows = [(each.component, "yes" if each.well else "NO", each.detail) for each in found.components]
        print_table(COLUMNS, rows)
    if not found.ready:
        unwell = [each.component for each in found.components if not each.well]
        raise CommandError(f"{gateway} (version {version.version}) is not ready: {', '.join(unwell)}", FOUND)


async def _found(url: str, token: str) -> "tuple[Readiness, Version]":
    async with calling(url, token) as prop:
        return await prop.readiness(), await prop.version()
