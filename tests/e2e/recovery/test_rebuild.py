"""`prop rebuild` on a running engine: what was changed by hand is found, put right, and right afterwards."""

import json
import os
import subprocess
import sys

from tests.support.served import TOKEN, Served


def prop(engine: Served, *arguments: str) -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, "-m", "gateway.cli", *arguments, "--data-dir", str(engine.data_dir)],
        env=os.environ | {"PROP_TOKEN": TOKEN},
        capture_output=True,
        text=True,
        timeout=60,
    )
    return done.returncode, done.stdout + done.stderr


def test_one_account_and_then_all(engine: Served) -> None:
    engine.observe("BTC-USD", "50000")
    account, other = engine.trading_account(), engine.trading_account("clone-2")
    engine.act(account, "a1", quantity="0.1")
    engine.execute("update prop_fills set fee = fee + 1 where account_id = %s", (account,))
    assert prop(engine, "verify")[0] == 1
    assert prop(engine, "rebuild", "--account", account, "--dry-run")[0] == 1
    code, said = prop(engine, "rebuild", "--account", account, "--reason", "edited by hand")
    assert code == 0, said
    assert "1 differences, repaired" in said
    assert "prop_fills" in said
    assert prop(engine, "verify")[0] == 0
    code, said = prop(engine, "rebuild", "--all", "--json")
    assert code == 0, said
    found = [json.loads(line) for line in said.splitlines()]
    assert {account, other} <= {each["accountId"] for each in found}
    assert all(each["consistent"] for each in found)


def test_usage_is_explained(engine: Served) -> None:
    code, said = prop(engine, "rebuild")
    assert code == 2
    assert "--all" in said
