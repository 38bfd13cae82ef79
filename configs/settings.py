"""Settings: typed, frozen, read once by start-up code and handed down as values.

Owns the names, units and bounds of everything an operator may change, and the order of the sources, lowest first:

1. ``configs/default.toml``, which holds every default
2. ``--config FILE.toml``
3. the environment: ``PROP_DATABASE_URL`` and ``RAY_ADDRESS`` for short, else ``PROP_SECTION__NAME``
4. the command line

Refuses what it does not know: a misspelt key is an error that names the nearest valid one, never a silent default.
The unit is last in the name: ``_ms`` milliseconds, ``_bytes`` bytes, ``_max`` an inclusive limit.
"""

import difflib
import os
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, PrivateAttr, ValidationError
from pydantic_settings import BaseSettings, EnvSettingsSource, PydanticBaseSettingsSource, SettingsConfigDict

DEFAULT_FILE = Path(__file__).with_name("default.toml")
SHORT_NAMES = {"PROP_DATABASE_URL": "database.url", "RAY_ADDRESS": "ray.address"}

AtLeastOne = Annotated[int, Field(ge=1)]
OrOff = Annotated[int, Field(ge=0)]
Port = Annotated[int, Field(ge=0, le=65_535)]
Directory = Annotated[Path, AfterValidator(lambda path: path.expanduser().absolute())]


class SettingsError(Exception):
    """A setting is unknown, malformed or out of bounds; the message names the key, its source and what to write."""


class Origin(NamedTuple):
    """One setting in force: its dotted key, its value with any password hidden, and the source that gave it."""

    key: str
    value: object
    source: str


class Section(BaseModel):
    """A named group of settings."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class DatabaseSettings(Section):
    """Where the ledger lives."""

    url: Annotated[str, Field(pattern=r"^postgres(ql)?://")] | None = None
    """``postgresql://user:password@host:port/name``; None starts the bundled PostgreSQL in the data folder."""
    pool_size_max: AtLeastOne
    """Connections per process. Processes x this must stay below the server's ``max_connections``."""
    connect_timeout_ms: AtLeastOne
    """How long a new connection may take before Postgres counts as away."""
    statement_timeout_ms: AtLeastOne
    """A statement running longer is ended by the server, so that nothing waits for ever on a sick disk."""
    lock_timeout_ms: AtLeastOne
    """A statement waiting longer for a lock is ended; activations queue on head rows, migrations on tables."""


class RaySettings(Section):
    """Which Ray cluster hosts the actors."""

    address: str | None = None
    """Address of a running cluster, or ``auto``; None starts a local one and stops it at the end."""
    namespace: str
    """Actors are named within it; deployments that share a cluster need one each."""


class GatewaySettings(Section):
    """The HTTP door. Every excess has a defined answer: 413, 429, 503, or the connection is closed."""

    host: str
    """Interface to listen on. Loopback by default: TLS and exposure belong to an ingress."""
    port: Port
    """TCP port; 0 takes a free one."""
    in_flight_max: AtLeastOne
    """Requests being served at once; beyond it 503, so that memory stays flat."""
    in_flight_per_token_max: AtLeastOne
    """The same per token (429), so that one caller cannot starve the others."""
    body_bytes_max: AtLeastOne
    """Request body; beyond it 413."""
    json_depth_max: AtLeastOne
    """Nesting of JSON values; deeper bodies exhaust a parser's stack."""
    actions_per_batch_max: AtLeastOne
    """Decision actions in one request; a batch is one append and one transaction."""
    header_timeout_ms: AtLeastOne
    """Time for the request head to arrive, against slow senders."""
    body_timeout_ms: AtLeastOne
    """Time for the request body to arrive, against slow senders."""
    idle_timeout_ms: AtLeastOne
    """Keep-alive of an idle connection; longer than the usual 60 s of a load balancer, which should close first."""
    connections_max: AtLeastOne
    """Open connections; further ones are closed at once."""
    deadline_ms: AtLeastOne
    """From admission to answer. Past it 503 ``outcome_unknown``: safe to send again, keys dedupe."""


