"""What bounds throughput: the cores together, or one process that is full."""

import pytest

from benchmarks.model import Bound, bound

CPU_US = {"gateway": 400.0, "account actor": 350.0, "postgres": 200.0, "client": 50.0}


@pytest.mark.parametrize(
    ("processes", "cores", "found"),
    [
        ({"gateway": 1, "account actor": 1}, 1, Bound(1_000.0, "cores")),
        ({"gateway": 1, "account actor": 1}, 2, Bound(500.0, "cores")),
        ({"gateway": 1, "account actor": 1}, 8, Bound(400.0, "gateway")),
        ({"gateway": 2, "account actor": 1}, 8, Bound(350.0, "account actor")),
        ({"gateway": 4, "account actor": 4}, 8, Bound(125.0, "cores")),
        ({"gateway": 1, "persister": 1}, 2, Bound(500.0, "cores")),
    ],
)
def test_the_tightest_bound_is_the_one(processes: dict[str, int], cores: int, found: Bound):
    assert bound(CPU_US, processes, cores=cores) == found
