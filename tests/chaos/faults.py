"""Faults on the real thing. Each strikes, lasts as long as it must, and leaves nothing of itself behind."""

import signal
from collections.abc import Callable, Mapping
from random import Random
from typing import Final, Literal

from tests.chaos.system import System, signalled, wait_s

ACCOUNTS: Final = "ray::AccountActor"
PERSISTER: Final = "ray::PersisterActor"
SUPERVISOR: Final = "ray::SupervisorActor"
STOPPED_S: Final = (1.0, 8.0)
CUTTING_S: Final = 2.0
FROZEN_S: Final = 4.0

Fault = Callable[[System, Random], bool]
"""Does its harm; returns whether there was anything to harm."""


def _killed(title: str) -> Fault:
    return lambda system, chance: signalled(system.pick(chance, title), signal.SIGKILL)


def _stopped(title: str) -> Fault:
    def strike(system: System, chance: Random) -> bool:
        process = system.pick(chance, title)
        if not signalled(process, signal.SIGSTOP):
            return False
        wait_s(chance.uniform(*STOPPED_S))
        return signalled(process, signal.SIGCONT) or True  # the supervisor may have ended it meanwhile

    return strike


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


FAULTS: Final[Mapping[str, Fault]] = {
    "account_actor_killed": _killed(ACCOUNTS),
    "account_actor_stopped": _stopped(ACCOUNTS),
    "persister_killed": _killed(PERSISTER),
    "persister_stopped": _stopped(PERSISTER),
    "supervisor_killed": _killed(SUPERVISOR),
    "supervisor_stopped": _stopped(SUPERVISOR),
    "program_killed": program_killed,
    "everything_killed": everything_killed,
    "postgres_killed": postgres_killed,
    "backend_ended": backend_ended,
    "lines_cut": lines_cut,
    "cut_before_commit": _cutting("before"),
    "cut_after_commit": _cutting("after"),
    "feed_frozen": feed_frozen,
}
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
STARTS: Final = ("program_killed", "everything_killed")


def schedule(chance: Random, kinds: tuple[str, ...]) -> Callable[[], str]:
    """What strikes next: every kind once in each round, in an order of chance, so that none is left out."""
    round_: list[str] = []

    def following() -> str:
        if not round_:
            round_.extend(chance.sample(kinds, len(kinds)))
        return round_.pop()

    return following
