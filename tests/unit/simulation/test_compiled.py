"""Who waits for a compiler is told so."""

import numba

from engine.simulation.compiled import told_of_compiling


def test_it_is_told_once_and_not_where_nothing_is_compiled():
    told: list[str] = []
    doubled = numba.njit(lambda number: 2 * number)
    with told_of_compiling(lambda: told.append("compiling")):
        assert doubled(2) == 4
        assert doubled(2.5) == 5.0
    assert told == ["compiling"]
    with told_of_compiling(lambda: told.append("again")):
        assert doubled(3) == 6
    doubled(True)
    assert told == ["compiling"]
