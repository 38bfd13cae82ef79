"""`prop simulate` as it is typed: what it prints, what it writes, and how it refuses."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from gateway import cli

SMALL = ("simulate", "--prices", "synthetic:3", "--ticks", "60", "--accounts", "3", "--strategy", "random")


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as ended:
        cli.main(arguments)
    said = capsys.readouterr()
    return int(ended.value.code or 0), said.out, said.err


def test_it_prints_a_line_a_variant_and_how_fast_it_was(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, *SMALL, "--sweep", "fee_bps=0,20")
    assert code == 0
    lines = out.splitlines()
    assert lines[0].split()[:3] == ["variant", "accounts", "liquidated"]
    assert [line[:10].strip() for line in lines[1:3]] == ["fee_bps 0", "fee_bps 20"]
    assert "6 accounts over 60 ticks in" in lines[3]


def test_it_writes_tables_and_a_report(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    code, out, _ = run(capsys, *SMALL, "--out", str(tmp_path / "run"), "--json")
    assert code == 0
    said = json.loads(out)
    assert (said["accounts"], said["ticks"], said["out"]) == (3, 60, str(tmp_path / "run"))
    assert said["variants"][0]["accounts"] == 3
    written = {path.name for path in (tmp_path / "run").iterdir()}
    assert {"accounts.parquet", "equity.parquet", "report.html", "equity.svg", "liquidation.svg"} <= written


def test_one_seed_writes_the_same_bytes(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    for name in ("one", "two"):
        assert run(capsys, *SMALL, "--seed", "9", "--out", str(tmp_path / name))[0] == 0
    for file in (tmp_path / "one").iterdir():
        assert file.read_bytes() == (tmp_path / "two" / file.name).read_bytes(), file.name


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--prices", "absent.csv"], "there is no file absent.csv (unreadable)"),
        (["--prices", "synthetic:x"], "has no seed: synthetic:7"),
        (["--strategy", "martingale"], "no strategy 'martingale'"),
        (["--policy", "max_leverage=0"], "/policy/maxLeverage must be between 1 and 1000"),
        (["--sweep", "fee_bps"], "sweeps nothing"),
        (["--starting-balance", "many"], "--starting-balance is 'many'"),
        (["--at-seq", "3"], "name it with --from-account"),
        (["--actions", "absent.parquet"], "there is no file absent.parquet"),
        (["--from-account", "019b8e2a-0000-7000-8000-000000000001"], "holds no database"),
    ],
)
def test_what_cannot_be_simulated_is_said_in_a_line(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    code, out, err = run(capsys, *SMALL, *arguments)
    assert (code, out) == (2, "")
    assert said in err
    assert err.count("\n") == 1


def test_without_its_extra_it_says_what_to_install() -> None:
    start = "import sys; sys.modules['pyarrow'] = None; from gateway import cli; cli.main(sys.argv[1:])"
    done = subprocess.run(
        [sys.executable, "-c", start, *SMALL], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 2
    assert done.stderr.startswith("prop: import of pyarrow halted")
    assert done.stderr.endswith("pip install 'prop-engine[simulation]'\n")


def test_a_strategy_that_fails_is_told_with_its_place(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "broken_strategy.py").write_text(
        "class Wrong:\n"
        "    def __init__(self, entrant): pass\n"
        "    def decide(self, sight):\n"
        "        yield 'buy'\n"
        "class Broken(Wrong):\n"
        "    def decide(self, sight):\n"
        "        return [] if sight.tick < 4 else 1 / 0\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    code, _, err = run(capsys, *SMALL, "--strategy", "broken_strategy:Broken")
    assert code == 2
    assert err.startswith("prop: the strategy of account-0 failed at tick 4: ZeroDivisionError: division by zero (")
    assert err.endswith("broken_strategy.py:7)\n")
    assert "a strategy gave a str, which is no action" in run(capsys, *SMALL, "--strategy", "broken_strategy:Wrong")[2]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_it_and_nothing_is_left(number: signal.Signals, tmp_path: Path) -> None:
    out = tmp_path / "run"
    endless = [*SMALL, "--ticks", "100000", "--accounts", "600", "--out", str(out)]
    with subprocess.Popen(
        [sys.executable, "-m", "gateway.cli", *endless], stderr=subprocess.PIPE, env=os.environ, text=True
    ) as running:
        until = time.monotonic() + 60
        while not out.exists() and time.monotonic() < until:  # it runs from then on
            assert running.poll() is None
            time.sleep(0.05)
        running.send_signal(number)
        _, err = running.communicate(timeout=60)
    assert running.returncode == 130
    assert err == "prop: stopped; nothing was written\n"
    assert list(out.iterdir()) == []
