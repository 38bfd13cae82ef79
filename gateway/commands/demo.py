"""`prop demo`: the engine with six accounts trading on real prices, to be watched."""

import contextlib
import os
import shlex
import shutil
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gateway.commands import foreground, options
from gateway.commands.place import (
    BOOTSTRAP_VARIABLE,
    DEMO_FOLDER,
    POSTGRES_FOLDER,
    TOKEN_FILE,
    BootstrapToken,
    bootstrap_token,
    owned,
    settings_of,
)
from gateway.commands.terminal import CommandError, print_aligned, print_json, print_line

if TYPE_CHECKING:
    from configs.settings import Settings
    from gateway.bootstrap import Engine, Stage
    from gateway.commands.foreground import StopSignal

MARKING_CADENCE_MS = 1_000
LOG_FILE = "demo.log"
REPLAY_FILE = "replay.json"
OWN_FILES = (TOKEN_FILE, LOG_FILE, REPLAY_FILE, "run.json")
BARS_PER_SECOND = 2.0

Fresh = Annotated[bool, typer.Option("--fresh", help="Forget what an earlier demo left in the folder.")]
Speed = Annotated[
    float,
    typer.Option("--speed", metavar="BARS_PER_SECOND", min=0.01, max=100, help="Trading days a second."),
]


def demo(
    context: typer.Context,
    data_dir: options.DataDir = None,
    port: options.Port = None,
    fresh: Fresh = False,
    speed: Speed = BARS_PER_SECOND,
    json: options.AsJson = False,
) -> None:
    """Start the engine and six accounts that trade on real daily prices from 2000 on; Ctrl-C stops everything.

    The prices (AAPL, IBM, MSFT, GOOG, FB; closes as quoted, splits not adjusted) are replayed fast, as if they were
    quoted now. Everything is kept in DIR, by default the folder `demo` in that of `prop serve`, and goes on from there
    the next time. The demo writes prices into its database, so it takes no other than the PostgreSQL that comes along.

    \b
    prop demo
    prop demo --fresh --speed 10
    prop demo --json | grep liquidated
    """
    settings = _settings(data_dir, port)
    context.with_resource(owned(settings.data_dir))
    if fresh:
        _forget(settings.data_dir)
    _refuse_missing_prices()
    token = bootstrap_token(settings)
    if token is None:
        raise AssertionError("the demo has a database of its own, and so a token")
    started = time.monotonic()

    def report(stage: "Stage") -> None:
        if json:
            print_json(
                {"event": "stage", "stage": stage.name, "detail": stage.detail, "seconds": round(stage.seconds, 3)}
            )
        else:
            foreground.print_stage(stage)

    async def work(engine: "Engine", stop: "StopSignal") -> None:
        from rich.console import Console

        from gateway.demo.show import Show

        if json:
            print_json({"event": "ready", "url": engine.url, "seconds": round(time.monotonic() - started, 3)})
        else:
            _print_ready(engine, token)
        console = Console() if sys.stdout.isatty() and not json else None
        show = Show(
            url=engine.url,
            token=token.text,
            database_url=engine.database_url,
            data_dir=engine.data_dir,
            bars_per_second=speed,
        )
        await show.run(stop.wait(), console=console, json=json)

    def on_stop() -> None:
        if not json:
            print_line("\n  stopping (Ctrl-C once more to end at once)")

    with _logged(settings.data_dir / LOG_FILE):
        foreground.run_engine(
            settings, token=token.text, report=report, work=work, on_stop=on_stop, log_to_driver=False
        )
    if not json:
        print_line("  stopped; what was traded is kept, and `prop demo` goes on from there")


def _settings(data_dir: Path | None, port: int | None) -> "Settings":
    """The settings of a demo: a folder of its own, marks every second, its own prices."""
    environ = {name: value for name, value in os.environ.items() if name != "PROP_QUOTES__QUERY"}
    settings = settings_of(data_dir, None, _overrides(port, environ), environ=environ)
    if settings.database.url is not None:
        raise CommandError(
            f"the demo writes prices into its database and takes no other than the one that comes along, but "
            f"{settings.source_of('database.url')} names one. Run `env -u PROP_DATABASE_URL prop demo`, "
            "or `prop serve` on that database."
        )
    if data_dir is not None:
        return settings
    return settings_of(settings.data_dir / DEMO_FOLDER, None, _overrides(port, environ), environ=environ)


def _overrides(port: int | None, environ: Mapping[str, str]) -> dict[str, object]:
    quick = None if environ.get("PROP_MARKING__CADENCE_MS") else MARKING_CADENCE_MS
    quiet = None if environ.get("PROP_LOG__LEVEL") else "warning"
    return {"gateway.port": port, "marking.cadence_ms": quick, "log.level": quiet}


def _refuse_missing_prices() -> None:
    from gateway.demo.feed import NoPrices, Replay

    try:
        Replay.recorded()
    except NoPrices as error:
        raise CommandError(str(error)) from None


def _forget(folder: Path) -> None:
    """Remove what a demo makes, and nothing else that may lie in the folder."""
    postgres = folder / POSTGRES_FOLDER
    if postgres.exists():
        from persistence import postmaster
        from persistence.embedded import EmbeddedPostgres

        if postmaster.running_pid((postgres / "cluster").resolve()) is not None:
            EmbeddedPostgres(postgres).start().stop()
        shutil.rmtree(postgres)
    for name in OWN_FILES:
        (folder / name).unlink(missing_ok=True)


@contextlib.contextmanager
def _logged(file: Path) -> Iterator[None]:
    """Standard error of this process and of all it starts goes into a file: the terminal is for the table."""
    file.parent.mkdir(parents=True, exist_ok=True)
    sys.stderr.flush()
    terminal = os.dup(2)
    log = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    os.dup2(log, 2)
    os.close(log)
    try:
        yield
    finally:
        sys.stderr.flush()
        os.dup2(terminal, 2)
        os.close(terminal)


def _print_ready(engine: "Engine", token: BootstrapToken) -> None:
    folder = shlex.quote(str(engine.data_dir))
    bearer = f"${BOOTSTRAP_VARIABLE}" if token.file is None else f"$(cat {shlex.quote(str(token.file))})"
    print()
    print_aligned(
        {
            "API": f"{engine.url}/api/v1/prop",
            "Docs": f"{engine.url}/docs",
            "Token": f"{token.text}  (admin, for this engine alone{f'; kept in {token.file}' if token.file else ''})",
            "Data": f"{engine.data_dir}  (`prop demo --fresh` starts over; logs in {LOG_FILE})",
            "Prices": "daily closes as quoted 2000 to 2013, from bokeh-sampledata, replayed as if they were now",
            "Try": f'curl -s -H "Authorization: Bearer {bearer}" "{engine.url}/api/v1/prop/accounts?status=active"',
            "Verify": f"{_prop()} verify --data-dir {folder}",
        }
    )
    print_line("\n  Ctrl-C stops everything it started")


def _prop() -> str:
    """This program, as it can be pasted into the same folder's shell."""
    found, called = shutil.which("prop"), Path(sys.argv[0])
    if found is not None and Path(found).resolve() == called.resolve():
        return "prop"
    return shlex.quote(str(called)) if called.name == "prop" else "prop"
