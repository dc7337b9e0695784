from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from sidecar.control.anomaly.windows import Window

GAPS = st.sampled_from([0, 3, 10, 60, 300]) | st.integers(0, 200)
STEPS = st.lists(st.tuples(GAPS, st.integers(0, 9), st.integers(0, 3), st.integers(0, 99), st.integers(0, 2)), max_size=60)


@given(STEPS)
def test_running_sums_are_the_sums_of_the_last_minute_and_five(gaps: list[tuple[int, int, int, int, int]]) -> None:
    window, time, seen = Window(), 1_000_000, []
    for gap, *amounts in gaps:
        time += gap
        seen.append((time // 10, amounts))
        window.add(time, *amounts)
        for sums, steps in ((window.minute, 6), (window.five, 30)):
            recent = [known for index, known in seen if index > time // 10 - steps]
            assert sums == [sum(column) for column in zip(*recent, strict=True)]
    assert len(window.rows) <= 30
