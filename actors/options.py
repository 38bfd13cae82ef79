"""Actor options and names: everything Ray is told about our actors stands here.

Actors are detached and named so that they outlive the gateway that asked for them, and never restarted or retried by
Ray: a retry re-orders calls and a restart knows nothing of epochs. The supervisor re-creates; the epoch fences.
"""

from typing import Any, Final

from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

SUPERVISOR: Final = "supervisor"
HOST_PREFIX: Final = "account-host-"
PERSISTER_PREFIX: Final = "persister-"
CONCURRENCY_MAX: Final = 1_000


def actor_options(name: str, namespace: str) -> dict[str, Any]:
    """Of any actor of ours. No CPU is reserved: hosts wait for commits most of the time."""
    return {
        "name": name,
        "namespace": namespace,
        "lifetime": "detached",
        "max_restarts": 0,
        "max_task_retries": 0,
        "num_cpus": 0,
        "max_concurrency": CONCURRENCY_MAX,
    }


def host_options(name: str, namespace: str, node: str | None) -> dict[str, Any]:
    """Of an account actor: on the node that the supervisor has chosen, elsewhere if that has gone meanwhile."""
    where = "SPREAD" if node is None else NodeAffinitySchedulingStrategy(node, soft=True)
    return actor_options(name, namespace) | {"scheduling_strategy": where}
