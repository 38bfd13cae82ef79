"""The restore drill: a backup taken while accounts trade, restored elsewhere by the commands of the page, is whole."""

import os
import re
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from tests.support.served import Served, served

PAGE = Path(__file__).parents[3] / "docs" / "backup-and-restore.md"
ENVIRONMENT = os.environ | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}


def block(heading: str) -> str:
    """The commands below a heading of the page."""
    found = re.search(rf"^## {heading}\n.*?```sh\n(.*?)```", PAGE.read_text(), re.DOTALL | re.MULTILINE)
    assert found is not None
    return found[1]


def shell(commands: str, **variables: Path) -> None:
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", commands],
        env=ENVIRONMENT | {name: str(path) for name, path in variables.items()},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr + done.stdout


class Trading:
    """An account that acts without a pause, in a thread; `acknowledged` are the keys it was told of."""

    def __init__(self, engine: Served, account: str) -> None:
        self.acknowledged: list[str] = []
        self._engine, self._account = engine, account
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._act)

    def _act(self) -> None:
        while not self._stop.is_set():
            key = f"a{len(self.acknowledged)}"
            self._engine.act(self._account, key, quantity="0.0001")
            self.acknowledged.append(key)

    def __enter__(self) -> "Trading":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()


@pytest.mark.timeout(240)
def test_a_backup_taken_under_load_is_restored_elsewhere(data_dir: Path) -> None:
    restored, backup = data_dir.with_name("restored"), data_dir.with_name("backup")
    backup.mkdir(mode=0o700)
    with served(data_dir) as engine:
        engine.observe("BTC-USD", "50000")
        account = engine.trading_account()
        with Trading(engine, account) as trading:
            while len(trading.acknowledged) < 20:
                trading._thread.join(0.05)
            before = list(trading.acknowledged)
            shell(block("Take a backup"), STATE=data_dir, BACKUP=backup)
            assert len(trading.acknowledged) > len(before), "nothing was traded during the backup"
    *verified, serve = block("Restore it").strip().splitlines()
    assert serve == 'prop serve --data-dir "$RESTORED"'
    shell("\n".join(verified), STATE=data_dir, BACKUP=backup, RESTORED=restored)
    with served(restored) as engine:
        engine.observe("BTC-USD", "51000")
        again = [engine.act(account, key, quantity="0.0001")["results"][0] for key in before]
        assert all(result["replayed"] for result in again), "what was acknowledged before the backup is not in it"
        assert engine.act(account, "after", quantity="0.0001")["results"][0]["status"] == "executed"
