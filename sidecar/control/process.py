"""The control process: admin API, console, /metrics and health, and the fold of what the workers report.

SIGTERM makes it unready and changes nothing else, for the workers still drain; SIGUSR2, sent when they
are gone, lets it fold the rest and end.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from collections.abc import Callable
from contextlib import suppress

import uvloop

from sidecar.control.anomaly.compose import Detection
from sidecar.control.parts import Parts, compose
from sidecar.control.serving import serve
from sidecar.control.sweep import sweep_quietly
from sidecar.settings import Settings
from sidecar.store.client import StoreUnavailable

FINISH_WITHIN = 5.0
SWEEP_EVERY = 2.0
TRIM_EVERY = 2.0

_log = logging.getLogger(__name__)


def main(settings: Settings, *, ready: Callable[[], None]) -> int:
    """Run until SIGUSR2, or until SIGINT; returns the exit code."""
    return uvloop.run(run(settings, ready=ready))


async def run(settings: Settings, *, ready: Callable[[], None]) -> int:
    """As `main`, on the running event loop."""
    finish = asyncio.Event()
    parts = await compose(settings, workers=_worker_count(settings))
    _handle_signals(parts, finish)
    runners = [
        await serve(parts.metrics, settings.metrics.listen),
        await serve(parts.admin, settings.admin.listen, settings.admin.tls),
    ]
    tasks = [
        asyncio.create_task(parts.pulse.run(), name="pulse"),
        asyncio.create_task(parts.watch.run(), name="key watch"),
        asyncio.create_task(_fold(parts), name="fold"),
        asyncio.create_task(_sweep(parts), name="sweep"),
        asyncio.create_task(_trim(parts), name="call log"),
        asyncio.create_task(_announce(parts, ready), name="ready"),
    ]
    if parts.detection is not None:
        tasks.append(asyncio.create_task(_detect(parts.detection, parts), name="anomaly detection"))
        tasks.append(asyncio.create_task(parts.detection.delivery.run(), name="notifications"))
    await _until(finish, tasks)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    if not await parts.loop.finish(FINISH_WITHIN):
        _log.warning("the store did not take everything in time; the rest waits in the spool for the next start")
    if parts.detection is not None:
        with suppress(StoreUnavailable):
            await parts.detection.engine.finish()
    for runner in runners:
        await runner.cleanup()
    if parts.access_log is not None:
        parts.access_log.close()
    for store in parts.stores:
        await store.close()
    return 0


async def _until(finish: asyncio.Event, tasks: list[asyncio.Task[None]]) -> None:
    """Wait for `finish`; a task that ends with an error ends the process, whose supervisor starts it anew."""
    waiting = asyncio.create_task(finish.wait())
    pending: set[asyncio.Task[object]] = {waiting, *tasks}
    while not waiting.done():
        done, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()


async def _fold(parts: Parts) -> None:
    await parts.pulse.began.wait()
    await parts.loop.run()


async def _detect(detection: Detection, parts: Parts) -> None:
    await parts.pulse.began.wait()
    await detection.engine.run()


async def _announce(parts: Parts, ready: Callable[[], None]) -> None:
    await parts.pulse.began.wait()
    ready()


async def _sweep(parts: Parts) -> None:
    await parts.pulse.began.wait()
    while True:
        await asyncio.sleep(SWEEP_EVERY)
        await sweep_quietly(parts.sweep)


async def _trim(parts: Parts) -> None:
    await parts.pulse.began.wait()
    while True:
        with suppress(StoreUnavailable):
            await parts.call_log.trim()
        await asyncio.sleep(TRIM_EVERY)


def _handle_signals(parts: Parts, finish: asyncio.Event) -> None:
    running = asyncio.get_running_loop()

    def unready() -> None:
        parts.readiness.stopping = True

    running.add_signal_handler(signal.SIGTERM, unready)
    running.add_signal_handler(signal.SIGUSR2, finish.set)
    running.add_signal_handler(signal.SIGINT, finish.set)


def _worker_count(settings: Settings) -> int:
    return len(os.sched_getaffinity(0)) if settings.proxy.workers == "auto" else settings.proxy.workers
