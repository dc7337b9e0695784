"""A throttle by a clock that was ahead."""

from __future__ import annotations

from sidecar.control.anomaly.detectors.signals import DAY, HOUR
from tests.control.anomaly.conftest import Bench


async def _throttled_ahead(bench: Bench) -> int:
    """A theft while the clock is a month ahead; returns the right time, which the clock has again."""
    await bench.create("throttle")
    right = bench.now
    bench.keys.clock.now += 30 * DAY
    await bench.theft()
    assert ((await bench.read_key()).throttled_until or 0) > right + 30 * DAY
    bench.keys.clock.now = right + 120
    await bench.detection.engine.tick(bench.keys.clock.now)
    return bench.now


async def test_a_throttle_ends_in_time_by_the_clock_that_was_put_right(bench: Bench) -> None:
    now = await _throttled_ahead(bench)
    until = (await bench.read_key()).throttled_until
    assert until == now + HOUR
    bench.keys.clock.now = until + 5
    await bench.detection.engine.tick(bench.keys.clock.now)
    assert (await bench.read_key()).throttled_until == until
