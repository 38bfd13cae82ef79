"""`prop mark-to-market`: have every account valued at current quotes, once or on a cadence, over HTTP."""

import asyncio
import signal
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from gateway.commands import options
from gateway.commands.calling import calling
from gateway.commands.place import gateway_of, settings_of, token_of
from gateway.commands.terminal import print_json

if TYPE_CHECKING:
    from prop import AsyncProp
    from prop.models import MarkingPass

app = typer.Typer(
    name="mark-to-market", help="Value accounts at current quotes.", no_args_is_help=True, rich_markup_mode=None
)

Cadence = Annotated[int, typer.Option("--every-ms", metavar="N", min=10, help="From one pass's start to the next's.")]


@app.command()
def once(
    data_dir: options.DataDir = None,
    url: options.Url = None,
    token: options.Token = None,
    json: options.AsJson = False,
) -> None:
    """Mark every account now and say what came of it.

    \b
    prop mark-to-market once
    """
    settings = settings_of(data_dir)
    asyncio.run(_once(gateway_of(settings.data_dir, url), token_of(settings.data_dir, token), json))


@app.command()
def worker(
    every_ms: Cadence = 5_000,
    data_dir: options.DataDir = None,
    url: options.Url = None,
    token: options.Token = None,
    json: options.AsJson = False,
) -> None:
    """Mark every account on a cadence until Ctrl-C, where the engine's own (marking.cadence_ms) is off.

    A pass that is due while the last one still runs is skipped, not queued. A pass that fails is reported, and the
    next one is tried.

    \b
    prop mark-to-market worker --every-ms 1000
    """
    settings = settings_of(data_dir)
    asyncio.run(_worker(gateway_of(settings.data_dir, url), token_of(settings.data_dir, token), every_ms / 1000, json))


async def _once(url: str, token: str, json: bool) -> None:
    async with calling(url, token) as prop:
        _print(await prop.mark_all(), json)


async def _worker(url: str, token: str, every: float, json: bool) -> None:
    stop, loop = asyncio.Event(), asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    due = loop.time()
    async with calling(url, token) as prop:
        while not stop.is_set():
            await _pass(prop, json)
            due = next_due(due, every, loop.time())
            try:
                async with asyncio.timeout_at(due):
                    await stop.wait()
            except TimeoutError:
                continue


def next_due(due: float, every: float, now: float) -> float:
    """The first beat of the cadence that is not over yet: what was missed meanwhile is skipped."""
    missed = max(0, int((now - due) // every))
    return due + (missed + 1) * every


async def _pass(prop: "AsyncProp", json: bool) -> None:
    from prop.errors import NotAllowed, NotFound, PropError

    try:
        _print(await prop.mark_all(), json)
    except (NotAllowed, NotFound):
        raise  # it would be so for ever
    except PropError as error:
        typer.echo(f"pass failed: {error}", err=True)


def _print(done: "MarkingPass", json: bool) -> None:
    if json:
        print_json(done.wire())
        return
    counts = f"accounts {done.accounts}  marked {done.marked}  flat {done.flat}"
    ends = f"failed {done.failed}  liquidated {done.liquidated}"
    print(f"{datetime.now(UTC):%H:%M:%S}  {counts}  {ends}  in {done.duration_ms} ms", flush=True)
