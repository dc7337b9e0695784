"""The failure throttle against a model of a few lines, in virtual time."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.throttle import Throttle, source_of


@pytest.mark.parametrize(
    ("address", "source"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:aaaa::1", "2001:db8:1:2::/64"),
        ("2001:db8:1:2:bbbb::9", "2001:db8:1:2::/64"),
        ("local", "local"),
    ],
)
def test_source(address: str, source: str) -> None:
    assert source_of(address) == source


@given(
    burst=st.integers(1, 5),
    steps=st.lists(st.tuples(st.sampled_from("ab"), st.floats(0, 12)), max_size=60),
)
def test_like_a_bucket_that_leaks(burst: int, steps: list[tuple[str, float]]) -> None:
    now = 100.0
    throttle = Throttle(burst=burst, interval=3.0, clock=lambda: now)
    failures: dict[str, float] = {}
    for source, pause in steps:
        now += pause
        failures = {name: max(0.0, level - pause / 3.0) for name, level in failures.items()}
        level = failures.get(source, 0.0)
        assert (throttle.wait(source) <= 1e-6) == (level <= burst - 1 + 1e-6)
        if throttle.wait(source) == 0.0:
            throttle.charge(source)
            failures[source] = level + 1


def test_waiting_the_time_it_names_is_enough() -> None:
    now = 0.0
    throttle = Throttle(burst=3, interval=2.0, clock=lambda: now)
    for _ in range(3):
        assert throttle.wait("a") == 0.0
        throttle.charge("a")
    assert throttle.wait("a") == pytest.approx(2.0)
    now += throttle.wait("a")
    assert throttle.wait("a") == 0.0
    assert throttle.wait("b") == 0.0


def test_memory_is_bounded() -> None:
    throttle = Throttle(capacity=100)
    for number in range(1000):
        throttle.charge(str(number))
    assert len(throttle) == 100
