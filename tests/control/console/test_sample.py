"""What single calls tell: quantiles by step, networks and agents by number."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from sidecar.control.console.sample import quantile, sample
from sidecar.control.console.spans import Span
from tests.control.support.events import denied, request


@given(st.lists(st.floats(0, 1e6), min_size=1))
def test_quantiles_are_among_the_values_and_in_order(values: list[float]) -> None:
    ordered = sorted(values)
    middle, slow = quantile(ordered, 0.5), quantile(ordered, 0.95)
    assert middle in ordered and slow in ordered and middle is not None and slow is not None
    assert middle <= slow
    assert sum(value <= slow for value in ordered) >= 0.95 * len(ordered)


def test_calls_by_step() -> None:
    span = Span("1h", "", 0, 180, 60)
    calls = [request("k", time=10 + number, total=(number + 1) / 1000, client=f"c{number % 2}", agent="") for number in range(20)]
    seen = sample([*calls, denied("k", time=130)], span)
    assert seen.middle == [10.0, None, None] and seen.slow == [19.0, None, None]
    assert seen.networks[:2] == [("c0", 10), ("c1", 10)]
    assert seen.agents[0] == ("(none)", 20) and seen.calls == 21
    assert quantile([], 0.5) is None
