from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from sidecar.control.anomaly.amounts import STEP_NUMBER, STRANGE
from sidecar.control.anomaly.windows import Window
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
    assert [row[STEP_NUMBER] for row in window.rows] == sorted({number for number, _ in seen if number > time // 10 - 30})
