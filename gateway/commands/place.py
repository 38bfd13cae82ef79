"""Place: the data folder of an engine, and what runs on it.

Owns the folder's lock, the reading of `run.json` and of `token`, and how a database is found for the commands that
need one.
"""

import contextlib
import fcntl
import json
import os
import secrets
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from gateway.commands.terminal import CommandError

if TYPE_CHECKING:
    from configs.settings import Settings

RUN_FILE = "run.json"
LOCK_FILE = "engine.lock"
TOKEN_FILE = "token"  # noqa: S105 - the name of a file
POSTGRES_FOLDER = "postgres"
DEMO_FOLDER = "demo"
BOOTSTRAP_VARIABLE = "PROP_BOOTSTRAP_TOKEN"
BOOTSTRAP_CHARACTERS_MIN = 32


class Running(NamedTuple):
    """An engine that runs, as its `run.json` tells."""

    pid: int
    url: str
    database_url: str
    ray_address: str


class BootstrapToken(NamedTuple):
    """The admin token of a start. `file` keeps it, where we made it; `is_new`: made just now."""

    text: str
    file: Path | None
    is_new: bool


def settings_of(
    data_dir: Path | None = None,
    config: Path | None = None,
    overrides: Mapping[str, object] | None = None,
    *,
    environ: Mapping[str, str] | None = None,
) -> "Settings":
    """The settings in force for a command. The data folder follows the XDG convention where nobody has named one."""
    from configs.settings import DEFAULTS, SettingsError, load_settings

    environ = os.environ if environ is None else environ
    asked: dict[str, object] = {"data_dir": data_dir, **(overrides or {})}
    try:
        settings = load_settings(config, asked, environ)
        state = environ.get("XDG_STATE_HOME")
        if state and settings.source_of("data_dir") == DEFAULTS:
            settings = load_settings(config, {**asked, "data_dir": Path(state) / "prop"}, environ)
    except SettingsError as error:
        raise CommandError(str(error)) from None
    return settings


def running_on(data_dir: Path) -> Running | None:
    """The engine that runs on this folder. A `run.json` left by one that was killed counts for nothing."""
    try:
        run = json.loads((data_dir / RUN_FILE).read_text())
        running = Running(int(run["pid"]), str(run["url"]), str(run["databaseUrl"]), str(run["rayAddress"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return running if _is_alive(running.pid) else None


@contextlib.contextmanager
def owned(data_dir: Path) -> Iterator[None]:
    """The folder, for one engine at a time: ours from before its start until its process ends, however it ends.

    A lock, since a pid says too little: a killed engine's may be another program's by now, and in a container often is.
    """
    try:
        data_dir.mkdir(parents=True, exist_ok=True)
        lock = (data_dir / LOCK_FILE).open("w")
    except OSError as error:
        raise CommandError(
            f"cannot write to {data_dir}: {error.strerror}. Name another folder with --data-dir."
        ) from None
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise CommandError(_occupied(data_dir)) from None
        (data_dir / RUN_FILE).unlink(missing_ok=True)
        yield


def _occupied(data_dir: Path) -> str:
    running = running_on(data_dir)
    if running is None:
        return f"an engine is starting or stopping on {data_dir}; start this one on another --data-dir."
    return (
        f"an engine runs on {data_dir} already: {running.url} (pid {running.pid}). "
        f"Stop it with `kill -INT {running.pid}`, or start this one on another --data-dir."
    )


def gateway_of(data_dir: Path, url: str | None) -> str:
    """Where the gateway answers: as given, else as the engine on the folder says."""
    if url is not None:
        return url.rstrip("/")
    running = running_on(data_dir)
    if running is not None:
        return running.url
    hint = "start one with `prop serve`, or name it with --url"
    if running_on(data_dir / DEMO_FOLDER) is not None:
        hint = f"the demo does: add --data-dir {data_dir / DEMO_FOLDER}"
    raise CommandError(f"no engine runs on {data_dir}; {hint}")


def token_of(data_dir: Path, token: str | None) -> str:
    """The token to call with: as given, else the one kept in the folder."""
    kept = None if token else _kept_token(data_dir)
    if token or kept:
        return token or kept or ""
    raise CommandError(
        f"no token: give --token or PROP_TOKEN ({data_dir / TOKEN_FILE} holds none). "
        "Make one with `prop token create SERVICE --scope prop:admin`."
    )


def bootstrap_token(settings: "Settings") -> BootstrapToken | None:
    """The admin token to install at start.

    `PROP_BOOTSTRAP_TOKEN` where it is set; else, on the bundled database, one made at the first start and kept in the
    folder; else none, since a database of others has its own tokens.
    """
    given = os.environ.get(BOOTSTRAP_VARIABLE)
    if given:
        if len(given) < BOOTSTRAP_CHARACTERS_MIN or not given.isascii() or not given.isprintable() or " " in given:
            raise CommandError(
                f"{BOOTSTRAP_VARIABLE} must be {BOOTSTRAP_CHARACTERS_MIN} or more printable ASCII characters without "
                f"spaces (it has {len(given)} characters). Make one with `openssl rand -hex 32`."
            )
        return BootstrapToken(given, None, is_new=False)
    if settings.database.url is not None:
        return None
    file = settings.data_dir / TOKEN_FILE
    kept = _kept_token(settings.data_dir)
    if kept is not None and len(kept) >= BOOTSTRAP_CHARACTERS_MIN:
        return BootstrapToken(kept, file, is_new=False)
    made = "ptk_" + secrets.token_urlsafe(32)
    _write_private(file, made)
    return BootstrapToken(made, file, is_new=True)


@contextlib.contextmanager
def database_of(settings: "Settings", database_url: str | None) -> Iterator[str]:
    """A database that answers: as given, else as configured, else the folder's own.

    The bundled PostgreSQL of the folder is started for the time of the block where no engine runs on it; one that was
    found running is left running.
    """
    given = database_url or settings.database.url
    running = running_on(settings.data_dir)
    if given is not None:
        yield given
    elif running is not None:
        yield running.database_url
    else:
        from persistence.embedded import EmbeddedPostgres, EmbeddedPostgresError

        folder = settings.data_dir / POSTGRES_FOLDER
        if not folder.exists():
            raise CommandError(
                f"{settings.data_dir} holds no database: name one with --database-url or PROP_DATABASE_URL, "
                "or a folder that `prop serve` has used with --data-dir"
            )
        postgres = EmbeddedPostgres(folder)
        try:
            postgres.start()
            try:
                yield postgres.url
            finally:
                if not postgres.adopted:
                    postgres.stop()
        except EmbeddedPostgresError as error:
            raise CommandError(str(error)) from None


def _kept_token(data_dir: Path) -> str | None:
    try:
        return (data_dir / TOKEN_FILE).read_text().strip() or None
    except OSError:
        return None


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _write_private(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text + "\n")
