"""How long a WebSocket goes on, in virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeVar

import pytest

from sidecar.settings.declaration import Timeouts
from sidecar.worker.deadlines import DeadlineQueue, Ticker
from sidecar.worker.upstream.pipe import Tunnel, TunnelDeadlines

Item = TypeVar("Item")
TIMEOUTS = Timeouts()


class Wire(asyncio.Transport):
    """One side's transport."""

    def __init__(self) -> None:
        super().__init__()
        self.written = 0
        self.taken = 0
        self.reading = True
        self.aborted = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written += len(data)

    def get_write_buffer_size(self) -> int:
        return self.written - self.taken

    def is_closing(self) -> bool:
        return self.aborted

    def abort(self) -> None:
        self.aborted = True

    def close(self) -> None:
        self.aborted = True

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True


class VirtualTicker(Ticker):
    def __init__(self) -> None:
        super().__init__(asyncio.get_running_loop())
        self.now = 0.0

    def queue(self, patience: float, expired: Callable[[Item], None]) -> DeadlineQueue[Item]:  # type: ignore[type-var]
        queue: DeadlineQueue[Item] = DeadlineQueue(patience, lambda: self.now, expired)  # type: ignore[type-var]
        self._queues.append(queue)  # type: ignore[arg-type]
        return queue

    def wait(self, seconds: float) -> None:
        for _ in range(int(seconds)):
            self.now += 1.0
            for queue in self._queues:
                queue.tick(self.now)


class Case:
    def __init__(self) -> None:
        self.ticker = VirtualTicker()
        self.counted = 0
        self.tunnel = Tunnel(TunnelDeadlines(TIMEOUTS, self.ticker), self._count)
        self.client, self.hub = Wire(), Wire()

    def _count(self) -> None:
        self.counted += 1

    def begin(self) -> None:
        self.tunnel.join(self.client, self.hub)

    @property
    def cut(self) -> str:
        assert self.client.aborted == self.hub.aborted == bool(self.tunnel.cut_for)
        return self.tunnel.cut_for


@pytest.mark.parametrize("speaker", ["to_hub", "to_client"])
async def test_who_hears_from_one_side_alone_goes_on(speaker: str) -> None:
    case = Case()
    case.begin()
    for _ in range(10):
        case.ticker.wait(TIMEOUTS.hub_idle - 1)
        getattr(case.tunnel, speaker).data_received(b"\x89\x00")
    assert not case.cut
    case.ticker.wait(TIMEOUTS.hub_idle + 1)
    assert case.cut == "silence"


@pytest.mark.parametrize(("deaf", "patience"), [("client", TIMEOUTS.write_idle), ("hub", TIMEOUTS.hub_idle)])
async def test_who_takes_nothing_is_cut_and_who_takes_little_is_not(deaf: str, patience: float) -> None:
    case = Case()
    case.begin()
    wire = getattr(case, deaf)
    away, back = (case.tunnel.to_hub, case.tunnel.to_client) if deaf == "client" else (case.tunnel.to_client, case.tunnel.to_hub)
    back.data_received(bytes(100_000))
    away.pause_writing()
    assert not (case.hub if deaf == "client" else case.client).reading

    def wait() -> None:
        # It speaks all the while.
        for _ in range(4):
            away.data_received(b"ping")
            case.ticker.wait(patience / 4)

    for _ in range(5):
        wire.taken += 1
        wait()
    assert not case.cut
    wait()
    wait()
    assert case.cut == deaf


@pytest.mark.parametrize("slow", ["client", "hub"])
async def test_who_takes_little_is_not_cut_for_the_silence_of_whom_that_holds_back(slow: str) -> None:
    case = Case()
    case.begin()
    (case.tunnel.to_hub if slow == "client" else case.tunnel.to_client).pause_writing()
    for _ in range(int(3 * TIMEOUTS.hub_idle)):
        getattr(case, slow).taken += 1
        case.ticker.wait(1)
    assert not case.cut
    (case.tunnel.to_hub if slow == "client" else case.tunnel.to_client).resume_writing()
    case.ticker.wait(2 * TIMEOUTS.hub_idle + 1)
    assert case.cut == "silence"


async def test_whatever_comes_is_counted_at_once() -> None:
    case = Case()
    case.begin()
    before = case.counted
    case.tunnel.to_hub.data_received(b"ab")
    case.tunnel.to_client.data_received(b"c")
    assert (case.counted - before, case.tunnel.to_hub.moved, case.tunnel.to_client.moved) == (2, 2, 1)


async def test_who_takes_all_again_is_not_waited_for_any_more() -> None:
    case = Case()
    case.begin()
    case.tunnel.to_hub.pause_writing()
    case.tunnel.to_hub.resume_writing()
    assert case.hub.reading
    case.ticker.wait(TIMEOUTS.hub_idle - 1)
    assert not case.cut


async def test_who_was_full_before_it_began_holds_the_other_side_back() -> None:
    case = Case()
    case.tunnel.to_hub.pause_writing()
    case.begin()
    assert not case.hub.reading and case.client.reading
    case.tunnel.to_hub.resume_writing()
    assert case.hub.reading


async def test_an_end_that_is_not_taken_is_waited_for_no_longer_than_silence() -> None:
    case = Case()
    case.begin()
    ended = asyncio.ensure_future(case.tunnel.ended())
    case.tunnel.to_hub.data_received(b"the end")
    case.client.aborted = True
    case.tunnel.to_hub.connection_lost(None)
    case.ticker.wait(TIMEOUTS.hub_idle + 1)
    assert case.cut == "silence"
    case.tunnel.to_client.connection_lost(None)
    await asyncio.wait_for(ended, 20)
    assert not any(queue.waiting for queue in case.ticker._queues)
