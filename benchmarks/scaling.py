"""Scaling: durable actions by number of processes of each kind, beside what the model (`benchmarks.model`) foretells.

The throughput setting, 64 accounts, 64 connections, one action and ten a request. Account actors 1, 2 and 4; gateways 1
and 2; committers inside the account actors, or in one or two persisters. `each` is the measured time from one action to
the next, `baseline` the model's, from the CPU that an action took in the first row of its kind (one process of each)
and the cores that nobody else used meanwhile: a ratio of 1.10 is ten per cent more than the model knows of, mostly
waiting and what processes take from each other's caches. Rows of CPU show those costs: `each` is one kind's part,
`baseline` the sum, over all processes and the client. Of the other settings a row of CPU says how much more of it an
action took there than in the first: fewer requests travel together where there are more to travel to.

What two cores can show: that the sum of CPU is what binds, whatever is added (so more processes do not help here, and
what they cost), and that one core does half. What they cannot: that a process of one kind is full while cores are left,
since none takes more than half of an action's CPU. Past two cores the model is an extrapolation; it says where to look.
"""

import os
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final, NamedTuple

import psutil

from benchmarks.actions.processes import spent_us
from benchmarks.actions.table import CONNECTIONS, THROUGHPUT, quoted
from benchmarks.model import bound
from benchmarks.timing import Figure
from gateway.load import Plan
from persistence import postmaster
from persistence.embedded import EmbeddedPostgres
from tests.support.postgres import make_template, temporary_database, temporary_postgres
from tests.support.served import TOKEN, Served, served

ACCOUNTS: Final = 64
SECONDS: Final = 3.0
SHAPES: Final = {"singles": 1, "tens": 10}
BATCHES: Final = (1, 2, 5, 10, 20, 50, 100)
"""Actions a request, of which the gateway takes 100."""
BATCH_SECONDS: Final = 2.0
IN_FLIGHT_MAX: Final = 1_000
"""Actions at once, over all connections: more would only wait longer."""
CORES: Final = len(os.sched_getaffinity(0))


class Setting(NamedTuple):
    """How many processes there are of each kind; no persisters: each account actor commits for itself."""

    actors: int = 1
    gateways: int = 1
    persisters: int = 0
    cores: int = CORES

    @property
    def kind(self) -> str:
        return "shared" if self.persisters else "local"

    @property
    def processes(self) -> dict[str, int]:
        """Of the kinds that have one thread each, by their names in `actions.processes`."""
        counted = {"account actor": self.actors, "gateway": self.gateways, "persister": self.persisters, "client": 1}
        return {kind: number for kind, number in counted.items() if number}

    def __str__(self) -> str:
        said = [_counted(self.actors, "actor"), _counted(self.gateways, "gateway")]
        said += [_counted(self.persisters, "persister")] if self.persisters else []
        said += [] if self.cores == CORES else [_counted(self.cores, "core")]
        return ", ".join(said)


SETTINGS: Final = (
    Setting(),  # of each kind the first is what the others are foretold from
    Setting(cores=1),
    Setting(actors=2),
    Setting(actors=4),
    Setting(gateways=2),
    Setting(actors=2, gateways=2),
    Setting(persisters=1),
    Setting(actors=2, persisters=1),
    Setting(actors=2, persisters=2),
    Setting(actors=2, gateways=2, persisters=2),
)


def figures() -> Iterator[Figure]:
    """By setting, then by actions a request in the first."""
    costs: dict[tuple[str, str], Mapping[str, float]] = {}
    with temporary_postgres() as server:
        template = make_template(server)
        database = _postmaster(server)
        for setting in SETTINGS:
            with temporary_database(server, template) as url, _running(setting, url, database) as engine:
                ids = [engine.trading_account(f"clone-{number}") for number in range(ACCOUNTS)]
                for shape, actions in SHAPES.items():
                    found = _measured(engine, database, ids, actions, SECONDS, setting.cores)
                    key = (setting.kind, shape)
                    if key not in costs:
                        costs[key] = found.cpu_us
                        yield from _of_cpu(f"{setting.kind}, {shape}", found.cpu_us)
                    else:
                        yield _more_cpu(f"CPU of all, {setting}, {shape}", found.cpu_us, costs[key])
                    yield _beside_model(f"{setting}, {shape}", found, costs[key], setting)
                if setting == SETTINGS[0]:
                    for actions in BATCHES:
                        found = _measured(engine, database, ids, actions, BATCH_SECONDS, setting.cores)
                        yield _beside_model(f"{_counted(actions, 'action')} a request", found, found.cpu_us, setting)


