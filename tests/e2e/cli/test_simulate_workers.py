"""`prop simulate` on a real Ray: the same bytes whatever the workers, and a shard whose worker dies is run again."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from pyarrow import parquet

pytestmark = pytest.mark.ray

ROOT = Path(__file__).parents[3]
RUN = (
    "simulate",
    "--prices",
    "synthetic:3",
    "--ticks",
    "80",
    "--accounts",
    "21",
    "--sweep",
    "fee_bps=0,20",
    "--seed",
    "5",
)
TABLES = ("accounts", "equity", "fills", "rejections", "liquidations")
DOOMED = '''
import os, pathlib, signal
from engine.simulation.traders import Random

class Doomed(Random):
    """Takes its worker along, the first time that it is account 7's turn."""

    def __init__(self, entrant):
        super().__init__(entrant)
        marker = pathlib.Path({marker!r})
        if entrant.account == 7 and os.environ.get("RAY_JOB_ID") and not marker.exists():
            marker.touch()
            os.kill(os.getpid(), signal.SIGKILL)
'''


def prop(*arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run where the strategy lies; workers are not told where that is."""
    start = "import sys; from gateway import cli; cli.main(sys.argv[1:])"
    return subprocess.run(
        [sys.executable, "-P", "-c", start, *arguments],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )


def read(folder: Path) -> dict[str, list[dict[str, object]]]:
    return {name: parquet.read_table(folder / f"{name}.parquet").to_pylist() for name in TABLES}


def test_tables_are_the_same_on_any_number_of_workers_even_where_one_dies(tmp_path: Path) -> None:
    marker = tmp_path / "died"
    (tmp_path / "doomed_strategy.py").write_text(DOOMED.format(marker=str(marker)))
    mine = ("--strategy", "doomed_strategy:Doomed")
    alone = prop(*RUN, *mine, "--out", str(tmp_path / "alone"), folder=tmp_path)
    assert alone.returncode == 0, alone.stderr
    assert not marker.exists()
    spread = prop(*RUN, *mine, "--workers", "2", "--out", str(tmp_path / "spread"), folder=tmp_path)
    assert spread.returncode == 0, spread.stderr
    assert marker.exists(), "no worker died, so nothing was shown"
    assert read(tmp_path / "alone") == read(tmp_path / "spread")
    assert (tmp_path / "alone/report.html").read_bytes() == (tmp_path / "spread/report.html").read_bytes()


def test_ctrl_c_ends_the_run_and_every_process_of_it(tmp_path: Path) -> None:
    out = tmp_path / "run"
    endless = [*RUN, "--ticks", "100000", "--accounts", "600", "--workers", "2", "--out", str(out)]
    with subprocess.Popen(
        [sys.executable, "-m", "gateway.cli", *endless], stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as running:
        program = psutil.Process(running.pid)

        def works() -> bool:
            return any("ray::_tables" in " ".join(each.cmdline()) for each in program.children(recursive=True))

        until = time.monotonic() + 60
        while not works() and time.monotonic() < until:
            assert running.poll() is None
            time.sleep(0.2)
        children = program.children(recursive=True)
        assert children
        os.killpg(running.pid, signal.SIGINT)  # as a terminal sends it: to the whole group
        _, err = running.communicate(timeout=60)
    assert running.returncode == 130, err
    assert err.endswith("prop: stopped; nothing was written\n")
    assert list(out.iterdir()) == []
    _, alive = psutil.wait_procs(children, timeout=30)
    assert alive == []
