"""docs/simulation.md: what it shows runs, and what it names is there."""

import re
import shlex
from pathlib import Path

import pytest

from engine.simulation.faults import InputCode
from engine.simulation.results import TABLES
from engine.simulation.scripts import SCRIPTS
from engine.simulation.synthetic import REGIMES
from engine.simulation.traders import TRADERS
from gateway import cli

DOCS = Path(__file__).parents[3] / "docs"
PAGE = (DOCS / "simulation.md").read_text()
COMMANDS = re.search(r"```sh\n(.*?)```", PAGE, re.DOTALL)


@pytest.mark.parametrize("block", re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL))
def test_the_python_runs(block: str) -> None:
    exec(compile(block, "docs/simulation.md", "exec"), {})


@pytest.mark.parametrize("line", (COMMANDS.group(1) if COMMANDS else "").splitlines())
def test_the_commands_run(line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as ended:
        cli.main(shlex.split(line)[1:])
    assert ended.value.code == 0


def test_the_command_of_the_study_runs_with_fewer_accounts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = re.search(r"```sh\n(.*?)```", (DOCS / "studies/survival.md").read_text(), re.DOTALL)
    assert found is not None
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as ended:
        cli.main([*shlex.split(found.group(1).replace("\\\n", " "))[1:], "--accounts", "2", "--ticks", "100"])
    assert ended.value.code == 0
    assert {"sensitivity.svg", "liquidation.svg", "drawdowns.svg"} <= {
        path.name for path in (tmp_path / "survival").iterdir()
    }


def test_everything_that_can_be_named_is_named() -> None:
    for name in (*InputCode, *TABLES, *REGIMES, *TRADERS, *SCRIPTS):
        assert re.search(rf"\b{re.escape(str(name))}\b", PAGE), name