class ActorSettings(Section):
    """Account actors: how many, and what each may hold."""

    max_account_actors: AtLeastOne | None = None
    """Account actors in the whole cluster; past it accounts share. None: ``account_actors_per_cpu`` x CPUs."""
    account_actors_per_cpu: AtLeastOne
    """Used where ``max_account_actors`` is None. A Ray actor is a process of about 50 MB."""
    queued_batches_per_account_max: AtLeastOne
    """Batches waiting for one account; beyond it 429, since an account is serial."""
    cold_activations_max: AtLeastOne | None = None
    """Accounts being recovered at once, so that a cold start does not drown Postgres. None: 2 x CPUs."""
    read_lease_ms: AtLeastOne
    """How long after its epoch was last confirmed an activation may serve reads."""
    call_deadline_ms: AtLeastOne
    """Every Ray call is given up after this long: a stopped actor raises nothing by itself."""
    receipts_in_memory_max: OrOff
    """Outcomes of recent action keys kept per account; older keys are looked up in Postgres."""

    def account_actors_max(self, cpus: int) -> int:
        """Account actors allowed on a cluster of this many CPUs, before memory is looked at."""
        return self.max_account_actors or self.account_actors_per_cpu * max(1, cpus)

    def activations_max(self, cpus: int) -> int:
        """Cold activations allowed at once on this many CPUs."""
        return self.cold_activations_max or 2 * max(1, cpus)


class PersisterSettings(Section):
    """Group commit: where it runs, and what it may hold."""

    placement: Literal["shared", "local"]
    """``shared``: persister actors serve many small account actors; ``local``: one inside each, a hop less."""
    shared_actors: AtLeastOne
    """Persister actors where placement is ``shared``; accounts are spread over them."""
    queue_events_max: AtLeastOne
    """Events waiting for commit; past it admission closes (503 ``overloaded``)."""
    queue_bytes_max: AtLeastOne
    """The same in bytes of encoded events; whichever is reached first."""
    commit_events_max: AtLeastOne
    """Events in one transaction: beyond some thousands a larger one is no faster, only later."""


class MarkingSettings(Section):
    """Valuing open positions at current quotes."""

    cadence_ms: OrOff
    """Between marking passes; 0 is off, and only ``prop mark-to-market`` marks."""


class QuoteSettings(Section):
    """Reading prices that Data Ingestion wrote."""

    poll_interval_ms: AtLeastOne
    """Between looks at the price table; bounds how stale a fresh quote can be."""
    query: str | None = None
    """SQL giving ``symbol, bid, ask, mid, source, observed_at`` from another schema; None reads ``market_prices``."""


class RecoverySettings(Section):
    """Getting accounts back after a restart."""

    snapshot_every_events: AtLeastOne
    """Events of an account between its snapshots: the longest tail a recovery replays. Snapshots are only a cache."""


class SupervisorSettings(Section):
    """The actor that places and watches the others."""

    heartbeat_ms: AtLeastOne
    """Between heartbeats, and between looks at what died."""


class LogSettings(Section):
    """What is written to stderr."""

    level: Literal["debug", "info", "warning", "error"]
    """Least severity written."""
    format: Literal["json", "console"]
    """``json`` for machines, ``console`` for people."""


