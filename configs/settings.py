"""Settings: typed, frozen, read once by start-up code and handed down as values.

Owns the order of the sources, lowest first:

1. ``configs/default.toml``, which holds every default
2. ``--config FILE.toml``
3. the environment: ``PROP_DATABASE_URL`` and ``RAY_ADDRESS`` for short, else ``PROP_SECTION__NAME``
4. the command line

Refuses what it does not know: a misspelt key is an error that names the nearest valid one, never a silent default.
The sections, with every setting's unit and reason, are in :mod:`configs.sections`.
"""

import difflib
import os
import re
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, NamedTuple

from pydantic import AfterValidator, BaseModel, PrivateAttr, ValidationError
from pydantic_settings import BaseSettings, EnvSettingsSource, PydanticBaseSettingsSource, SettingsConfigDict

from configs.sections import (
    ActorSettings,
    AtLeastOne,
    DatabaseSettings,
    GatewaySettings,
    LogSettings,
    MarkingSettings,
    PersisterSettings,
    QuoteSettings,
    RaySettings,
    RecoverySettings,
    Section,
    SupervisorSettings,
)

DEFAULT_FILE = Path(__file__).with_name("default.toml")
DEFAULTS = "default.toml"
"""The source of a setting that nobody has set."""
SHORT_NAMES = {"PROP_DATABASE_URL": "database.url", "RAY_ADDRESS": "ray.address"}

Directory = Annotated[Path, AfterValidator(lambda path: path.expanduser().absolute())]


class SettingsError(Exception):
    """A setting is unknown, malformed or out of bounds; the message names the key, its source and what to write."""


class Origin(NamedTuple):
    """One setting in force: its dotted key, its value with any password hidden, and the source that gave it."""

    key: str
    value: object
    source: str


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

    def source_of(self, key: str) -> str:
        """Which source gave the setting under this dotted key; "unset" where none did."""
        return self._sources.get(key, "unset")

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
    yield DEFAULTS, _read_toml(DEFAULT_FILE)
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
    value = re.sub(r"(?<=[?&]password=)[^&]*", "***", value)
    return re.sub(r"(://[^:/@]*:)[^/?#]*@", r"\1***@", value, count=1)


def _complaints(error: ValidationError, sources: Mapping[str, str]) -> Iterator[str]:
    for detail in error.errors(include_url=False, include_input=False):
        key = ".".join(str(part) for part in detail["loc"] if isinstance(part, str))
        yield f"{key} ({sources.get(key, 'unset')}): {detail['msg']}"
