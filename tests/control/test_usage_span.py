from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from sidecar.control.usage_span import Cut, cut, in_days, inside

HOUR = 3600
times = st.one_of(
    st.integers(0, 20 * HOUR).map(float),
    st.integers(0, 20 * 60).map(lambda minute: minute * 60.0),
    st.floats(0, 20 * HOUR, allow_nan=False).map(lambda time: round(time, 3)),
)
hours = st.integers(0, 20).map(lambda hour: hour * HOUR)


@given(times, times, hours, hours, times, st.booleans())
def test_ranges_are_disjoint_aligned_and_cover_the_span(
    start: float,
    end: float,
    minutes_from: int,
    hours_until: int,
    calls_from: float,
    fine: bool,
) -> None:
    kept = {"minutes_from": minutes_from, "hours_until": hours_until, "calls_from": calls_from}
    made = cut(start, end, **kept, fine=fine)
    if start >= end:
        assert (made.hours, made.minutes, made.calls) == ((), (), ())
        return
    assert made.start <= start
    assert made.end >= end
    ranges = sorted([*made.hours, *made.minutes, *made.calls])
    assert ranges[0][0] == made.start
    assert ranges[-1][1] == made.end
    assert all(one[1] == other[0] for one, other in itertools.pairwise(ranges))
    assert all(time % HOUR == 0 for each in made.hours for time in each)
    assert all(time % 60 == 0 for each in made.minutes for time in each)
    assert all(first >= minutes_from for first, _ in made.minutes)
    assert all(first > calls_from - 60 for first, _ in made.calls)
    assert inside(start, made.hours + made.minutes + made.calls)


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
    assert (made.start, made.end, made.minutes) == (edges[0], edges[-1], ((edges[-1], edges[-1] + 60.0),))
