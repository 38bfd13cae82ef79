"""How far a run has come: said now and then, and always at the end."""

from gateway.simulation.running import Pace


def test_it_says_how_much_is_done_how_fast_and_what_is_left() -> None:
    said: list[str] = []
    pace = Pace(said.append, every_s=0.0)
    pace(25, 100)
    pace(100, 100)
    assert said[0].startswith(" 25%  25 of 100 cells, ")
    assert said[0].endswith(" s left")
    assert said[1].startswith("100%  100 of 100 cells, ")
    assert said[1].endswith(" a second, 0 s left")


def test_it_does_not_talk_all_the_time() -> None:
    said: list[str] = []
    pace = Pace(said.append, every_s=3_600.0)
    for done in range(100):
        pace(done, 100)
    assert said == []
    pace(100, 100)
    assert len(said) == 1
