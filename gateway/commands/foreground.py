"""Foreground: an engine that runs until it is told to stop, and how the telling is heard.

Guarantee: the first SIGINT or SIGTERM, also during the start, stops everything that was started and ends with exit
code 0; a second one ends the program at once, which loses nothing acknowledged. (The bundled PostgreSQL outlives that,
and the next start takes it over.)
"""

import asyncio
import os
import signal
import socket
import time
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from gateway.commands.terminal import CommandError, print_line, silence

if TYPE_CHECKING:
    from configs.settings import Settings
    from gateway.bootstrap import Engine, Stage

SIGNALS = (signal.SIGINT, signal.SIGTERM)
ECHO_SECONDS = 1.0
"""One wish to stop may arrive twice: `timeout`, and some supervisors, signal a program and then its whole group."""


class StopSignal:
    """Whether the program was told to stop."""

    def __init__(self, on_stop: Callable[[], None]) -> None:
        self._on_stop = on_stop
        self._told = asyncio.Event()
        self._told_at = 0.0
        self._starting: asyncio.Task[object] | None = asyncio.current_task()

    def listen(self) -> None:
        """Hear the signals. Again after Ray has started: it puts a handler of its own in place."""
        loop = asyncio.get_running_loop()
        for number in SIGNALS:
            loop.add_signal_handler(number, self._hear, number)

    def started(self) -> None:
        """From here on a signal is waited for, and no longer cancels."""
        self._starting = None

    @property
    def has_started(self) -> bool:
        return self._starting is None

    @property
    def is_told(self) -> bool:
        return self._told.is_set()

    async def wait(self) -> None:
        await self._told.wait()

    def tell(self) -> None:
        """Stop, as after a first signal. Once is enough."""
        if self.is_told:
            return
        self._told_at = time.monotonic()
        self._told.set()
        self._on_stop()
        if self._starting is not None:
            self._starting.cancel()

    def _hear(self, number: int) -> None:
        if self.is_told and time.monotonic() - self._told_at > ECHO_SECONDS:
            os._exit(128 + number)
        self.tell()


def run_engine(
    settings: "Settings",
    *,
    token: str | None,
    report: Callable[["Stage"], None],
    work: Callable[["Engine", StopSignal], Awaitable[None]],
    on_stop: Callable[[], None] = lambda: None,
    log_to_driver: bool = True,
) -> None:
    """Start an engine, do `work` until it ends (when the stop signal comes, if not before), stop the engine.

    `on_stop` is called when the signal is heard. Raises :class:`CommandError` where the engine cannot start.
    """
    _refuse_taken_port(settings)
    from gateway.server import new_event_loop

    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        runner.run(_run(settings, token, report, work, on_stop, log_to_driver))


async def _run(
    settings: "Settings",
    token: str | None,
    report: Callable[["Stage"], None],
    work: Callable[["Engine", StopSignal], Awaitable[None]],
    on_stop: Callable[[], None],
    log_to_driver: bool,
) -> None:
    stop = StopSignal(on_stop)
    stop.listen()

    def heard(stage: "Stage") -> None:
        stop.listen()
        report(stage)

    try:
        from gateway.bootstrap import running_engine  # seconds of imports: Ctrl-C already works

        async with running_engine(settings, report=heard, bootstrap_token=token, log_to_driver=log_to_driver) as engine:
            stop.started()
            stop.listen()
            try:
                await work(engine, stop)
            except* BrokenPipeError:  # who read what it says has gone: that is a wish to stop, too
                silence()
    except asyncio.CancelledError:
        if not stop.is_told:
            raise
    except Exception as error:
        explained = None if stop.has_started else _explained(error)
        if explained is None:
            raise
        raise explained from error


def _refuse_taken_port(settings: "Settings") -> None:
    """A port that was asked for by name is had or refused, before anything is started."""
    from configs.settings import DEFAULTS

    host, port = settings.gateway.host, settings.gateway.port
    if port == 0 or settings.source_of("gateway.port") == DEFAULTS:
        return
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise CommandError(
                f"cannot listen on {host}:{port}: {error.strerror}. Leave --port out to take a free one."
            ) from None


def _explained(error: Exception) -> CommandError | None:
    """What can go wrong at a start, said in one line; None for a defect, which keeps its traceback."""
    import psycopg
    import sqlalchemy.exc

    from persistence.embedded import EmbeddedPostgresError
    from persistence.lease import DatabaseTaken
    from persistence.migrations.run import NewerSchema
    from persistence.preflight import UnfitDatabase
    from persistence.quotes import QuoteQueryError
    from persistence.store import StoreUnavailable
    from persistence.tokens import TokenRefused

    match error:
        case DatabaseTaken() | EmbeddedPostgresError() | QuoteQueryError() | StoreUnavailable() | TokenRefused():
            return CommandError(str(error))
        case UnfitDatabase() | NewerSchema():
            return CommandError(f"not on this database: {error}")
        case psycopg.OperationalError() | sqlalchemy.exc.OperationalError():
            return CommandError(f"the database does not answer: {str(getattr(error, 'orig', error)).strip()}")
        case OSError():  # a port, a full disk, a Ray that is not there
            return CommandError(f"cannot start: {error}")
        case _:
            return None


def print_stage(stage: "Stage") -> None:
    """`ok name detail seconds`."""
    print_line(f"  ok  {stage.name:<9} {stage.detail:<52} {stage.seconds:5.1f} s")
