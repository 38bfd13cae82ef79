"""`prop bench`: what a running system can do, from its own doorstep."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Annotated, NamedTuple
from urllib.parse import urlsplit

import typer

from gateway.commands import options
from gateway.commands.calling import calling
from gateway.commands.place import gateway_of, settings_of, token_of
from gateway.commands.terminal import FOUND, CommandError, print_json, print_line

if TYPE_CHECKING:
    from gateway.load import Answers, Kind, Plan
    from prop import AsyncProp

OWNER = "prop-bench"
OPENED_AT_ONCE = 8

Accounts = Annotated[int, typer.Option("--accounts", metavar="N", min=1, max=10_000, help="Accounts to act on.")]
Connections = Annotated[int, typer.Option("--connections", metavar="N", min=1, max=1_000, help="At once, where many.")]
Seconds = Annotated[float, typer.Option("--seconds", metavar="S", min=0.2, max=600, help="For each measurement.")]
Symbol = Annotated[
    str | None,
    typer.Option("--symbol", metavar="NAME", help="What to trade; else any with a fresh quote.", show_default=False),
]


class Measurement(NamedTuple):
    """What is asked, over how many connections; `None` stands for --connections."""

    name: str
    kind: "Kind"
    connections: int | None
    actions: int = 1


MEASUREMENTS = (
    Measurement("an answer without work", "health", None),
    Measurement("snapshot", "snapshot", None),
    Measurement("dry run: all of an action but its commit", "dry-run", None),
    Measurement("one action, alone", "actions", 1),
    Measurement("one action a request", "actions", None),
    Measurement("ten actions a request", "actions", None, 10),
)


def bench(
    accounts: Accounts = 64,
    connections: Connections = 64,
    seconds: Seconds = 3.0,
    symbol: Symbol = None,
    data_dir: options.DataDir = None,
    url: options.Url = None,
    token: options.Token = None,
    json: options.AsJson = False,
) -> None:
    """Measure a running engine: requests and actions a second, and how long one takes.

    Opens accounts of the owner `prop-bench`, trades the smallest size on them, marks everybody once, and completes
    them at the end; they stay in the database. It takes all that the machine has: not for one that others trade on.
    One token makes at most gateway.in_flight_per_token_max requests at once, and gateway.rate_per_token a second.

    \b
    prop bench
    prop bench --seconds 10 --accounts 500 --json
    prop bench --url http://prop:8080 --token ptk_... --connections 32
    """
    settings = settings_of(data_dir)
    gateway = gateway_of(settings.data_dir, url)
    if urlsplit(gateway).scheme != "http":
        raise CommandError(f"{gateway}: the measurement speaks plain http only; run it beside the gateway.")
    from gateway.load import Plan

    plan = Plan(url=gateway, token=token_of(settings.data_dir, token), accounts=(), seconds=seconds)
    well = asyncio.run(_bench(plan, accounts, connections, symbol, json))
    if not well:
        raise typer.Exit(FOUND)


async def _bench(plan: "Plan", accounts: int, connections: int, symbol: str | None, json: bool) -> bool:
    from msgspec.structs import replace

    async with calling(plan.url, plan.token) as prop:
        plan = replace(plan, symbol=await _priced(prop, symbol))
        if not json:
            print_line(f"  opening {accounts} accounts of the owner {OWNER}")
        async with _trading(prop, accounts) as ids:
            plan = replace(plan, accounts=ids)
            well = [await _measured(each, plan, each.connections or connections, json) for each in MEASUREMENTS]
            await _mark(prop, json)
    return all(well)


async def _measured(measurement: Measurement, plan: "Plan", connections: int, json: bool) -> bool:
    """Measure, show, and say whether all that was asked was done."""
    from msgspec.structs import replace

    from gateway.load import load

    plan = replace(plan, kind=measurement.kind, connections=connections, actions=measurement.actions)
    if measurement == MEASUREMENTS[0] and not json:
        print_line(f"  {'':44} {'requests/s':>10} {'actions/s':>10} {'p50 ms':>8} {'p99 ms':>8}")
    try:
        answers = await load(plan)
    except (OSError, TimeoutError) as error:
        raise CommandError(f"{plan.url} did not answer all that was asked: {error!r}") from None
    _show(measurement, connections, answers, json)
    return answers.are_well


async def _mark(prop: "AsyncProp", json: bool) -> None:
    marked = await prop.mark_all()
    rate = marked.accounts / max(marked.duration_ms, 1) * 1000
    if json:
        print_json({"name": "marking pass", "accounts": marked.accounts, "accountsPerS": round(rate, 1)})
    else:
        print_line(f"  {'marking pass':44} {rate:>10,.0f} accounts/s ({marked.accounts} in {marked.duration_ms} ms)")


@asynccontextmanager
async def _trading(prop: "AsyncProp", number: int) -> AsyncIterator[list[str]]:
    """So many started accounts, completed at the end."""
    at_once = asyncio.Semaphore(OPENED_AT_ONCE)
    ids: list[str] = []

    async def opened(place: int) -> None:
        async with at_once:
            account = await prop.create_account(OWNER, f"bench-{place}")
            ids.append(account.id)
            await prop.start(account.id)

    async def ended(account_id: str) -> None:
        async with at_once:
            await prop.complete(account_id, settle="none")

    try:
        await asyncio.gather(*map(opened, range(number)))
        yield ids
    finally:
        await asyncio.gather(*map(ended, ids))


async def _priced(prop: "AsyncProp", symbol: str | None) -> str:
    """A symbol that an action can be filled at now."""
    fresh = [price.symbol for price in await prop.prices([symbol] if symbol else None) if price.fresh]
    if not fresh:
        raise CommandError(
            f"there is no fresh quote of {symbol or 'anything'} to trade at: see GET /api/v1/prop/prices, "
            "and whether market_prices is written to. `prop demo` runs with prices of its own."
        )
    return fresh[0]


def _show(measurement: Measurement, connections: int, answers: "Answers", json: bool) -> None:
    if json:
        asked = {**measurement._asdict(), "connections": connections}
        figures = {"requestsPerS": answers.requests_per_s, "p50Ms": answers.p50_ms, "p99Ms": answers.p99_ms}
        print_json(
            {**asked, **{name: round(figure, 3) for name, figure in figures.items()}, "answers": answers.by_status}
        )
        return
    actions = f"{answers.actions_per_s:,.0f}" if measurement.kind in ("actions", "dry-run") else ""
    name = f"{measurement.name}, {connections} connection{'s' * (connections > 1)}"
    row = f"  {name:44} {answers.requests_per_s:>10,.0f} {actions:>10} {answers.p50_ms:>8.2f} {answers.p99_ms:>8.2f}"
    print_line(row if answers.are_well else f"{row}  not all done: {answers.by_status}")