class Settings(BaseSettings):
    """Everything an operator may change. Made by :func:`load_settings`; frozen afterwards."""

    model_config = SettingsConfigDict(
        frozen=True,
        extra="forbid",
        use_attribute_docstrings=True,
        env_prefix="PROP_",
        env_nested_delimiter="__",
    )

    data_dir: Directory
    """Folder for the bundled PostgreSQL, ``run.json`` and exports; made when missing."""
    shutdown_timeout_ms: AtLeastOne
    """Drain, snapshot, stop; then stop anyway, since kill -9 loses nothing acknowledged."""
    database: DatabaseSettings
    ray: RaySettings
    gateway: GatewaySettings
    actors: ActorSettings
    persister: PersisterSettings
    marking: MarkingSettings
    quotes: QuoteSettings
    recovery: RecoverySettings
    supervisor: SupervisorSettings
    log: LogSettings

    _sources: dict[str, str] = PrivateAttr(default_factory=dict)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Only what :func:`load_settings` merged, since it also keeps where each value came from."""
        return (init_settings,)

    def provenance(self) -> list[Origin]:
        """Every setting in force and where it came from, in the order of declaration."""
        return [Origin(key, _without_password(_value(self, key)), self._sources.get(key, "unset")) for key in KEYS]


def load_settings(
    config_file: Path | str | None = None,
    overrides: Mapping[str, object] | None = None,
    environ: Mapping[str, str] | None = None,
) -> Settings:
    """Read the sources once and return the settings in force.

    ``overrides`` come from the command line under dotted keys (``{"gateway.port": 9000}``); None there means "not
    given". ``environ`` is ``os.environ`` unless told. Raises :class:`SettingsError`.
    """
    values: dict[str, object] = {}
    sources: dict[str, str] = {}
    for source, layer in _layers(config_file, overrides or {}, os.environ if environ is None else environ):
        for key, value in layer.items():
            if key not in KEYS:
                raise SettingsError(f"unknown setting {key!r} in {source}{_nearest(key, KEYS)}")
            values[key], sources[key] = value, source
    try:
        settings = Settings.model_validate(_nested(values))
    except ValidationError as error:
        raise SettingsError("\n".join(_complaints(error, sources))) from None
    settings._sources.update(sources)
    return settings


def _layers(
    config_file: Path | str | None, overrides: Mapping[str, object], environ: Mapping[str, str]
) -> Iterator[tuple[str, dict[str, object]]]:
    """The sources, lowest first, each as a name and its values by dotted key."""
    yield "default.toml", _read_toml(DEFAULT_FILE)
    if config_file is not None:
        yield str(config_file), _read_toml(Path(config_file))
    for name, key in SHORT_NAMES.items():
        if environ.get(name):
            yield name, {key: environ[name]}
    yield from _environment(environ)
    yield "command line", {key: value for key, value in overrides.items() if value is not None}


def _read_toml(path: Path) -> dict[str, object]:
    try:
        return dict(_flat(tomllib.loads(path.read_text(encoding="utf-8"))))
    except OSError as error:
        raise SettingsError(f"cannot read {path}: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path} is not TOML: {error}") from None


def _environment(environ: Mapping[str, str]) -> Iterator[tuple[str, dict[str, object]]]:
    """``PROP_SECTION__NAME`` (and ``PROP_DATA_DIR``, ``PROP_SHUTDOWN_TIMEOUT_MS``), one layer per variable.

    An empty variable counts as absent, and ``none`` takes a value away.
    """
    names = {_variable(key): key for key in KEYS}
    for name in environ:
        if name.startswith("PROP_") and "__" in name and name not in names:
            raise SettingsError(f"unknown variable {name}{_nearest(name, list(names))}")
    reader = EnvSettingsSource(Settings)
    reader.env_vars = {name.lower(): environ[name] for name in names if environ.get(name)}
    for key, value in _flat(reader()):
        yield _variable(key), {key: None if value == "none" else value}


def _variable(key: str) -> str:
    return "PROP_" + key.upper().replace(".", "__")


def _flat(nested: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, object]]:
    for name, value in nested.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value


def _nested(values: Mapping[str, object]) -> dict[str, Any]:
    tree: dict[str, Any] = {name: {} for name, field in Settings.model_fields.items() if _is_section(field.annotation)}
    for key, value in values.items():
        section, _, name = key.rpartition(".")
        (tree[section] if section else tree)[name] = value
    return tree


def _is_section(annotation: object) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, Section)


def _keys(model: type[BaseModel], prefix: str = "") -> Iterator[str]:
    for name, field in model.model_fields.items():
        annotation = field.annotation
        if isinstance(annotation, type) and issubclass(annotation, Section):
            yield from _keys(annotation, f"{name}.")
        else:
            yield prefix + name


KEYS = tuple(_keys(Settings))
"""Every setting as a dotted key, in the order of declaration."""


def _nearest(name: str, known: tuple[str, ...] | list[str]) -> str:
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    return f"; did you mean {close[0]}?" if close else ""


def _value(settings: Settings, key: str) -> object:
    value: object = settings
    for name in key.split("."):
        value = getattr(value, name)
    return value


def _without_password(value: object) -> object:
    if not isinstance(value, str) or "://" not in value:
        return value
    parts = urlsplit(value)
    return value.replace(f":{parts.password}@", ":***@", 1) if parts.password else value


def _complaints(error: ValidationError, sources: Mapping[str, str]) -> Iterator[str]:
    for detail in error.errors(include_url=False, include_input=False):
        key = ".".join(str(part) for part in detail["loc"] if isinstance(part, str))
        yield f"{key} ({sources.get(key, 'unset')}): {detail['msg']}"
