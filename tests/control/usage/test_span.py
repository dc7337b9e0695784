"""A span is cut into what is stored of it, and is widened only where that is gone."""

from __future__ import annotations

import itertools
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.control.queries import Step
from sidecar.control.usage.span import STEPS, Cut, cut, details_until, down, in_days, inside, minutes_read_from, numbers, up

MINUTE, HOUR = 60, 3600
times = st.one_of(
    st.integers(0, 20 * HOUR).map(float),
    st.integers(0, 20 * 60).map(lambda minute: minute * 60.0),
    st.floats(0, 20 * HOUR, allow_nan=False).map(lambda time: round(time, 3)),
)
hours = st.integers(0, 20).map(lambda hour: hour * HOUR)
EDGES = [hour * HOUR + second for hour in (1, 2) for second in (0.0, 0.5, 59.5, 60.0, 61.0, 1800.0, 3599.5)]
"""Moments at and around the edges of minutes and hours."""


def check(start: float, end: float, minutes_from: int, hours_until: int, calls_from: float, fine: bool) -> None:
    """What is true of every cut of a span that is not empty."""
    made = cut(start, end, minutes_from=minutes_from, hours_until=hours_until, calls_from=calls_from, fine=fine)
    assert down(start, HOUR) <= made.start <= start
    assert end <= made.end <= up(end, HOUR)
    ranges = sorted([*made.hours, *made.minutes, *made.calls])
    assert ranges[0][0] == made.start
    assert ranges[-1][1] == made.end
    assert all(first < last for first, last in ranges)
    assert all(one[1] == other[0] for one, other in itertools.pairwise(ranges))
    assert all(time % HOUR == 0 for each in made.hours for time in each)
    assert all(last <= (minutes_from if fine else max(minutes_from, hours_until)) for _, last in made.hours)
    assert all(time % MINUTE == 0 for each in made.minutes for time in each)
    assert all(first >= minutes_from for first, _ in made.minutes)
    assert all(one[1] < other[0] for one, other in itertools.pairwise(made.minutes)), "one range in two pieces"
    # An hour that is complete is not read minute by minute unless that is asked for.
    assert fine or all(up(first, HOUR) + HOUR > min(last, hours_until) for first, last in made.minutes)
    assert all(first > calls_from and up(last, MINUTE) - down(first, MINUTE) == MINUTE for first, last in made.calls)
    assert inside(start, made.hours + made.minutes + made.calls)
    # The span stays as it is where minutes are kept and the log has what is left of one; without the log it has that whole minute.
    if down(start, MINUTE) >= minutes_from:
        assert made.start == (start if start > calls_from else down(start, MINUTE))
    if down(end, MINUTE) >= minutes_from:
        assert made.end == (end if max(start, down(end, MINUTE)) > calls_from else up(end, MINUTE))


@given(times, times, hours, hours, times, st.booleans())
def test_ranges_are_disjoint_aligned_and_cover_the_span(
    start: float, end: float, minutes_from: int, hours_until: int, calls_from: float, fine: bool
) -> None:
    if start < end:
        check(start, end, minutes_from, hours_until, calls_from, fine)
    else:
        assert cut(start, end, minutes_from=minutes_from, hours_until=hours_until, calls_from=calls_from, fine=fine) == Cut(
            start, end, (), ()
        )


@pytest.mark.parametrize("minutes_from", [0, HOUR, 2 * HOUR, 3 * HOUR])
def test_so_they_are_wherever_edges_meet(minutes_from: int) -> None:
    for start, end in itertools.combinations(EDGES, 2):
        for hours_until in (HOUR, 2 * HOUR, 3 * HOUR):
            for calls_from in (-1.0, start, down(end, MINUTE), float("inf")):
                check(start, end, minutes_from, hours_until, calls_from, fine=True)
                check(start, end, minutes_from, hours_until, calls_from, fine=False)


