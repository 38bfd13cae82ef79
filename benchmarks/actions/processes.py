"""`python -m benchmarks.actions.processes`: the CPU that an action takes in each process of a served engine.

The throughput setting, 64 accounts, the load of `gateway.load`. CPU time, unlike a rate, is much the same on a machine
that others use too, and it adds up: an engine on so many cores takes no more actions a second than cores by their sum.
"""

import asyncio
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

import psutil

from benchmarks.actions.table import THROUGHPUT, quoted
from gateway.load import Answers, Plan, load
from tests.support.served import TOKEN, Served, served

ACCOUNTS: Final = 64
SECONDS: Final = 5.0
CORES: Final = os.cpu_count() or 1
SHAPES: Final = ((64, 1), (64, 10), (1, 1))
"""Connections, actions a request."""
KINDS: Final = {
    "AccountActor": "account actor",
    "PersisterActor": "persister",
    "Supervisor": "supervisor",
    "gateway.commands.sibling": "gateway",
}
"""By a part of the command line; whatever else the program has started is Ray's."""


def main() -> int:
    with tempfile.TemporaryDirectory(prefix="prop-bench-") as folder:
        options = ("--config", str(THROUGHPUT))
        with served(Path(folder) / "state", options=options, PROP_LOG__LEVEL="warning") as engine, quoted(engine):
            ids = [engine.trading_account(f"clone-{number}") for number in range(ACCOUNTS)]
            for connections, actions in SHAPES:
                _measure(engine, ids, connections, actions)
    return 0


def _measure(engine: Served, ids: list[str], connections: int, actions: int) -> None:
    plan = Plan(url=engine.url, token=TOKEN, accounts=ids, connections=connections, actions=actions, seconds=SECONDS)
    answers, each_us, _ = spent_us(engine, engine.postmaster(), plan)
    asked = f"{connections} connections, {actions} in a request"
    print(f"{asked}: {answers.actions_per_s:,.0f} actions/s, {answers.by_status}")
    for kind in sorted(each_us, key=each_us.__getitem__, reverse=True):
        print(f"  {kind:14} {each_us[kind]:8,.0f} us an action")
    all_us = sum(each_us.values())
    print(f"  {'all':14} {all_us:8,.0f} us an action: at most {CORES / all_us * 1e6:,.0f} a second", flush=True)


def spent_us(engine: Served, postmaster: psutil.Process, plan: Plan) -> tuple[Answers, dict[str, float], int]:
    """Carry out a plan; what came back, the CPU that an action took, by kind of process, and how many were done."""
    done_before, before = _done(engine), _cpu_s(engine, postmaster)
    answers = asyncio.run(load(plan))
    after = _cpu_s(engine, postmaster)
    done = _done(engine) - done_before
    return answers, {kind: (seconds - before.get(kind, 0.0)) / done * 1e6 for kind, seconds in after.items()}, done


def _done(engine: Served) -> int:
    """Actions so far: also of the warm-up, and those answered after the end, which no rate counts."""
    return int(engine.execute("SELECT count(*) FROM prop_decision_actions")[0][0])


def _cpu_s(engine: Served, postmaster: psutil.Process) -> dict[str, float]:
    """CPU seconds so far, by kind of process; of those that live. The client is this process."""
    spent = {"client": time.process_time()}
    for kind, process in _processes(engine, postmaster):
        with suppress(psutil.NoSuchProcess):  # a backend may end meanwhile: that of our own question does
            times = process.cpu_times()
            spent[kind] = spent.get(kind, 0.0) + times.user + times.system
    return spent


def _processes(engine: Served, postmaster: psutil.Process) -> Iterator[tuple[str, psutil.Process]]:
    program = psutil.Process(engine.run["pid"])
    yield "gateway", program
    for process in program.children(recursive=True):
        command = " ".join(process.cmdline())
        yield next((kind for part, kind in KINDS.items() if part in command), "ray"), process
    for process in (postmaster, *postmaster.children(recursive=True)):
        yield "postgres", process


if __name__ == "__main__":
    sys.exit(main())
