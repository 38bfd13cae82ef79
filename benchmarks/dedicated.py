"""Dedicated: actors of Ray that say how much memory they have; one hosts an account, one does nothing.

Apart from `benchmarks.memory` because it imports Ray, which takes its time.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import psutil
import ray

from actors.account_actor import AccountActor
from actors.cluster import leave, start_local
from actors.runtime import RuntimeConfig, packed_config


class Footprint(NamedTuple):
    """Bytes of a process: resident, and with its share only of the pages that other processes have too."""

    resident: int
    proportional: int


def _footprint() -> Footprint:
    memory = psutil.Process().memory_full_info()
    return Footprint(memory.rss, memory.pss)


class MeasuredAccountActor(AccountActor):
    """The real one."""

    async def footprint(self) -> Footprint:
        return _footprint()


class Idle:
    """What Ray itself costs."""

    async def footprint(self) -> Footprint:
        return _footprint()


def footprints(url: str, ids: Sequence[str]) -> list[tuple[Footprint, Footprint]]:
    """A pair of new actors for each: one that hosts the account, with its own committer, and one that does nothing."""
    config = packed_config(RuntimeConfig(database_url=url, persister_placement="local"))
    start_local(namespace="bench", log_to_driver=False)
    try:
        return [_pair(config, account_id) for account_id in ids]
    finally:
        leave()


def _pair(config: bytes, account_id: str) -> tuple[Footprint, Footprint]:
    account_actor: Any = ray.remote(MeasuredAccountActor).options(num_cpus=0).remote(f"dedicated-{account_id}", config)
    idle: Any = ray.remote(Idle).options(num_cpus=0).remote()
    ray.get(account_actor.open.remote())
    ray.get(account_actor.activate.remote([account_id]))
    hosting, nothing = ray.get([account_actor.footprint.remote(), idle.footprint.remote()])
    return hosting, nothing