@given(times, times)
def test_with_everything_kept_no_span_is_widened(start: float, end: float) -> None:
    made = cut(start, end, minutes_from=0, hours_until=1 << 30, calls_from=-1.0, fine=False)
    assert (made.start, made.end) == (start, end)


@given(st.lists(st.integers(0, 200).map(lambda hour: hour * HOUR), min_size=2, max_size=4, unique=True).map(sorted))
def test_days_take_the_place_of_the_hours_that_make_them(edges: list[int]) -> None:
    hours_ = tuple(zip(edges[::2], edges[1::2], strict=False))
    made = in_days(Cut(edges[0], edges[-1], hours_, ((edges[-1], edges[-1] + 60.0),)))
    assert all(time % (24 * HOUR) == 0 for each in made.days for time in each)
    assert all(last - first < 48 * HOUR and not (first % (24 * HOUR) == 0 and last - first >= 24 * HOUR) for first, last in made.hours)
    read = [hour for first, last in (*made.days, *made.hours) for hour in range(int(first), int(last), HOUR)]
    assert sorted(read) == [hour for first, last in hours_ for hour in range(first, last, HOUR)]
    assert all(one[1] < other[0] for one, other in itertools.pairwise(sorted(made.hours))), "one range in two pieces"
    assert (made.start, made.end, made.minutes) == (edges[0], edges[-1], ((edges[-1], edges[-1] + 60.0),))


@given(st.integers(0, 1 << 31), st.integers(0, 40 * HOUR) | st.integers(0, 40).map(lambda hour: hour * HOUR), st.integers(-1, 1))
def test_minutes_that_go_within_the_hour_are_left_to_their_hour_if_that_is_complete(now: int, kept: int, around: int) -> None:
    for moment in (now, max(now // HOUR * HOUR + kept % HOUR + around, 0)):
        first = minutes_read_from(moment, kept)
        assert first % HOUR == 0
        left = first + HOUR + kept - moment
        assert 0 < left < 2 * HOUR
        assert left >= HOUR or first >= details_until(moment), "they may go, and their hour is complete"
        assert left <= HOUR or first <= details_until(moment), "they are kept, and their hour may not be complete"


@pytest.mark.parametrize(
    ("hours_kept", "now", "first"),
    [
        (336, -1, -336), (336, 0, -336), (336, 1, -335), (3, 0, -3), (3, 1, -2), (2, -1, -2), (2, 0, -2), (2, 1, -1),
        (1.5, 0, -1), (1.5, 1800, -1), (1.5, 1801, -1), (1, -1, -2), (1, 0, -1), (1, 1, -1), (0, 0, 0), (0, 1, 0),
    ],
)  # fmt: skip
def test_minutes_that_are_read(hours_kept: float, now: int, first: int) -> None:
    """In hours from a whole one, seconds around which it is asked for."""
    assert minutes_read_from(1000 * HOUR + now, hours_kept * HOUR) == (1000 + first) * HOUR


@given(st.lists(st.tuples(st.integers(0, 500), st.integers(1, 100)), max_size=3), st.integers(1, 70))
def test_buckets_that_ranges_touch(pairs: list[tuple[int, int]], size: int) -> None:
    """In quarters of a second, for a range may end within a bucket."""
    quarters = {quarter for first, length in pairs for quarter in range(first, first + length)}
    ranges = tuple((first / 4, (first + length) / 4) for first, length in pairs)
    assert numbers(ranges, size) == sorted({quarter // (4 * size) for quarter in quarters})


def test_a_range_has_its_beginning_and_not_its_end() -> None:
    ranges = ((1.0, 2.0), (3.0, 5.0))
    assert [time for time in range(7) if inside(time, ranges)] == [1, 3, 4]


def test_every_step_that_may_be_asked_for_has_its_seconds() -> None:
    assert {step: STEPS[step] for step in get_args(Step)} == {"1m": 60, "1h": 3600, "1d": 86_400}
