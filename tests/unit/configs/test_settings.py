"""Settings: the order of the sources, what is refused, and where each value came from."""

import tomllib
from pathlib import Path

import pytest
from pydantic import ValidationError

from configs.settings import DEFAULT_FILE, KEYS, Settings, SettingsError, load_settings

SCALE_FILE = DEFAULT_FILE.with_name("scale.toml")
UNSET_BY_DEFAULT = {
    "actors.cold_activations_max",
    "actors.max_account_actors",
    "database.url",
    "quotes.query",
    "ray.address",
}


def source_of(settings: Settings, key: str) -> str:
    return next(origin.source for origin in settings.provenance() if origin.key == key)


@pytest.fixture
def config_file(tmp_path: Path) -> Path:
    path = tmp_path / "mine.toml"
    path.write_text('[gateway]\nport = 9001\n[ray]\naddress = "from-file"\n')
    return path


def test_default_file_holds_every_default():
    settings = load_settings(environ={})
    unset = {origin.key for origin in settings.provenance() if origin.source == "unset"}
    assert unset == UNSET_BY_DEFAULT
    assert settings.gateway.in_flight_max == 256
    assert settings.persister.queue_bytes_max == 16 * 1024 * 1024


def test_no_default_hides_in_the_code():
    for key in KEYS:
        section, _, name = key.rpartition(".")
        model = Settings.model_fields[section].annotation if section else Settings
        assert model is not None
        field = model.model_fields[name]
        assert field.is_required() or field.default is None, key


def test_every_setting_says_what_it_means():
    for key in KEYS:
        section, _, name = key.rpartition(".")
        model = Settings.model_fields[section].annotation if section else Settings
        assert model is not None
        assert model.model_fields[name].description, key


def test_later_sources_win(config_file: Path):
    environ = {"PROP_GATEWAY__PORT": "9002"}
    assert load_settings(environ={}).gateway.port == 8080
    assert load_settings(config_file, environ={}).gateway.port == 9001
    assert load_settings(config_file, environ=environ).gateway.port == 9002
    assert load_settings(config_file, {"gateway.port": 9003}, environ).gateway.port == 9003


def test_an_option_not_given_overrides_nothing(config_file: Path):
    assert load_settings(config_file, {"gateway.port": None}, {}).gateway.port == 9001


def test_short_names(config_file: Path):
    environ = {"PROP_DATABASE_URL": "postgresql://a:b@c/d", "RAY_ADDRESS": "10.0.0.1:6379"}
    settings = load_settings(config_file, environ=environ)
    assert settings.database.url == "postgresql://a:b@c/d"
    assert settings.ray.address == "10.0.0.1:6379"
    assert source_of(settings, "ray.address") == "RAY_ADDRESS"


def test_long_name_wins_over_short():
    settings = load_settings(environ={"RAY_ADDRESS": "short", "PROP_RAY__ADDRESS": "long"})
    assert settings.ray.address == "long"


def test_none_and_empty_in_the_environment(config_file: Path):
    assert load_settings(config_file, environ={"PROP_RAY__ADDRESS": "none"}).ray.address is None
    assert load_settings(config_file, environ={"PROP_RAY__ADDRESS": ""}).ray.address == "from-file"


def test_top_level_settings_from_the_environment(tmp_path: Path):
    settings = load_settings(environ={"PROP_DATA_DIR": str(tmp_path), "PROP_SHUTDOWN_TIMEOUT_MS": "5"})
    assert settings.data_dir == tmp_path
    assert settings.shutdown_timeout_ms == 5


def test_data_dir_is_absolute():
    assert load_settings(environ={}).data_dir.is_absolute()
    assert load_settings(overrides={"data_dir": "here"}, environ={}).data_dir == Path.cwd() / "here"


