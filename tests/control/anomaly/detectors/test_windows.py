from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from sidecar.control.anomaly.detectors.amounts import SERVED, STEP_NUMBER, STRANGE
from sidecar.control.anomaly.detectors.windows import SMALL, Window
from tests.control.anomaly.life import amounts

GAPS = st.sampled_from([0, 3, 10, 60, 300]) | st.integers(0, 200)
AMOUNTS = st.builds(amounts, served=st.integers(0, 9), refused=st.integers(0, 3), tokens=st.integers(0, 99))
STEPS = st.lists(st.tuples(GAPS, AMOUNTS, st.integers(0, 2)), max_size=60)


@given(STEPS)
def test_running_sums_are_the_sums_of_the_last_minute_and_five(steps: list[tuple[int, list[int], int]]) -> None:
    window, time, seen = Window(), 1_000_000, []
    for gap, sums, strange in steps:
        time += gap
        window.add(time, sums, strange)
        seen.append((time // 10, [strange if place == STRANGE else amount for place, amount in enumerate(sums)]))
        for running, within in ((window.minute, 6), (window.five, 30)):
            recent = [known for number, known in seen if number > time // 10 - within]
            assert running == [sum(column) for column in zip(*recent, strict=True)]
    kept = sorted({number for number, _ in seen if number > time // 10 - 30})
    assert [window.base + row[STEP_NUMBER] for row in window.rows] == kept


def test_numbers_of_steps_stay_small_however_long_a_key_is_used() -> None:
    window = Window()
    for time in range(1_900_000_000, 1_900_000_000 + 10_000, 10):
        window.add(time, amounts(served=1), 0)
        assert 0 <= window.rows[0][STEP_NUMBER] <= window.rows[-1][STEP_NUMBER] <= SMALL
    assert window.five[SERVED] == 30


def test_a_window_whose_steps_count_from_nothing_goes_on() -> None:
    """As it was stored before there was a base."""
    window = Window([7, 0, 0, 0], [7, 0, 0, 0], [[3, 0, 0, 0, 190_000_000], [4, 0, 0, 0, 190_000_001]])
    window.add(1_900_000_020, amounts(served=1), 0)
    assert window.five[SERVED] == window.minute[SERVED] == 8
    window.add(1_900_000_300, amounts(served=1), 0)
    assert (window.five[SERVED], window.minute[SERVED]) == (6, 1)


def test_a_clock_that_was_put_back_adds_nothing_up_for_ever() -> None:
    window = Window()
    window.add(1_900_003_600, amounts(served=1), 0)
    for time in range(1_900_000_000, 1_900_001_000, 10):
        window.add(time, amounts(served=1), 0)
    assert (window.minute[SERVED], window.five[SERVED]) == (6, 30)


def test_what_comes_a_little_late_counts_with_the_newest() -> None:
    window = Window()
    for time in (1_900_000_000, 1_900_000_030, 1_900_000_010):
        window.add(time, amounts(served=1), 0)
    assert window.minute[SERVED] == 3
    window.add(1_900_000_090, amounts(served=1), 0)
    assert (window.minute[SERVED], window.five[SERVED]) == (1, 4)
