"""`prop demo` as a newcomer runs it: fills, a refusal with its numbers, a liquidation; then the books are checked."""

import json
import shutil
import signal
import subprocess
from pathlib import Path
from typing import Any

import psycopg
import pytest

from persistence.embedded import EmbeddedPostgres
from tests.e2e.cli.program import prop, running, still_alive

pytestmark = [pytest.mark.postgres, pytest.mark.ray, pytest.mark.slow, pytest.mark.timeout(300)]

README = Path(__file__).parents[3] / "README.md"
WANTED = {"fill", "rejected", "liquidated"}


def verify(data_dir: Path) -> tuple[int, dict[str, Any]]:
    done = prop("verify", "--json", "--data-dir", str(data_dir))
    assert done.returncode in (0, 1), done.stderr
    return done.returncode, json.loads(done.stdout)


def first_session(data_dir: Path) -> list[Any]:
    """The README's session, as it is pasted, against this folder; what the API answered."""
    text = README.read_text(encoding="utf-8").partition("## A first session")[2]
    script = text.partition("```sh\n")[2].partition("```")[0]
    assert "DIR=~/.local/state/prop/demo" in script
    pasted = script.replace("DIR=~/.local/state/prop/demo", f"DIR={data_dir}")
    done = subprocess.run(["bash", "-ec", pasted], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    decoder, answers, rest = json.JSONDecoder(), [], done.stdout.strip()
    while rest:
        answer, end = decoder.raw_decode(rest)
        answers.append(answer)
        rest = rest[end:].strip()
    return answers


@pytest.mark.skipif(shutil.which("curl") is None, reason="the README's session is one of curl")
def test_the_first_session_of_the_readme_works_as_it_is_pasted(data_dir: Path):
    with running("demo", "--json", "--port", "0", data_dir=data_dir) as program:
        program.read_until(lambda line: json.loads(line)["event"] == "fill", seconds=120)
        opened, started, traded, snapshot = first_session(data_dir)
        assert (opened["status"], started["status"]) == ("pending", "active")
        executed, refused = traded["results"]
        assert executed["status"] == "executed"
        assert refused["code"] == "notional_exceeds_maximum"
        assert refused["maxQuantity"] is not None
        assert [position["symbol"] for position in snapshot["positions"]] == ["IBM"]

        repeated = first_session(data_dir)
        assert [result["replayed"] for result in repeated[2]["results"]] == [True, True]
        assert repeated[0]["id"] == opened["id"]


def test_the_demo_shows_the_product_and_its_books_hold(data_dir: Path):
    seen: dict[str, dict[str, Any]] = {}

    def all_seen(line: str) -> bool:
        event = json.loads(line)
        seen.setdefault(event["event"], event)
        return seen.keys() >= WANTED

    with running("demo", "--json", "--port", "0", "--speed", "4", data_dir=data_dir) as program:
        program.read_until(all_seen, seconds=180)
        code, report = verify(data_dir)
        assert (code, report["drifts"]) == (0, 0)
        assert report["liveChecked"] >= 6
        family = program.family()
        assert program.stop(signal.SIGINT) == 0
        assert still_alive(family) == []

    rejected = seen["rejected"]
    assert rejected["code"] == "notional_exceeds_maximum"
    context = rejected["failures"][0]["context"]
    assert float(context["notional"]) > float(context["limit"]) == 50_000
    assert rejected["maxQuantity"] is not None
    assert seen["liquidated"]["strategy"] == "dip-buyer"

    code, report = verify(data_dir)
    assert (code, report["drifts"], report["liveUnchecked"]) == (0, 0, f"no engine runs on {data_dir}")

    with EmbeddedPostgres(data_dir / "postgres") as postgres, psycopg.connect(postgres.url) as connection:
        connection.execute(
            "update prop_fills set fee = fee + 0.00000001 where id = (select min(id::text)::uuid from prop_fills)"
        )
    code, report = verify(data_dir)
    assert (code, report["drifts"]) == (1, 1)
    assert (report["drift"][0]["table"], report["drift"][0]["field"]) == ("prop_fills", "fee")
    shown = prop("verify", "--data-dir", str(data_dir))
    assert shown.returncode == 1
    assert "prop_fills" in shown.stdout
    assert "1 DRIFTED" in shown.stdout

    # A restart goes on with the same accounts where they are open; --fresh starts over.
    with running("demo", "--json", "--port", "0", data_dir=data_dir) as program:
        program.read_until(lambda line: "goes on where it was" in line, seconds=120)
        assert program.stop(signal.SIGTERM) == 0
    with running("demo", "--json", "--port", "0", "--fresh", data_dir=data_dir) as program:
        program.read_until(lambda line: json.loads(line)["event"] == "started", seconds=120)
        assert "started with 100,000 USDC" in program.said[-1]
        assert program.stop(signal.SIGTERM) == 0
