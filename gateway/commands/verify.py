"""`prop verify`: replay every ledger and hold tables, snapshots and live state to it."""

import asyncio
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any
from uuid import UUID

import typer

from gateway.commands import options
from gateway.commands.calling import calling
from gateway.commands.place import database_of, gateway_of, running_on, settings_of, token_of
from gateway.commands.terminal import FOUND, CommandError, print_json, print_table

if TYPE_CHECKING:
    from persistence.reconcile import Progress, Report
    from prop import AsyncProp

ROWS_SHOWN_MAX = 100
PROGRESS_SECONDS = 0.1

Account = Annotated[
    list[str] | None,
    typer.Option("--account", metavar="ID", help="Only this one; may be repeated.", show_default=False),
]


def verify(
    account: Account = None,
    data_dir: options.DataDir = None,
    database_url: options.DatabaseUrl = None,
    url: options.Url = None,
    token: options.Token = None,
    json: options.AsJson = False,
) -> None:
    """Replay every ledger from its first event and compare: hash chain, tables, snapshots and the live accounts.

    Live state is compared where an engine runs on the data folder, or at --url. Reads only. Exit code 0 when
    everything agrees, 1 when something drifted, 2 when it could not be looked at.

    \b
    prop verify
    prop verify --data-dir ~/.local/state/prop/demo --json
    prop verify --database-url postgresql://prop:secret@db/prop --url http://prop:8080 --token ptk_...
    """
    settings = settings_of(data_dir)
    _refuse_no_uuids(account or [])
    gateway = _gateway(settings.data_dir, url, token, database_url or settings.database.url)
    started = time.monotonic()
    with database_of(settings, database_url) as database:
        report, unchecked = asyncio.run(_verified(database, account, gateway))
    seconds = time.monotonic() - started
    if json:
        from engine.canonical import plain

        print_json({**plain(report), "liveUnchecked": unchecked, "seconds": round(seconds, 3)})
    else:
        _print(report, unchecked, seconds)
    if not report.is_clean:
        sys.exit(FOUND)


def _refuse_no_uuids(account_ids: list[str]) -> None:
    for account_id in account_ids:
        try:
            UUID(account_id)
        except ValueError:
            raise CommandError(f"{account_id!r} is no account id") from None


def _gateway(data_dir: Path, url: str | None, token: str | None, database_url: str | None) -> tuple[str, str] | str:
    """Where live state can be asked for, or why not. An engine on the folder says nothing of another database."""
    if url is None:
        running = running_on(data_dir)
        if running is None:
            return f"no engine runs on {data_dir}"
        if database_url not in (None, running.database_url):
            return f"the engine on {data_dir} works on another database"
    return gateway_of(data_dir, url), token_of(data_dir, token)


async def _verified(
    database: str, account_ids: list[str] | None, gateway: tuple[str, str] | str
) -> "tuple[Report, str | None]":
    """The report, and why live state was not checked, where it was not."""
    from persistence import reconcile
    from persistence.store import StoreUnavailable

    progress = _ProgressLine()
    try:
        unchecked = gateway if isinstance(gateway, str) else await _unheard(*gateway)
        if unchecked is not None or isinstance(gateway, str):
            report = await reconcile.verify(database, account_ids=account_ids, on_progress=progress)
            return report, unchecked
        async with calling(*gateway, attempts_max=None) as prop:
            report = await reconcile.verify(database, account_ids=account_ids, live=_live(prop), on_progress=progress)
            return report, None
    except StoreUnavailable as error:
        raise CommandError(str(error)) from None
    finally:
        progress.clear()


async def _unheard(url: str, token: str) -> str | None:
    """Why the gateway does not tell of accounts, where it does not."""
    from prop.errors import NotAllowed, PropError

    async with calling(url, token) as prop:
        try:
            async for _ in prop.accounts():
                break
        except NotAllowed as refused:
            raise CommandError(f"live state cannot be read: {refused}. Give another --token.") from None
        except PropError as error:
            return str(error)
    return None


def _live(prop: "AsyncProp") -> Callable[[str], Any]:
    from prop.errors import Conflict, NotFound

    async def live(account_id: str) -> tuple[int, Mapping[str, Any]] | None:
        try:
            snapshot = await prop.snapshot(account_id)
        except (NotFound, Conflict):
            return None
        return snapshot.account_seq, snapshot.wire()

    return live


class _ProgressLine:
    """How far it has come, on standard error, where somebody looks."""

    def __init__(self) -> None:
        self._shown = sys.stderr.isatty()
        self._last = 0.0

    def __call__(self, progress: "Progress") -> None:
        now = time.monotonic()
        if self._shown and now - self._last >= PROGRESS_SECONDS:
            self._last = now
            counts = f"{progress.accounts:,} accounts, {progress.events:,} events, {progress.drifts:,} drifts"
            print(f"\r\033[Kverifying: {counts}", end="", file=sys.stderr, flush=True)

    def clear(self) -> None:
        if self._shown:
            print("\r\033[K", end="", file=sys.stderr, flush=True)


def _print(report: "Report", unchecked: str | None, seconds: float) -> None:
    if report.drift:
        rows = [
            [
                drift.account_id,
                drift.table,
                drift.key,
                drift.field,
                _value(drift.ledger_value),
                _value(drift.stored_value),
            ]
            for drift in report.drift[:ROWS_SHOWN_MAX]
        ]
        print_table(("ACCOUNT", "WHERE", "KEY", "FIELD", "LEDGER SAYS", "STORED"), rows)
        more = report.drifts - len(rows)
        print(f"and {more:,} more (--json lists them)\n" if more else "")
    verdict = "ledger = tables" if report.is_clean else f"{report.drifts:,} DRIFTED"
    if report.is_clean and unchecked is None:
        verdict += " = live state"
    print(f"{verdict}: {report.accounts:,} accounts, {report.events:,} events replayed in {seconds:.1f} s")
    if unchecked is None:
        print(f"live state of {report.live_checked:,} accounts compared")
    else:
        print(f"live state was not checked: {unchecked}")


def _value(text: str | None) -> str:
    return "(none)" if text is None else text if len(text) <= 60 else text[:57] + "..."
