"""Counts: durations in their classes, and totals that grow by what is new."""

import msgspec
import pytest

from persistence.counts import SECONDS, CommitterFigures, Counters, Durations, accrue


@pytest.mark.parametrize(
    ("seconds", "place"), [(0.0, 0), (0.0005, 0), (0.0006, 1), (30.0, len(SECONDS) - 1), (31.0, len(SECONDS))]
)
def test_a_duration_is_in_the_first_class_that_it_does_not_exceed(seconds: float, place: int) -> None:
    durations = Durations()
    durations.add(seconds)
    assert [number for number, count in enumerate(durations.classes) if count] == [place]
    assert durations.total_seconds == seconds


def test_a_total_grows_by_what_was_counted_in_between() -> None:
    before = Counters(commits=2, ambiguous={"fenced": 1})
    now = Counters(commits=5, ambiguous={"fenced": 1, "committed": 4})
    now.commit_time.add(0.2)
    total = Counters(commits=10)
    accrue(total, now, before)
    accrue(total, now, now)
    assert (total.commits, total.ambiguous) == (13, {"fenced": 0, "committed": 4})
    assert (sum(total.commit_time.classes), total.commit_time.total_seconds) == (1, 0.2)


def test_figures_arrive_as_they_were_sent() -> None:
    figures = CommitterFigures(queued_events=3, oldest_seconds=0.5)
    figures.counted.batch_sizes[4] = 1
    figures.counted.ambiguous["fenced"] = 2
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(figures), type=CommitterFigures) == figures
