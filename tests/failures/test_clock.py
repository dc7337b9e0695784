"""The wall clock jumps: expiry follows it, and nothing else does."""

from __future__ import annotations

import asyncio
import time

import pytest

from tests.worker.plane import HubSide, running

DAY = 86_400.0
SHORT = {"SIDECAR_PROXY__TIMEOUTS__HEADER": "1s", "SIDECAR_PROXY__TIMEOUTS__KEEP_ALIVE": "1s"}


class Clock:
    """The machine's clock, and how far somebody has set it forward."""

    ahead = 0.0

    def __call__(self) -> float:
        return time.time() + self.ahead


async def test_a_key_expires_by_the_clock_and_is_valid_again_when_the_clock_was_wrong() -> None:
    clock = Clock()
    async with running(wall_clock=clock) as plane:
        plane.keys.change(plane.key, expires_at=time.time() + DAY)
        assert b"200 OK" in await plane.exchange(plane.get())
        clock.ahead = 2 * DAY
        assert b"api_key_expired" in await plane.exchange(plane.get())
        clock.ahead = -365 * DAY
        assert b"200 OK" in await plane.exchange(plane.get())
        clock.ahead = 0.0
        assert b"200 OK" in await plane.exchange(plane.get())


@pytest.mark.parametrize("ahead", [DAY, -DAY, 100 * 365 * DAY])
async def test_deadlines_and_durations_do_not_know_the_wall_clock(ahead: float) -> None:
    clock = Clock()
    word = asyncio.Event()

    async def stream(side: HubSide) -> None:
        await side.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n")
        await word.wait()
        await side.send(b"1\r\nb\r\n0\r\n\r\n")

    async with running(environment=SHORT, wall_clock=clock) as plane:
        plane.hub.answer = stream
        reader, writer = await plane.open()
        writer.write(plane.get(close=False))
        await reader.readuntil(b"a\r\n")
        slow_reader, slow = await plane.open()
        slow.write(b"GET /v1 HTT")
        clock.ahead = ahead
        # No deadline of the other connection fires because of the jump, and its own fires in spite of it.
        assert (await asyncio.wait_for(slow_reader.read(-1), 30)).startswith(b"HTTP/1.1 408 ")
        word.set()
        await asyncio.wait_for(reader.readuntil(b"b\r\n0\r\n\r\n"), 30)
        event = next(event for event in plane.events.requests if event.key_id)
        assert event.outcome == "ok" and 0 < event.total < 60 and 0 <= event.first_byte <= event.total
        assert abs(event.time - clock()) < 60
        assert await asyncio.wait_for(reader.read(-1), 30) == b"", "the idle connection is closed in its time"
