from __future__ import annotations

import itertools
from collections import defaultdict

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.control.anomaly.detectors.amounts import NETWORKS, REQUEST_PEAKS, SERVED, TOKEN_PEAKS, TOKENS, TOKENS_DAY
from sidecar.control.anomaly.detectors.baseline import NO_PEAKS, REQUESTS_HOUR, Baseline, Peaks, greater
from sidecar.control.anomaly.detectors.signals import DAY, HOUR
from sidecar.control.anomaly.detectors.windows import Window
from tests.control.anomaly.life import amounts, peaks

START = 20_000 * DAY
TOKENS_HOUR = TOKEN_PEAKS + 2


def _feed(baseline: Baseline, time: int, served: int, *, learn: bool = True) -> None:
    window = Window()
    sums = amounts(served=served, tokens=10 * served)
    window.add(time, sums, 0)
    baseline.advance(time, learn=learn)
    baseline.count(sums, window)


def test_the_current_hour_and_the_one_before_are_left_out() -> None:
    baseline = Baseline()
    _feed(baseline, START, 5)
    _feed(baseline, START + HOUR, 50)
    assert baseline.usual == NO_PEAKS
    _feed(baseline, START + 2 * HOUR, 1)
    assert (baseline.usual[REQUESTS_HOUR], baseline.usual[REQUEST_PEAKS]) == (5, 5)
    _feed(baseline, START + 3 * HOUR, 1)
    assert baseline.usual[REQUESTS_HOUR] == 50


def test_what_is_usual_is_the_most_of_seven_days_of_use() -> None:
    baseline = Baseline()
    _feed(baseline, START, 1000)
    for day in range(1, 9):
        _feed(baseline, START + day * DAY, 5)
    assert baseline.usual[REQUESTS_HOUR] == 1000
    _feed(baseline, START + 10 * DAY, 5)
    _feed(baseline, START + 11 * DAY, 5)
    assert baseline.usual[REQUESTS_HOUR] == 5


def test_days_without_use_do_not_age_it() -> None:
    baseline = Baseline()
    _feed(baseline, START, 1000)
    _feed(baseline, START + 60 * DAY, 1)
    assert baseline.usual[REQUESTS_HOUR] == 1000


def test_what_is_not_to_be_learnt_leaves_no_trace() -> None:
    baseline = Baseline()
    _feed(baseline, START, 5)
    _feed(baseline, START + HOUR, 1000, learn=False)
    for hour in range(2, 6):
        _feed(baseline, START + hour * HOUR, 1, learn=hour > 3)
    assert baseline.usual[REQUESTS_HOUR] < 1000
    assert max(baseline.week) < 1000


def test_an_idle_hour_of_the_week_fades() -> None:
    baseline = Baseline()
    assert baseline.share_of_hour(START) == 1.0
    _feed(baseline, START, 64)
    for week in range(1, 8):
        _feed(baseline, START + week * 7 * DAY + HOUR, 100)
    assert baseline.share_of_hour(START) < 0.05
    assert baseline.share_of_hour(START + HOUR) > 0.9


def test_a_new_baseline_knows_nothing() -> None:
    assert msgspec.to_builtins(Baseline()) == [NO_PEAKS, [], 0, list(NO_PEAKS), NO_PEAKS, 0, 0, []]
    assert not any(NO_PEAKS)


