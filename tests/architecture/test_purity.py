"""The lint that keeps the world out of the engine bites, and lets the shells be."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

AMBIENT = [
    "import datetime\n\ndatetime.datetime.now(datetime.UTC)",
    "from datetime import datetime\n\ndatetime.now()",
    "from datetime import datetime\n\ndatetime.utcnow()",
    "import time\n\ntime.time()",
    "from time import monotonic\n\nmonotonic()",
    "import uuid\n\nuuid.uuid4()",
    "import random\n\nrandom.random()",
    "import secrets\n\nsecrets.token_hex()",
    "import os\n\nos.urandom(1)",
]


def banned(source: str, file: str) -> bool:
    """Whether ruff, with our configuration, refuses an ambient call in such a file."""
    command = [str(Path(sys.executable).with_name("ruff")), "check", "--no-cache", "--select", "TID251"]
    done = subprocess.run(
        [*command, "--config", ROOT / "pyproject.toml", "--stdin-filename", ROOT / file, "-"],
        input=source + "\n",
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode in (0, 1), done.stderr
    return "TID251" in done.stdout


@pytest.mark.parametrize("source", AMBIENT)
@pytest.mark.parametrize("file", ["engine/decide.py", "engine/simulation/exact.py"])
def test_engine_may_not_reach_for_the_world(source: str, file: str):
    assert banned(source, file)


@pytest.mark.parametrize("file", ["gateway/app.py", "actors/supervisor.py", "persistence/committer.py", "configs/x.py"])
def test_shells_may(file: str):
    assert not banned(AMBIENT[0], file)


def test_engine_may_construct_times():
    assert not banned("import datetime\n\ndatetime.datetime.fromisoformat('2026-01-01T00:00:00Z')", "engine/decide.py")


ALLOWED = {*sys.stdlib_module_names, "engine", "msgspec"}
SIMULATION_MAY_ALSO = {"numba", "numpy", "pyarrow"}  # arrays of many accounts, the compiled kernel, tables
ENGINE = sorted((ROOT / "engine").rglob("*.py"))


@pytest.mark.parametrize("path", ENGINE, ids=lambda path: str(path.relative_to(ROOT)))
def test_engine_is_standard_library_and_msgspec(path: Path):
    imported = {name.partition(".")[0] for name in imports(path)}
    allowed = ALLOWED | (SIMULATION_MAY_ALSO if "simulation" in path.parts else set())
    assert imported <= allowed


def imports(path: Path) -> Iterator[str]:
    """Every module that a file imports, wherever in it."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module


def test_the_live_core_loads_nothing_of_the_simulation() -> None:
    """Nor what it needs: those packages are an extra."""
    asked = (
        "import sys, engine, engine.book, engine.results\n"
        "heavy = {'numpy', 'numba', 'pyarrow', 'engine.simulation'} & set(sys.modules)\n"
        "sys.exit(f'loaded {heavy}' if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", asked], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
