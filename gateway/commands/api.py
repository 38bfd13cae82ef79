"""`prop api`: any route of a running engine from a terminal, with the token at hand."""

import asyncio
import json
import sys
from typing import Annotated, Any, Final

import typer

from gateway.commands import options
from gateway.commands.calling import calling
from gateway.commands.place import gateway_of, settings_of, token_of
from gateway.commands.terminal import CommandError, print_json, print_line

PREFIXES: Final = {"admin/": "/api/v1/admin/prop/", "": "/api/v1/prop/"}

Path = Annotated[str, typer.Argument(metavar="PATH", help="As in the API's description, or without its prefix.")]
Body = Annotated[
    str | None,
    typer.Option("--body", metavar="JSON", help="Makes it a POST; - reads standard input.", show_default=False),
]


def api(
    path: Path,
    body: Body = None,
    data_dir: options.DataDir = None,
    url: options.Url = None,
    token: options.Token = None,
    as_json: options.AsJson = False,
) -> None:
    """Call a route of the API and print the JSON that it answers.

    What follows /api/v1/prop/ is enough, and admin/... for what follows /api/v1/admin/prop/. Exit code 2 and the
    problem where the engine refuses.

    \b
    prop api accounts/ACCOUNT/snapshot
    prop api 'accounts/ACCOUNT/ledger?type=fill_booked&limit=5'
    prop api 'readyz?verbose'
    prop api admin/accounts/ACCOUNT/pause --body '{"reason": "looked at"}'
    """
    settings = settings_of(data_dir)
    gateway, key = gateway_of(settings.data_dir, url), token_of(settings.data_dir, token)
    said = asyncio.run(_said(gateway, key, whole(path), _parsed(body)))
    if as_json:
        print_json(said)
    else:
        print_line(json.dumps(said, indent=2, ensure_ascii=False))


def whole(path: str) -> str:
    """The path on the gateway; one that begins with a slash is taken as it is."""
    if path.startswith("/"):
        return path
    if path.partition("?")[0] in ("livez", "readyz", "version", "openapi.json"):
        return f"/{path}"
    short = next(short for short in PREFIXES if path.startswith(short))
    return PREFIXES[short] + path.removeprefix(short)


def _parsed(body: str | None) -> Any:
    if body is None:
        return None
    try:
        return json.loads(sys.stdin.read() if body == "-" else body)
    except ValueError as error:
        raise CommandError(f"--body is no JSON: {error}") from None


async def _said(url: str, token: str, path: str, body: Any) -> Any:
    async with calling(url, token) as prop:
        return await prop.send("GET" if body is None else "POST", path, body=body)
