"""The data folder: what runs on it, its token, and where settings put it."""

import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from gateway.commands.mark_to_market import next_due
from gateway.commands.place import (
    bootstrap_token,
    database_of,
    gateway_of,
    owned,
    running_on,
    settings_of,
    token_of,
)
from gateway.commands.terminal import CommandError

RUN = {"pid": os.getpid(), "url": "http://127.0.0.1:1234", "databaseUrl": "postgresql://a", "rayAddress": "b"}


def write_run(folder: Path, **changes: object) -> None:
    (folder / "run.json").write_text(json.dumps(RUN | changes))


@pytest.fixture(autouse=True)
def no_bootstrap_token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PROP_BOOTSTRAP_TOKEN", raising=False)


def test_a_running_engine_is_found(tmp_path: Path):
    write_run(tmp_path)
    running = running_on(tmp_path)
    assert running is not None
    assert running.url == gateway_of(tmp_path, None) == "http://127.0.0.1:1234"
    with database_of(settings_of(tmp_path, environ={}), None) as url:
        assert url == "postgresql://a"


def test_what_a_killed_engine_left_counts_for_nothing(tmp_path: Path):
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    write_run(tmp_path, pid=gone.pid)
    assert running_on(tmp_path) is None


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"pid": "x"}', '{"pid": 1}'])
def test_a_run_file_that_is_none_counts_for_nothing(tmp_path: Path, text: str):
    (tmp_path / "run.json").write_text(text)
    assert running_on(tmp_path) is None


def test_a_given_url_wins(tmp_path: Path):
    write_run(tmp_path)
    assert gateway_of(tmp_path, "http://elsewhere/") == "http://elsewhere"


def test_the_first_start_makes_a_token_and_keeps_it_private(tmp_path: Path):
    settings = settings_of(tmp_path / "new", environ={})
    made = bootstrap_token(settings)
    assert made is not None
    assert made.file == tmp_path / "new" / "token"
    assert made.is_new
    assert len(made.text) >= 32
    assert stat.S_IMODE(made.file.stat().st_mode) == 0o600
    again = bootstrap_token(settings)
    assert again is not None
    assert (again.text, again.is_new) == (made.text, False)
    assert token_of(settings.data_dir, None) == made.text
    assert token_of(settings.data_dir, "mine") == "mine"


def test_a_database_of_others_has_its_own_tokens(tmp_path: Path):
    settings = settings_of(tmp_path, environ={"PROP_DATABASE_URL": "postgresql://db/prop"})
    assert bootstrap_token(settings) is None


def test_a_given_bootstrap_token_is_used_and_kept_nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PROP_BOOTSTRAP_TOKEN", "x" * 32)
    given = bootstrap_token(settings_of(tmp_path, environ={}))
    assert given is not None
    assert (given.text, given.file) == ("x" * 32, None)
    assert not (tmp_path / "token").exists()


@pytest.mark.parametrize("token", ["x" * 31, "é" * 40, "a b" * 20, "x" * 40 + "\n"])
def test_a_bootstrap_token_that_is_none_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, token: str):
    monkeypatch.setenv("PROP_BOOTSTRAP_TOKEN", token)
    with pytest.raises(CommandError, match="PROP_BOOTSTRAP_TOKEN must be 32"):
        bootstrap_token(settings_of(tmp_path, environ={}))


def test_no_token_anywhere_is_an_error(tmp_path: Path):
    with pytest.raises(CommandError, match="prop token create"):
        token_of(tmp_path, None)


def test_the_data_folder_follows_xdg_unless_it_is_named(tmp_path: Path):
    home = {"XDG_STATE_HOME": str(tmp_path)}
    assert settings_of(environ=home).data_dir == tmp_path / "prop"
    assert settings_of(tmp_path / "named", environ=home).data_dir == tmp_path / "named"
    assert settings_of(environ=home | {"PROP_DATA_DIR": str(tmp_path / "env")}).data_dir == tmp_path / "env"
    assert settings_of(environ={}).data_dir == Path("~/.local/state/prop").expanduser()


def test_a_wrong_setting_is_an_error_of_the_command():
    with pytest.raises(CommandError, match=r"did you mean PROP_GATEWAY__PORT"):
        settings_of(environ={"PROP_GATEWAY__PORTS": "1"})


@pytest.mark.parametrize(
    ("now", "due"),
    [(100.0, 105.0), (104.9, 105.0), (105.0, 110.0), (117.0, 120.0), (99.0, 105.0)],
)
def test_marking_passes_that_were_missed_are_skipped(now: float, due: float):
    assert next_due(100.0, 5.0, now) == due


def test_a_folder_is_for_one_engine_at_a_time(tmp_path: Path):
    folder = tmp_path / "new"
    with owned(folder):
        with pytest.raises(CommandError, match="is starting or stopping"), owned(folder):
            pass
        write_run(folder)
        with pytest.raises(CommandError, match=r"runs on .* already: http://127.0.0.1:1234"), owned(folder):
            pass
    with owned(folder):
        pass


def test_a_killed_engine_whose_pid_another_program_has_keeps_nobody_out(tmp_path: Path):
    write_run(tmp_path)  # our own pid, as in a container that was started again
    with owned(tmp_path):
        assert running_on(tmp_path) is None


def test_a_folder_that_cannot_be_written_is_said_in_one_line(tmp_path: Path):
    (tmp_path / "file").touch()
    with pytest.raises(CommandError, match=r"cannot write to .*--data-dir"), owned(tmp_path / "file" / "folder"):
        pass
