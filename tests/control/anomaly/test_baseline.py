from __future__ import annotations

from sidecar.control.anomaly.baseline import DAYS, Baseline, Peaks
from sidecar.control.anomaly.signals import DAY, HOUR
from sidecar.control.anomaly.windows import Window

START = 20_000 * DAY


def _feed(baseline: Baseline, time: int, served: int, *, learn: bool = True) -> None:
    window = Window()
    window.add(time, served, 0, 10 * served, 0)
    baseline.advance(time, learn=learn)
    baseline.count(served, 10 * served, window)


def test_the_current_hour_and_the_one_before_are_left_out() -> None:
    baseline = Baseline()
    _feed(baseline, START, 5)
    _feed(baseline, START + HOUR, 50)
    assert baseline.usual == Peaks()
    _feed(baseline, START + 2 * HOUR, 1)
    assert (baseline.usual.hour, baseline.usual.minute) == (5, 5)
    _feed(baseline, START + 3 * HOUR, 1)
    assert baseline.usual.hour == 50


def test_what_is_usual_is_the_most_of_seven_days_of_use() -> None:
    baseline = Baseline()
    _feed(baseline, START, 1000)
    for day in range(1, DAYS + 2):
        _feed(baseline, START + day * DAY, 5)
    assert baseline.usual.hour == 1000
    _feed(baseline, START + (DAYS + 3) * DAY, 5)
    _feed(baseline, START + (DAYS + 4) * DAY, 5)
    assert baseline.usual.hour == 5


def test_days_without_use_do_not_age_it() -> None:
    baseline = Baseline()
    _feed(baseline, START, 1000)
    _feed(baseline, START + 60 * DAY, 1)
    assert baseline.usual.hour == 1000


def test_what_is_not_to_be_learnt_leaves_no_trace() -> None:
    baseline = Baseline()
    _feed(baseline, START, 5)
    _feed(baseline, START + HOUR, 1000, learn=False)
    for hour in range(2, 6):
        _feed(baseline, START + hour * HOUR, 1, learn=hour > 3)
    assert baseline.usual.hour < 1000
    assert max(baseline.week) < 1000


def test_an_idle_hour_of_the_week_fades() -> None:
    baseline = Baseline()
    assert baseline.share_of_hour(START) == 1.0
    _feed(baseline, START, 64)
    for week in range(1, 8):
        _feed(baseline, START + week * 7 * DAY + HOUR, 100)
    assert baseline.share_of_hour(START) < 0.05
    assert baseline.share_of_hour(START + HOUR) > 0.9
