"""Synthetic prices: the same bytes for the same seed, and every hazard where its name says."""

from hashlib import sha256

import numpy as np
import pytest

from engine.quotes import fault, usable
from engine.rejections import Failure
from engine.simulation.chance import Chance, bell
from engine.simulation.faults import BadInput
from engine.simulation.prices import PriceTable
from engine.simulation.synthetic import REGIMES, synthetic
from engine.simulation.units import moment


def digest(table: PriceTable) -> str:
    columns = (table.times, table.bid, table.ask, table.mid, table.observed)
    return sha256(b"".join(each.astype("<i8").tobytes() for each in columns)).hexdigest()


def test_one_seed_gives_the_same_bytes_for_ever() -> None:
    """The digest was written down once: a program that makes other prices of a seed has broken old runs."""
    assert digest(synthetic(7, ticks=600)) == "f616c6934f7164f715e22923a4c0041cfcbf527d0967cbb7577e002de8ea332c"
    assert digest(synthetic(8, ticks=600)) != digest(synthetic(7, ticks=600))


def test_quotes_are_prices_except_where_they_are_meant_to_be_missing() -> None:
    table = synthetic(7, ticks=600)
    part = np.arange(600) // 100
    faulty = {
        (tick, symbol) for tick in range(600) for symbol in table.symbols if fault(table.quotes(tick).get(symbol))
    }
    missing = list(REGIMES).index("missing")
    assert faulty == {(t, s) for t in range(600) if part[t] == missing for s in ("BTC-USD", "SOL-USD")}


def test_a_frozen_feed_grows_old_and_thaws() -> None:
    table = synthetic(7, ticks=300, regimes=("calm", "frozen", "calm"))
    old = usable(table.quotes(199), "BTC-USD", moment(int(table.times[199])), 60_000)
    assert isinstance(old, Failure)
    assert old.context["ageMs"] == 100 * 60_000
    assert not isinstance(usable(table.quotes(199), "ETH-USD", moment(int(table.times[199])), 60_000), Failure)
    assert not isinstance(usable(table.quotes(200), "BTC-USD", moment(int(table.times[200])), 60_000), Failure)


@pytest.mark.parametrize(
    ("regime", "lowest", "highest"), [("crash", 0.05, 0.5), ("trend", 1.05, 1.6), ("gap", 0.8, 0.95)]
)
def test_a_regime_does_what_it_is_called_for(regime: str, lowest: float, highest: float) -> None:
    table = synthetic(3, ticks=300, regimes=(regime,))
    for symbol in range(3):
        assert lowest < table.mid[-1, symbol] / table.mid[0, symbol] < highest


def test_a_gap_is_between_two_ticks() -> None:
    steps = (
        np.diff(synthetic(3, ticks=300, regimes=("gap",)).mid[:, 0])
        / synthetic(3, ticks=300, regimes=("gap",)).mid[:-1, 0]
    )
    assert (steps < -0.1).sum() == 1


def test_what_cannot_be_made_is_refused() -> None:
    for arguments in ({"regimes": ("boom",)}, {"ticks": 2}, {"regimes": ()}):
        with pytest.raises(BadInput):
            synthetic(1, **arguments)
    with pytest.raises(BadInput):
        synthetic(-1)


def test_chance_is_even_and_every_stream_its_own() -> None:
    draws = [Chance(1, 5).below(10) for _ in range(3)]
    assert len(set(draws)) == 1, "a stream begins where it always does"
    one = Chance(1, 5)
    counts = np.bincount([one.below(10) for _ in range(10_000)], minlength=10)
    assert counts.min() > 900
    assert counts.max() < 1_100
    assert [Chance(1, 6).below(1000) for _ in range(1)] != [Chance(1, 5).below(1000) for _ in range(1)]
    curve = bell(1, 0, 20_000) / 1e6
    assert abs(curve.mean()) < 0.02
    assert abs(curve.std() - 1) < 0.02
