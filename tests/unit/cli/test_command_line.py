"""The command line: what it offers, how fast, and how it fails."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from gateway import cli
from gateway.commands import api
from gateway.commands.place import owned

COMMANDS = (
    "serve",
    "demo",
    "status",
    "accounts",
    "api",
    "verify",
    "rebuild",
    "bench",
    "simulate",
    "migrate",
    "token",
    "mark-to-market",
    "config",
)
LEAVES = (
    ["serve"],
    ["demo"],
    ["status"],
    ["accounts"],
    ["api"],
    ["verify"],
    ["rebuild"],
    ["bench"],
    ["simulate"],
    ["migrate"],
    ["token", "create"],
    ["token", "list"],
    ["token", "revoke"],
    ["mark-to-market", "once"],
    ["mark-to-market", "worker"],
    ["config", "show"],
)


def prop(*arguments: str, environ: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PROP_", "RAY_", "XDG_"))}
    return subprocess.run(
        [sys.executable, "-m", "gateway.cli", *arguments],
        env=kept | {"COLUMNS": "120"} | (environ or {}),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    """In this process: exit code, standard output, standard error."""
    with pytest.raises(SystemExit) as ended:
        cli.main(arguments)
    said = capsys.readouterr()
    return int(ended.value.code or 0), said.out, said.err


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in list(os.environ):
        if name.startswith(("PROP_", "RAY_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("COLUMNS", "120")


def test_help_lists_every_command_and_loads_nothing_heavy():
    started = time.monotonic()
    asked = subprocess.run(
        [
            sys.executable,
            "-c",
            "import sys\n"
            "from gateway import cli\n"
            "try: cli.main(['--help'])\n"
            "except SystemExit: pass\n"
            "heavy = {'ray', 'aiohttp', 'sqlalchemy', 'psycopg', 'pydantic', 'rich', 'numpy', 'pyarrow'}\n"
            "heavy &= set(sys.modules)\n"
            "sys.exit(f'loaded {heavy}' if heavy else 0)",
        ],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert asked.returncode == 0, asked.stderr
    for command in COMMANDS:
        assert command in asked.stdout
    assert time.monotonic() - started < 5  # 0.2 s on an idle machine


@pytest.mark.parametrize("leaf", LEAVES, ids=" ".join)
def test_every_command_explains_itself_with_an_example(leaf: list[str], capsys: pytest.CaptureFixture[str]):
    code, out, _ = run(capsys, *leaf, "--help")
    assert code == 0
    assert f"  prop {' '.join(leaf)}" in out
    assert "--json" in out


def test_no_command_at_all_shows_the_help(capsys: pytest.CaptureFixture[str]):
    code, out, err = run(capsys)
    assert code == 2
    assert "Usage: prop" in out + err


@pytest.mark.parametrize("arguments", [["nonsense"], ["serve", "--port", "70000"], ["token", "create", "x"]])
def test_bad_usage_exits_with_2(arguments: list[str], capsys: pytest.CaptureFixture[str]):
    code, _, err = run(capsys, *arguments)
    assert code == 2
    assert "Usage: prop" in err


@pytest.mark.parametrize(
    ("arguments", "advice"),
    [
        (["status"], "start one with `prop serve`"),
        (["status", "--url", "http://127.0.0.1:1", "--token", "t"], "does not answer"),
        (["api", "readyz?verbose"], "start one with `prop serve`"),
        (["api", "accounts", "--url", "http://127.0.0.1:1", "--token", "t"], "does not answer"),
        (["api", "accounts", "--url", "http://127.0.0.1:1", "--token", "t", "--body", "{"], "--body is no JSON"),
        (["accounts"], "start one with `prop serve`"),
        (["mark-to-market", "once"], "start one with `prop serve`"),
        (["mark-to-market", "worker"], "start one with `prop serve`"),
        (["accounts", "--url", "http://127.0.0.1:1"], "give --token or PROP_TOKEN"),
        (["accounts", "--url", "http://127.0.0.1:1", "--token", "t"], "does not answer"),
        (["accounts", "--url", "nonsense", "--token", "t"], "no address of a gateway"),
        (["bench"], "start one with `prop serve`"),
        (["bench", "--url", "https://prop.example", "--token", "t"], "plain http only"),
        (["bench", "--url", "http://127.0.0.1:1"], "give --token or PROP_TOKEN"),
        (["bench", "--url", "http://127.0.0.1:1", "--token", "t"], "does not answer"),
        (["verify"], "name one with --database-url"),
        (["verify", "--account", "7"], "is no account id"),
        (["verify", "--database-url", "postgresql://x@127.0.0.1:1/x"], "Postgres does not answer"),
        (["migrate"], "name one with --database-url"),
        (["migrate", "--database-url", "postgresql://x@127.0.0.1:1/x"], "the schema was not changed"),
        (["migrate", "--database-url", "nonsense"], "the schema was not changed"),
        (["token", "list"], "name one with --database-url"),
        (["config", "show", "--config", "/no/such.toml"], "cannot read /no/such.toml"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_cannot_be_done_exits_with_2_and_says_what_to_do(
    arguments: list[str], advice: str, capsys: pytest.CaptureFixture[str]
):
    code, out, err = run(capsys, *arguments)
    assert code == 2
    assert out == ""
    assert err.startswith("prop: ")
    assert advice in err
    assert "Traceback" not in err


def test_a_path_of_the_api_needs_no_prefix():
    account, everyone = "accounts/a/ledger?type=fill_booked", "/api/v1/prop"
    assert api.whole(account) == f"{everyone}/{account}"
    assert api.whole(f"{everyone}/{account}") == f"{everyone}/{account}"
    assert api.whole("admin/accounts/a/pause") == "/api/v1/admin/prop/accounts/a/pause"
    assert api.whole("readyz?verbose") == "/readyz?verbose"


def test_a_short_bootstrap_token_is_refused_before_anything_starts(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setenv("PROP_BOOTSTRAP_TOKEN", "too-short")
    code, _, err = run(capsys, "serve", "--data-dir", str(tmp_path / "data"))
    assert code == 2
    assert "PROP_BOOTSTRAP_TOKEN must be 32 or more" in err
    assert "too-short" not in err
    assert not (tmp_path / "data" / "postgres").exists()


def test_the_demo_takes_no_database_of_others(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    monkeypatch.setenv("PROP_DATABASE_URL", "postgresql://prop:secret@db/prop")
    code, _, err = run(capsys, "demo")
    assert code == 2
    assert "PROP_DATABASE_URL names one" in err
    assert "secret" not in err


def test_one_engine_a_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    run_file = {"pid": os.getpid(), "url": "http://127.0.0.1:8080", "databaseUrl": "postgresql://x", "rayAddress": "y"}
    with owned(tmp_path):
        (tmp_path / "run.json").write_text(json.dumps(run_file))
        code, _, err = run(capsys, "serve", "--data-dir", str(tmp_path))
    assert code == 2
    assert f"kill -INT {os.getpid()}" in err


def test_the_demo_is_pointed_at_where_it_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    demo = tmp_path / "demo"
    demo.mkdir()
    run_file = {"pid": os.getpid(), "url": "http://127.0.0.1:8080", "databaseUrl": "postgresql://x", "rayAddress": "y"}
    (demo / "run.json").write_text(json.dumps(run_file))
    code, _, err = run(capsys, "accounts", "--data-dir", str(tmp_path))
    assert code == 2
    assert f"--data-dir {demo}" in err


def test_config_show_tells_where_each_value_came_from(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    file = tmp_path / "mine.toml"
    file.write_text("[gateway]\nport = 9001\n")
    monkeypatch.setenv("PROP_MARKING__CADENCE_MS", "1000")
    monkeypatch.setenv("PROP_DATABASE_URL", "postgresql://prop:secret@db/prop")
    code, out, _ = run(capsys, "config", "show", "--config", str(file), "--json")
    assert code == 0
    found = {row["key"]: (row["value"], row["source"]) for row in map(json.loads, out.splitlines())}
    assert found["gateway.port"] == (9001, str(file))
    assert found["marking.cadence_ms"] == (1000, "PROP_MARKING__CADENCE_MS")
    assert found["database.url"] == ("postgresql://prop:***@db/prop", "PROP_DATABASE_URL")
    assert found["data_dir"][0] == str(tmp_path / "state" / "prop")


def test_the_module_runs_as_a_program():
    done = prop("config", "show")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("SETTING")
