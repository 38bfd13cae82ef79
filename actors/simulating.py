"""Simulating: the shards of a plan as Ray tasks, one core each.

The plan, prices and all, is put into the object store once and read there by every worker of a node without a copy.
Guarantee: tables come out in the order of accounts and are those that one process would have made. A shard whose worker
or node died is run again; one that fails by itself (a strategy that raises) fails the run, since it would fail again.
So many shards are on their way at once as keep every core busy, and no more: memory does not grow with their number.
"""

import contextlib
import inspect
import os
import site
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import ray
from ray import cloudpickle
from ray.exceptions import RayError, RayTaskError

from actors import cluster
from engine.simulation import results
from engine.simulation.faults import ShardLost
from engine.simulation.plan import Plan, run_shard

NAMESPACE: Final = "simulation"
RETRIES_MAX: Final = 3
"""Of a shard whose worker died."""
AHEAD: Final = 2
"""Shards begun or done and not yet handed out, a core."""
WAIT_S: Final = 0.5
"""Between looks at whether anything is done, so that Ctrl-C is heard."""
STORE_BYTES_MIN: Final = 256 * 1024 * 1024

OURS: Final = ("engine", "gateway")
Shard = tuple[int, int]
Tables = Mapping[str, Any]


@contextlib.contextmanager
def workers(count: int | None, address: str | None, *, store_bytes: int = STORE_BYTES_MIN) -> Iterator[int]:
    """A Ray for the time of the block, of `count` cores here or the cluster at `address`; gives its cores."""
    if address is None:
        cluster.start_local(namespace=NAMESPACE, cpus=count, object_store_bytes=max(store_bytes, STORE_BYTES_MIN))
    else:
        cluster.join(address, namespace=NAMESPACE)
    try:
        cores = int(ray.cluster_resources().get("CPU", 1))  # type: ignore[no-untyped-call]  # ray leaves it untyped
        yield cores if count is None else min(count, cores)
    finally:
        cluster.leave()


def spread(plan: Plan, shards: Sequence[Shard], cores: int) -> Iterator[tuple[Shard, Tables]]:
    """Each shard and its tables, in order. What was begun is cancelled where nobody takes the rest.

    Raises what a shard raised, `BadInput` or `StrategyFailed`, or `ShardLost`.
    """
    _carry_along(plan.acting)
    stored = ray.put(plan)
    ahead = cores * AHEAD
    begun: dict[Shard, Any] = {}
    waiting = iter(shards)
    try:
        for shard in shards:
            for following in waiting:
                begun[following] = _tables.remote(stored, *following)
                if len(begun) >= ahead:
                    break
            yield shard, _taken(begun[shard])
            del begun[shard]
    finally:
        for left in begun.values():
            with contextlib.suppress(RayError):
                ray.cancel(left, force=True)


def _carry_along(acting: object) -> None:
    """A strategy from a file that lies about goes to the workers with its code; what is installed they have."""
    module = inspect.getmodule(acting)
    file = getattr(module, "__file__", None)
    if module is None or file is None or module.__name__.partition(".")[0] in OURS:
        return
    if not any(file.startswith(installed) for installed in (*site.getsitepackages(), site.getusersitepackages())):
        cloudpickle.register_pickle_by_value(module)  # type: ignore[no-untyped-call]  # ray leaves it untyped


def _taken(task: Any) -> Tables:
    while not ray.wait([task], timeout=WAIT_S)[0]:
        pass
    try:
        tables: Tables = ray.get(task)
    except RayTaskError as failed:
        raise failed.cause from None
    except RayError as lost:
        raise ShardLost(str(lost).splitlines()[0]) from lost
    return tables


@ray.remote(num_cpus=1, max_retries=RETRIES_MAX)
def _tables(plan: Plan, start: int, stop: int) -> Tables:
    os.environ.setdefault("NUMBA_NUM_THREADS", "1")  # read when the kernel is first used: a task has one core
    return results.tables(plan, run_shard(plan, start, stop))