def test_provenance_names_the_source_and_hides_passwords(config_file: Path):
    url = "postgresql://desk:hunter2@db:5432/prop"
    settings = load_settings(
        config_file, {"gateway.host": "::1"}, {"PROP_DATABASE_URL": url, "PROP_LOG__LEVEL": "debug"}
    )
    assert source_of(settings, "gateway.port") == str(config_file)
    assert source_of(settings, "gateway.host") == "command line"
    assert source_of(settings, "log.level") == "PROP_LOG__LEVEL"
    assert source_of(settings, "marking.cadence_ms") == "default.toml"
    shown = {origin.key: origin.value for origin in settings.provenance()}
    assert shown["database.url"] == "postgresql://desk:***@db:5432/prop"
    assert [origin.key for origin in settings.provenance()] == list(KEYS)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://desk:p@ss:word@db/prop", "postgresql://desk:***@db/prop"),
        ("postgresql://db/prop?password=hunter2&user=desk", "postgresql://db/prop?password=***&user=desk"),
        ("postgresql://desk@db:5432/prop", "postgresql://desk@db:5432/prop"),
    ],
)
def test_passwords_are_hidden_wherever_they_stand(url: str, shown: str):
    settings = load_settings(environ={"PROP_DATABASE_URL": url})
    assert {origin.key: origin.value for origin in settings.provenance()}["database.url"] == shown


@pytest.mark.parametrize(
    ("text", "nearest"),
    [
        ("[gateway]\nprot = 1\n", "gateway.port"),
        ("[gatway]\nport = 1\n", "gateway.port"),
        ("data_directory = 'x'\n", "data_dir"),
    ],
)
def test_unknown_key_in_a_file_names_the_nearest(tmp_path: Path, text: str, nearest: str):
    path = tmp_path / "bad.toml"
    path.write_text(text)
    with pytest.raises(SettingsError, match=f"bad.toml; did you mean {nearest}"):
        load_settings(path, environ={})


def test_unknown_variable_names_the_nearest():
    with pytest.raises(SettingsError, match="PROP_GATEWAY__PROT; did you mean PROP_GATEWAY__PORT"):
        load_settings(environ={"PROP_GATEWAY__PROT": "1"})


def test_unknown_override_is_refused():
    with pytest.raises(SettingsError, match=r"unknown setting 'gateway\.colour' in command line"):
        load_settings(overrides={"gateway.colour": "red"}, environ={})


def test_variables_of_others_are_left_alone():
    load_settings(environ={"PROP_BOOTSTRAP_TOKEN": "x" * 32, "HOME__X": "1"})


@pytest.mark.parametrize(
    ("variable", "value", "complaint"),
    [
        ("PROP_GATEWAY__PORT", "70000", r"gateway\.port \(PROP_GATEWAY__PORT\): .*65535"),
        ("PROP_GATEWAY__PORT", "http", r"gateway\.port \(PROP_GATEWAY__PORT\): .*integer"),
        ("PROP_PERSISTER__PLACEMENT", "remote", r"persister\.placement .*'shared' or 'local'"),
        ("PROP_DATABASE_URL", "mysql://x", r"database\.url \(PROP_DATABASE_URL\)"),
    ],
)
def test_bad_value_names_key_and_source(variable: str, value: str, complaint: str):
    with pytest.raises(SettingsError, match=complaint):
        load_settings(environ={variable: value})


def test_missing_and_malformed_files(tmp_path: Path):
    with pytest.raises(SettingsError, match="cannot read"):
        load_settings(tmp_path / "absent.toml", environ={})
    (tmp_path / "bad.toml").write_text("port 1")
    with pytest.raises(SettingsError, match="is not TOML"):
        load_settings(tmp_path / "bad.toml", environ={})


def test_a_scalar_where_a_section_belongs_is_refused(tmp_path: Path):
    (tmp_path / "flat.toml").write_text("gateway = 8080\n")
    with pytest.raises(SettingsError, match="unknown setting 'gateway'"):
        load_settings(tmp_path / "flat.toml", environ={})


def test_settings_are_frozen():
    settings = load_settings(environ={})
    with pytest.raises(ValidationError):
        settings.gateway.port = 1  # type: ignore[misc]  # that it is refused is the point


def test_limits_that_follow_the_cluster():
    settings = load_settings(environ={})
    assert settings.actors.account_actors_max(cpus=2) == 16
    assert settings.actors.activations_max(cpus=2) == 4
    fixed = load_settings(overrides={"actors.max_account_actors": 3, "actors.cold_activations_max": 1}, environ={})
    assert fixed.actors.account_actors_max(cpus=64) == 3
    assert fixed.actors.activations_max(cpus=64) == 1


def test_scale_file_packs_accounts():
    tomllib.loads(SCALE_FILE.read_text())
    settings = load_settings(SCALE_FILE, environ={})
    assert settings.actors.account_actors_max(cpus=4) == 4
    assert settings.persister.placement == "local"
