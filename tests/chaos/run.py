"""A run of chaos: load and faults for a while, then none, then everything must be as it was told."""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from random import Random
from typing import Final

from persistence.reconcile import verify
from tests.chaos.faults import FAULTS, schedule
from tests.chaos.load import Load
from tests.chaos.system import System, system, wait_s
from tests.support.audit import Violation, audit
from tests.support.audit_rows import in_postgres
from tests.support.history import History, Operation
from tests.support.served import Answered, eventually

LIVE_AGAIN_S: Final = 30.0
CLIENTS: Final = 4
ACCOUNTS: Final = 6
PAUSE_S: Final = (0.5, 3.0)

Say = Callable[[str], None]


@dataclass
class Struck:
    """A fault and when it began, in seconds of the history's clock."""

    name: str
    at: float


@dataclass
class Report:
    """What a run came to. `unavailable_s`: by kind of fault, the longest an account that traded took no action."""

    seed: int
    operations: int
    outcomes: dict[str, int]
    faults: dict[str, int]
    missed: dict[str, int]
    settled: int
    events: int
    unavailable_s: dict[str, float]
    violations: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        lines = [
            f"seed {self.seed}: {self.operations} operations, {self.events} events, {sum(self.faults.values())} faults,"
            f" {len(self.violations)} violations",
            "operations: " + ", ".join(f"{name} {number}" for name, number in self.outcomes.items()),
            f"unknown outcomes settled by sending again: {self.settled}",
            f"{'fault':24} {'struck':>6} {'in vain':>7} {'longest unavailability':>23}",
        ]
        for name in sorted(self.faults | self.missed):
            longest = f"{self.unavailable_s[name]:.1f} s" if name in self.unavailable_s else "-"
            lines.append(f"{name:24} {self.faults.get(name, 0):6} {self.missed.get(name, 0):7} {longest:>23}")
        return "\n".join([*lines, *(f"VIOLATION {each}" for each in self.violations)])


def run(folder: Path, *, seed: int, seconds: float, kinds: Sequence[str], say: Say, **environment: str) -> Report:
    """Start a system in `folder`, hurt it for `seconds`, let it recover, and hold it to what it told its clients."""
    chance, history = Random(seed), History(folder / "history.jsonl")
    struck: list[Struck] = []
    missed: Counter[str] = Counter()
    with system(folder, on_a_volume="disk_full" in kinds, **environment) as hurt:
        load = Load(hurt.engine.url, history, clients=CLIENTS, accounts=ACCOUNTS, seed=seed)
        load.start()
        following, until = schedule(chance, tuple(kinds)), time.monotonic() + seconds
        try:
            while time.monotonic() < until:
                wait_s(chance.uniform(*PAUSE_S))
                name = following()
                fault = Struck(name, time.monotonic())
                say(f"{seconds - (until - fault.at):7.1f} s  {name}")
                if FAULTS[name](hurt, chance):
                    struck.append(fault)
                else:
                    missed[name] += 1
            say("faults have stopped")
            violations = _not_live(hurt, load, history)
        except AssertionError as absent:  # something did not come back: what it had told its clients holds all the same
            violations = [f"I11 {absent}"]
        finally:
            load.stop()
        violations += [f"answer: {surprise}" for surprise in load.surprises]
        rows, quotes = in_postgres(hurt.direct_url)
        violations += _told(audit(history, rows, quotes))
        report = asyncio.run(verify(hurt.direct_url))
        violations += [f"I6 {drift}" for drift in report.drift]
    return Report(
        seed=seed,
        operations=len(history),
        outcomes=history.outcomes(),
        faults=dict(Counter(fault.name for fault in struck)),
        missed=dict(missed),
        settled=_settled(history),
        events=report.events,
        unavailable_s=_unavailability(history, struck),
        violations=violations,
    )


def _not_live(hurt: System, load: Load, history: History) -> list[str]:
    """I11. Counted from when the gateway answers again: a program that has just been started is starting, not dead."""

    def answers() -> bool:
        try:
            return bool(hurt.engine.get("/readyz"))
        except (Answered, OSError):
            return False

    eventually(answers, "a ready gateway", seconds_max=90)
    since = time.monotonic()
    waiting = set(load.accounts)

    def all_act() -> bool:
        waiting.difference_update(
            each.account_id for each in list(history) if each.outcome == "ok" and each.actions and each.sent_at > since
        )
        return not waiting

    try:
        eventually(all_act, "an action of every account", seconds_max=LIVE_AGAIN_S)
    except AssertionError:
        return [f"I11 {account_id}: takes no action {LIVE_AGAIN_S:g} s after the faults" for account_id in waiting]
    return []


def _told(violations: Iterable[Violation]) -> list[str]:
    return [str(violation) for violation in violations]


def _settled(history: History) -> int:
    """Batches that were once without an answer and have one."""
    unknown = {(each.account_id, each.run) for each in history if each.outcome == "unknown"}
    return len(unknown & {(each.account_id, each.run) for each in history if each.outcome == "ok"})


def _unavailability(history: History, struck: Sequence[Struck]) -> dict[str, float]:
    """Gaps between the acknowledgements of an account, each put down to the first fault in it."""
    longest: dict[str, float] = {}
    acted: dict[str, list[Operation]] = {}
    for operation in history:
        if operation.outcome == "ok" and operation.actions:
            acted.setdefault(operation.account_id, []).append(operation)
    for operations in acted.values():
        ends = sorted(operation.ended_at for operation in operations)
        for before, after in pairwise(ends):
            fault = next((each for each in struck if before < each.at < after), None)
            if fault is not None:
                longest[fault.name] = max(longest.get(fault.name, 0.0), after - fault.at)
    return longest
