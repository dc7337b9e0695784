"""What the parts of a data plane have in common: the clock that durations are measured with."""

from __future__ import annotations

import itertools

from tests.control.support.events import sums_of
from tests.worker.plane import running


async def test_durations_are_finer_than_the_loops_milliseconds() -> None:
    async with running() as plane:
        reader, writer = await plane.open()
        for _ in range(200):
            writer.write(plane.get(close=False))
            await reader.readuntil(b'{"ok":true}')
        events = await plane.event(200)
    for measure in ("auth", "total", "hub_time", "first_byte"):
        values = [getattr(event, measure) for event in events]
        assert all(values) and any(round(1e6 * value) % 1000 for value in values), measure
    for event in events:
        assert event.auth + event.hub_time < event.total and event.first_byte < event.total
    ((_, latency),) = sums_of(*events).latencies
    assert latency.auth_sum > 0


async def test_every_part_measures_with_the_same_clock() -> None:
    """One that goes on by a second with each look at it, so it also counts how often a request is timed."""
    seconds = itertools.count(1_000_000)
    async with running(clock=lambda: float(next(seconds))) as plane:
        await plane.exchange(plane.post(b"{}"))
        plane.keys.cold.add(plane.key.encode())
        await plane.exchange(plane.post(b"{}"))
        await plane.exchange(plane.get(key="nobody"))
        measured = [(event.auth, event.first_byte, event.hub_time, event.total, event.queue) for event in await plane.event(3)]
    assert measured == [(1, 4, 2, 6, 0), (2, 6, 2, 8, 0), (2, 0, 0, 5, 0)]
