"""Running: a plan carried out, here or on workers, its tables handed on shard by shard."""

import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from engine.simulation.plan import Plan
from engine.simulation.simulate import OnProgress, chunks

Tables = Mapping[str, Any]
SHARDS_A_WORKER: Final = 4
"""At least, where there are accounts enough, so that no worker waits long for the last one."""
STORE_BYTES_A_CELL: Final = 64
"""Of prices in the object store, with room for results."""


def run(plan: Plan, *, workers: int | None, address: str | None, on_progress: OnProgress) -> Iterator[Tables]:
    """Tables of shard after shard, in the order of accounts; the same whatever `workers` is. None is one here, where
    nothing is started for it, and all cores of a cluster. Raises `BadInput`, `StrategyFailed`, or `ShardLost`."""
    if workers in (None, 1) and address is None:
        yield from chunks(plan, on_progress=on_progress)
        return
    from actors import simulating

    store_bytes = plan.prices.ticks * len(plan.prices.symbols) * STORE_BYTES_A_CELL
    done = 0
    with simulating.workers(workers, address, store_bytes=store_bytes) as cores:
        shards = plan.shards(_shard_accounts(plan, cores))
        for (start, stop), tables in simulating.spread(plan, shards, cores):
            done += (stop - start) * plan.prices.ticks
            on_progress(done, plan.cells)
            yield tables


def _shard_accounts(plan: Plan, cores: int) -> int:
    wanted = -(-plan.size // (cores * SHARDS_A_WORKER))
    return max(1, min(plan.shard_accounts_max, wanted))


class Pace:
    """How far a run has come, how fast it goes, and when it will be done. `say` is given a line now and then."""

    def __init__(self, say: Callable[[str], None], *, every_s: float = 0.2) -> None:
        self._say = say
        self._every_s = every_s
        self._began = self._said = time.monotonic()

    @property
    def seconds(self) -> float:
        return time.monotonic() - self._began

    def __call__(self, done: int, total: int) -> None:
        now = time.monotonic()
        if now - self._said < self._every_s and done < total:
            return
        self._said = now
        rate = done / max(self.seconds, 1e-9)
        left = (total - done) / rate if rate else 0.0
        self._say(f"{done / total:4.0%}  {done:,} of {total:,} cells, {rate:,.0f} a second, {left:,.0f} s left")
