"""Faults on the real thing. Each strikes, lasts as long as it must, and leaves nothing of itself behind."""

import json
import os
import shutil
import signal
import subprocess
from collections.abc import Callable, Mapping
from functools import partial
from random import Random
from typing import Final, Literal

import psutil

from tests.chaos import clock, disk
from tests.chaos.system import System, signalled, wait_s
from tests.support.served import eventually

SS: Final = shutil.which("ss") or ""
ACCOUNTS: Final = "ray::AccountActor"
PERSISTER: Final = "ray::PersisterActor"
SUPERVISOR: Final = "ray::SupervisorActor"
STOPPED_S: Final = (1.0, 8.0)
CUTTING_S: Final = 2.0
FROZEN_S: Final = 4.0
FULL_S: Final = 3.0
STEPPED_S: Final = 3.0
STEPS_S: Final = (3_600, -3_600, 0)
LOST_S: Final = 8.0
LOST_PER_CENT: Final = 5
"""Of all calls between actors as many lose their request, and as many more their reply."""

Fault = Callable[[System, Random], bool]
"""Does its harm; returns whether there was anything to harm."""


def _killed(title: str) -> Fault:
    return lambda system, chance: signalled(system.pick(chance, title), signal.SIGKILL)


def _stopped(title: str) -> Fault:
    return lambda system, chance: _stops(system.pick(chance, title), chance)


def _stops(process: psutil.Process | None, chance: Random) -> bool:
    if not signalled(process, signal.SIGSTOP):
        return False
    wait_s(chance.uniform(*STOPPED_S))
    return signalled(process, signal.SIGCONT) or True  # the supervisor may have ended it meanwhile


def program_stopped(system: System, chance: Random) -> bool:
    """The gateway hangs, and goes on as if nothing had been."""
    return _stops(psutil.Process(system.engine.run["pid"]), chance)


def program_killed(system: System, chance: Random) -> bool:
    """The gateway and all it leads; its account actors outlive it for a second or two."""
    system.engine.kill_program()
    system.engine.start()
    system.engine.end_orphans()
    return True


def everything_killed(system: System, chance: Random) -> bool:
    """Power off, but for the disk."""
    system.engine.kill_everything()
    system.kill_postgres()
    system.engine.start()
    return True


def postgres_killed(system: System, chance: Random) -> bool:
    system.kill_postgres()
    return True


def backend_ended(system: System, chance: Random) -> bool:
    system.end_a_backend()
    return True


def lines_cut(system: System, chance: Random) -> bool:
    """Every connection to the database at once."""
    system.line.cut_all()
    return True


def _cutting(how: Literal["before", "after"]) -> Fault:
    def strike(system: System, chance: Random) -> bool:
        cuts = system.line.cuts
        system.line.cutting = how
        wait_s(CUTTING_S)
        system.line.cutting = None
        return system.line.cuts > cuts

    return strike


def feed_frozen(system: System, chance: Random) -> bool:
    system.feed_is_frozen = True
    wait_s(FROZEN_S)
    system.feed_is_frozen = False
    return True


def disk_full(system: System, chance: Random) -> bool:
    """No room on the database's volume, for as long as somebody takes to make some; whatever ended of it is started."""
    if system.volume is None:
        return False
    with system.volume.full():
        eventually(system.refuses_rows, "a row that is refused")
        wait_s(FULL_S)
    system.start_postgres()
    return True


def calls_lost(system: System, chance: Random) -> bool:
    """Ray itself loses requests and replies. It reads this at its start: the engine is drained under load first, and
    killed afterwards."""
    share = {"num_failures": -1, "req_failure_prob": LOST_PER_CENT, "resp_failure_prob": LOST_PER_CENT}
    system.engine.stop()
    lossy = json.dumps({"CoreWorkerService.grpc_client.PushTask": share})
    system.engine.start(RAY_testing_rpc_failure=lossy, PROP_ACTORS__DIRECT_LINES="false")  # requests among the calls
    wait_s(LOST_S)
    lost = system.a_worker_said("ActorUnavailableError")
    system.engine.kill_everything()
    system.engine.start()
    return lost


def actor_lines_cut(system: System, chance: Random) -> bool:
    """Every connection into an account actor or a persister is cut at once, while requests and appends are on it."""
    actors = [process for title in (ACCOUNTS, PERSISTER) for process in system.engine.processes(title)]
    return sum(_cut_off(process) for process in actors) > 0


def _cut_off(process: psutil.Process) -> bool:
    cut = False
    for listening in (each for each in process.net_connections("tcp") if each.status == psutil.CONN_LISTEN):
        asked = (SS, "-K", "-H", "-tn", "state", "established", "dport", "=", str(listening.laddr.port))
        cut |= bool(subprocess.run(asked, capture_output=True, check=True).stdout)
    return cut


def _why_no_line_is_cut() -> str | None:
    if not SS or os.geteuid() != 0:
        return "it takes root and `ss`"
    return None


def clock_stepped(system: System, chance: Random) -> bool:
    """An hour ahead, an hour back, and right again, in a new start of the program; and right in the start after it."""
    system.engine.stop()
    system.engine.start(**system.clock.environment)
    for ahead_s in STEPS_S:
        system.clock.step(ahead_s)
        eventually(partial(system.engine_is_ahead, ahead_s), f"an engine {ahead_s} s ahead")
        wait_s(STEPPED_S)
    system.engine.kill_everything()
    system.engine.start()
    return True


FAULTS: Final[Mapping[str, Fault]] = {
    "account_actor_killed": _killed(ACCOUNTS),
    "account_actor_stopped": _stopped(ACCOUNTS),
    "persister_killed": _killed(PERSISTER),
    "persister_stopped": _stopped(PERSISTER),
    "supervisor_killed": _killed(SUPERVISOR),
    "supervisor_stopped": _stopped(SUPERVISOR),
    "program_killed": program_killed,
    "program_stopped": program_stopped,
    "everything_killed": everything_killed,
    "postgres_killed": postgres_killed,
    "backend_ended": backend_ended,
    "lines_cut": lines_cut,
    "cut_before_commit": _cutting("before"),
    "cut_after_commit": _cutting("after"),
    "feed_frozen": feed_frozen,
    "calls_lost": calls_lost,
    "actor_lines_cut": actor_lines_cut,
    "disk_full": disk_full,
    "clock_stepped": clock_stepped,
}
NOT_EVERYWHERE: Final[Mapping[str, Callable[[], str | None]]] = {
    "actor_lines_cut": _why_no_line_is_cut,
    "disk_full": disk.why_not,
    "clock_stepped": clock.why_not,
}
"""Why a fault cannot be had on this machine; None where it can."""
QUICK: Final = (
    "account_actor_killed",
    "cut_after_commit",
    "persister_killed",
    "account_actor_stopped",
    "postgres_killed",
    "supervisor_killed",
    "cut_before_commit",
)
"""Those that need no new start of the program."""


def schedule(chance: Random, kinds: tuple[str, ...]) -> Callable[[], str]:
    """What strikes next: every kind once in each round, in an order of chance, so that none is left out."""
    round_: list[str] = []

    def following() -> str:
        if not round_:
            round_.extend(chance.sample(kinds, len(kinds)))
        return round_.pop()

    return following