class Found(NamedTuple):
    """Microseconds from one action to the next, the CPU of one by kind of process, and the cores that nobody else
    used."""

    each_us: float
    cpu_us: dict[str, float]
    cores: float


def _measured(
    engine: Served, database: psutil.Process, ids: list[str], actions: int, seconds: float, cores: int
) -> Found:
    connections = max(1, min(CONNECTIONS, IN_FLIGHT_MAX // actions))
    plan = Plan(url=engine.url, token=TOKEN, accounts=ids, connections=connections, actions=actions, seconds=seconds)
    began, busy_before = time.perf_counter(), _busy_s()
    answers, cpu_us, done = spent_us(engine, database, plan)
    busy, elapsed = _busy_s() - busy_before, time.perf_counter() - began
    if not answers.are_well:
        raise RuntimeError(f"not everything was executed: {answers.by_status}")
    ours = sum(cpu_us.values()) / 1e6 * done
    return Found(1e6 / answers.actions_per_s, cpu_us, cores - max(0.0, busy - ours) / elapsed)


def _busy_s() -> float:
    """CPU seconds of everybody so far, on the cores that this process may use."""
    idle = {"idle", "iowait", "guest", "guest_nice"}  # guests are in `user` already
    every = psutil.cpu_times(percpu=True)
    counted = [every[core] for core in os.sched_getaffinity(0)]
    return float(sum(value for each in counted for name, value in each._asdict().items() if name not in idle))


def _beside_model(name: str, found: Found, cpu_us: Mapping[str, float], setting: Setting) -> Figure:
    foretold = bound(cpu_us, setting.processes, cores=found.cores)
    return Figure(f"{name} (by {foretold.by})", found.each_us, foretold.each_us, found.each_us / foretold.each_us, 0.0)


def _more_cpu(name: str, cpu_us: Mapping[str, float], foretold_us: Mapping[str, float]) -> Figure:
    each, foretold = sum(cpu_us.values()), sum(foretold_us.values())
    return Figure(name, each, foretold, each / foretold, 0.0)


def _of_cpu(name: str, cpu_us: Mapping[str, float]) -> Iterator[Figure]:
    total = sum(cpu_us.values())
    for kind in sorted(cpu_us, key=cpu_us.__getitem__, reverse=True):
        yield Figure(f"CPU of {kind}, {name}", cpu_us[kind], total, cpu_us[kind] / total, 0.0)


@contextmanager
def _running(setting: Setting, database_url: str, database: psutil.Process) -> Iterator[Served]:
    """An engine in a setting, its client and PostgreSQL on as many cores as it says."""
    options = ("--config", str(THROUGHPUT))
    environment = {
        "PROP_DATABASE_URL": database_url,
        "PROP_LOG__LEVEL": "warning",
        "PROP_ACTORS__MAX_ACCOUNT_ACTORS": str(setting.actors),
        "PROP_GATEWAY__PROCESSES": str(setting.gateways),
        "PROP_PERSISTER__PLACEMENT": setting.kind,
        "PROP_PERSISTER__SHARED_ACTORS": str(max(1, setting.persisters)),
    }
    with ExitStack() as held:
        folder = Path(held.enter_context(tempfile.TemporaryDirectory(prefix="prop-bench-")))
        held.enter_context(_on_cores(setting.cores, psutil.Process(), database))
        engine = held.enter_context(served(folder, options=options, **environment))
        held.enter_context(quoted(engine))
        yield engine


@contextmanager
def _on_cores(number: int, *processes: psutil.Process) -> Iterator[None]:
    """These, and what they start meanwhile, on the first so many cores of this machine. (What PostgreSQL does in the
    background has been started before.)"""
    before = [(process, process.cpu_affinity()) for process in processes]
    for process, cores in before:
        process.cpu_affinity(sorted(cores)[:number])
    try:
        yield
    finally:
        for process, cores in before:
            process.cpu_affinity(cores)


def _postmaster(server: EmbeddedPostgres) -> psutil.Process:
    pid = postmaster.running_pid(server.cluster)
    if pid is None:
        raise RuntimeError("PostgreSQL is gone")
    return psutil.Process(pid)


def _counted(number: int, what: str) -> str:
    return f"{number} {what}{'s' * (number > 1)}"