class _History:
    """Everything that was ever seen, by hour; what a baseline has to say is found by looking at all of it."""

    def __init__(self) -> None:
        self.hours: dict[int, Peaks] = {}
        self.tokens: dict[int, int] = defaultdict(int)
        self.window = Window()

    def see(self, time: int, served: int, tokens: int) -> None:
        self.window.add(time, amounts(served=served, tokens=tokens), 0)
        minute, five = self.window.minute, self.window.five
        before = self.hours.get(time // HOUR, NO_PEAKS)
        hour = [before[place] + more for place, more in ((REQUESTS_HOUR, served), (TOKENS_HOUR, tokens))]
        seen = peaks((minute[SERVED], five[SERVED], hour[0]), (minute[TOKENS], five[TOKENS], hour[1]))
        self.hours[time // HOUR] = greater(before, seen)
        self.tokens[time // DAY] += tokens

    def days(self, time: int) -> list[tuple[int, Peaks]]:
        """The last eight days with anything in an hour before the one before, or with a sum since they are over."""
        days: dict[int, Peaks] = defaultdict(lambda: NO_PEAKS)
        for hour, most in self.hours.items():
            if hour < time // HOUR - 1:
                days[hour // 24] = greater(days[hour // 24], most)
        for day, tokens in self.tokens.items():
            if tokens and day < time // DAY:
                days[day] = greater(days[day], peaks(tokens_day=tokens))
        return sorted(days.items())[-8:]

    def week(self, time: int) -> list[int]:
        """By hour of the week: half of what it was and half of what came, rounded up; half of it when nothing came."""
        week, now = [0] * 168, time // HOUR
        for hour, following in itertools.pairwise([*(hour for hour in self.hours if hour < now), now]):
            came, before = self.hours[hour][REQUESTS_HOUR], week[hour % 168]
            week[hour % 168] = -(-(before + came) // 2) if before else came
            # However long nothing comes, every hour of the week is halved once at most.
            for idle in range(hour + 1, min(following, hour + 169)):
                week[idle % 168] //= 2
        return week if now > min(self.hours) else []


GAPS = st.one_of(
    st.integers(0, 400), st.sampled_from([HOUR, 2 * HOUR, 3 * HOUR, DAY, 7 * DAY - HOUR, 7 * DAY, 7 * DAY + HOUR, 9 * DAY, 60 * DAY])
)
STEPS = st.lists(st.tuples(GAPS, st.integers(1, 99), st.integers(0, 9999)), min_size=1, max_size=40)


@given(st.integers(START, START + DAY), STEPS)
def test_it_says_what_a_look_at_all_of_the_past_says(time: int, steps: list[tuple[int, int, int]]) -> None:
    history, baseline = _History(), Baseline()
    for gap, served, tokens in steps:
        time += gap
        baseline.advance(time, learn=True)
        history.see(time, served, tokens)
        baseline.count(amounts(served=served, tokens=tokens), history.window)
        days = history.days(time)
        usual = NO_PEAKS
        for _, most in days:
            usual = greater(usual, most)
        assert (baseline.days, baseline.usual) == (days, usual)
        assert tuple(baseline.this_hour) == history.hours[time // HOUR]
        assert baseline.tokens_today == history.tokens[time // DAY]
        week = baseline.week
        assert week == history.week(time)
        share = week[time // HOUR % 168] / sum(week) if any(week) else 1.0
        assert baseline.share_of_hour(time) == share


def test_a_day_without_requests_is_one_of_use_when_networks_were_seen() -> None:
    baseline = Baseline()
    baseline.advance(START, learn=True)
    baseline.this_hour[NETWORKS] = 3
    baseline.advance(START + 2 * HOUR, learn=True)
    assert baseline.usual == peaks(networks=3)


@pytest.mark.parametrize("back", [0, HOUR])
def test_time_that_does_not_go_on_changes_nothing(back: int) -> None:
    baseline = Baseline()
    _feed(baseline, START + DAY, 5)
    before = msgspec.to_builtins(baseline)
    baseline.advance(START + DAY - back, learn=True)
    assert msgspec.to_builtins(baseline) == before


def test_a_clock_that_was_put_back_is_followed_and_what_it_counted_ahead_is_not_learnt() -> None:
    baseline = Baseline()
    _feed(baseline, START, 5)
    baseline.advance(START + HOUR, learn=True)
    baseline.advance(START + 40 * DAY, learn=True)
    days, usual = baseline.days, baseline.usual
    _feed(baseline, START + 40 * DAY, 9)
    baseline.advance(START + DAY, learn=True)
    assert (baseline.hour, baseline.today) == ((START + DAY) // HOUR, (START + DAY) // DAY)
    assert (sum(baseline.this_hour), baseline.tokens_today) == (0, 0)
    baseline.advance(START + DAY + 3 * HOUR, learn=True)
    assert (baseline.days, baseline.usual) == (days, usual)


def test_tokens_of_a_day_that_is_not_to_be_learnt_are_forgotten() -> None:
    baseline = Baseline()
    _feed(baseline, START, 5)
    baseline.advance(START + DAY, learn=False)
    assert (baseline.days, baseline.usual[TOKENS_DAY], baseline.tokens_today) == ([], 0, 0)


def test_an_hour_of_the_week_is_counted_up_to_a_bound() -> None:
    baseline = Baseline()
    _feed(baseline, START, 70_000)
    baseline.advance(START + HOUR, learn=True)
    assert max(baseline.week) == 65_535
