"""Coroutines that are driven by signals and futures, without a task."""

from __future__ import annotations

import asyncio
import gc
import weakref
from collections.abc import Callable

import pytest

from sidecar.worker.drive import Drive, Signal


async def turns(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(2):
        while not condition():
            await asyncio.sleep(0)


async def test_what_waits_for_nothing_ends_at_once() -> None:
    done: list[str] = []

    async def work() -> None:
        done.append("here")

    ended: list[Drive] = []
    drive = Drive(work(), asyncio.get_running_loop(), ended.append)
    assert drive.start() is False and done == ["here"] and not drive.waits
    assert ended == [], "only what was waited for is told"


async def test_a_signal_goes_on_within_the_call() -> None:
    loop = asyncio.get_running_loop()
    signal = Signal(loop)
    seen: list[int] = []

    async def work() -> None:
        for number in range(3):
            await signal
            seen.append(number)

    ended: list[Drive] = []
    drive = Drive(work(), loop, ended.append)
    assert drive.start() and seen == []
    signal.wake()
    signal.wake()
    assert seen == [0, 1] and ended == []
    signal.wake_soon()
    assert seen == [0, 1]
    await turns(lambda: seen == [0, 1, 2])
    assert ended == [drive] and not drive.waits
    signal.wake()


async def test_a_wake_that_nobody_waits_for_is_not_kept() -> None:
    loop = asyncio.get_running_loop()
    signal = Signal(loop)
    signal.wake()
    signal.wake_soon()

    async def work() -> None:
        await signal

    drive = Drive(work(), loop)
    assert drive.start()
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert drive.waits
    drive.cancel()


async def test_futures_sleeps_and_tasks_are_awaited_as_everywhere() -> None:
    loop = asyncio.get_running_loop()
    future: asyncio.Future[int] = loop.create_future()
    got: list[object] = []

    async def fail() -> None:
        raise ValueError("told")

    async def work() -> None:
        got.append(await future)
        await asyncio.sleep(0)
        await asyncio.sleep(0.001)
        got.extend(await asyncio.gather(asyncio.sleep(0, "a"), asyncio.sleep(0, "b")))
        try:
            await loop.create_task(fail())
        except ValueError as error:
            got.append(str(error))

    ended: list[Drive] = []
    assert Drive(work(), loop, ended.append).start()
    future.set_result(7)
    await turns(lambda: bool(ended))
    assert got == [7, "a", "b", "told"]


async def test_cancelling_raises_where_it_waits_and_happens_once() -> None:
    loop = asyncio.get_running_loop()
    signal = Signal(loop)
    seen: list[str] = []

    async def work() -> None:
        try:
            await signal
        except asyncio.CancelledError:
            seen.append("cancelled")
            raise

    ended: list[Drive] = []
    drive = Drive(work(), loop, ended.append)
    drive.start()
    drive.cancel()
    drive.cancel()
    signal.wake()
    assert seen == ["cancelled"] and ended == [drive]


async def test_a_cancelled_wait_for_a_future_does_not_go_on_later() -> None:
    loop = asyncio.get_running_loop()
    future: asyncio.Future[None] = loop.create_future()
    seen: list[str] = []

    async def work() -> None:
        await future
        seen.append("went on")

    drive = Drive(work(), loop)
    drive.start()
    drive.cancel()
    future.set_result(None)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert seen == []


async def test_a_fault_reaches_whoever_woke_it() -> None:
    loop = asyncio.get_running_loop()
    signal = Signal(loop)

    async def work() -> None:
        await signal
        raise ValueError("a fault")

    ended: list[Drive] = []
    drive = Drive(work(), loop, ended.append)
    drive.start()
    with pytest.raises(ValueError, match="a fault"):
        signal.wake()
    assert ended == [drive]


async def test_nothing_is_left_for_the_collector() -> None:
    loop = asyncio.get_running_loop()
    signal = Signal(loop)

    async def work() -> None:
        await signal

    coroutine = work()
    drive = Drive(coroutine, loop)
    drive.start()
    trace = weakref.ref(coroutine)
    gc.collect()
    gc.disable()
    try:
        signal.wake()
        del drive, coroutine
        assert trace() is None
    finally:
        gc.enable()
