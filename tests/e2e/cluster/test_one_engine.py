"""Two engines on one database: the second is refused, and serves once the first is gone (ADR 0010)."""

import contextlib
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.scratch import scratch
from tests.support.served import Served, served


@pytest.fixture
def folder() -> Iterator[Path]:
    with scratch() as folder:
        yield folder


def test_a_second_engine_is_refused_and_one_after_a_kill_is_not(folder: Path, database_url: str):
    first = Served(folder / "first", PROP_DATABASE_URL=database_url)
    first.start()
    try:
        first.observe("BTC-USD", "50000")
        account = first.trading_account()
        first.act(account, "a1", quantity="0.1")
        refused = subprocess.run(
            [sys.executable, "-m", "gateway.cli", "serve", "--data-dir", str(folder / "second"), "--port", "0"],
            env=first.environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert refused.returncode not in (0, -signal.SIGKILL), refused.stderr
        assert "database_taken" in refused.stderr, refused.stderr
        assert "RAY_ADDRESS" in refused.stderr
        assert "Traceback" not in refused.stderr
        before = epoch(first, account)
        first.act(account, "a2", quantity="0.1")
        assert epoch(first, account) == before, "the one that was refused had taken the account"
        first.kill_everything()
        with served(folder / "second", PROP_DATABASE_URL=database_url) as second:
            second.observe("BTC-USD", "50000")
            assert second.act(account, "a2", quantity="0.1")["results"][0]["replayed"]
    finally:
        with contextlib.suppress(ProcessLookupError):
            first.kill_everything()


def epoch(engine: Served, account: str) -> int:
    ((epoch,),) = engine.execute("select epoch from prop_account_balances where account_id = %s", (account,))
    return int(epoch)
