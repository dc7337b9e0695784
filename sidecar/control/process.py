"""The control process: admin API, console, /metrics and health, and the fold of what the workers report.

SIGTERM makes it unready and changes nothing else, for the workers still drain; SIGUSR2, sent when they
are gone, lets it fold the rest and end.
"""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from typing import Any

import uvloop

from sidecar import collector
from sidecar.control.listeners.serving import close, serve
from sidecar.control.parts import Parts, compose
from sidecar.settings import Settings
from sidecar.store.client import StoreUnavailable

FINISH_WITHIN = 5.0
"""Seconds in which an end folds what the spools still hold."""
SWEEP_EVERY = 2.0
"""Seconds between two looks for spool segments that may go."""
TRIM_EVERY = 2.0
"""Seconds between two looks for calls that the call log has no room for."""

_log = logging.getLogger(__name__)


def main(settings: Settings, *, ready: Callable[[], None], admin_fds: Sequence[int] = (), metrics_fds: Sequence[int] = ()) -> int:
    """Run until SIGUSR2, or until SIGINT; returns the exit code.

    `admin_fds` and `metrics_fds` are sockets to accept from, which the next control process has too; none: bind our own.
    """
    return uvloop.run(run(settings, ready=ready, admin_fds=admin_fds, metrics_fds=metrics_fds))


async def run(settings: Settings, *, ready: Callable[[], None], admin_fds: Sequence[int] = (), metrics_fds: Sequence[int] = ()) -> int:
    """As `main`, on the running event loop."""
    finish = asyncio.Event()
    parts = await compose(settings, workers=settings.proxy.worker_count)
    _handle_signals(parts, finish)
    runners = [
        await serve(parts.metrics, settings.metrics.listen, fds=metrics_fds),
        await serve(parts.admin, settings.admin.listen, settings.admin.tls, admin_fds),
    ]
    later = (*parts.background(), parts.metering.loop.run(), _sweep(parts), _trim(parts))
    # Workers wait for this, and are there to answer 503 when the store is not.
    at_once = (parts.pulse.run(), _after(parts.pulse.tried, _announce(ready)))
    tasks = [asyncio.create_task(each) for each in (*at_once, *(_after(parts.pulse.began, work) for work in later))]
    collector.settle(collector.YOUNG)
    await _until(_told(finish, parts.pulse.tried), tasks)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await _finish(parts)
    await close(runners)
    for store in parts.stores:
        await store.close()
    return 0


async def _finish(parts: Parts) -> None:
    if not await parts.metering.loop.finish(FINISH_WITHIN):
        _log.warning("the store did not take everything in time; the rest waits in the spool for the next start")
    if parts.detection is not None:
        with suppress(StoreUnavailable):
            await parts.detection.engine.finish()
    if parts.metering.access_log is not None:
        parts.metering.access_log.close()


async def _told(finish: asyncio.Event, tried: asyncio.Event) -> None:
    await finish.wait()
    # Told to finish while it still begins, it must know the store first: nothing may be folded into a foreign one.
    await tried.wait()


async def _until(end: Coroutine[Any, Any, None], tasks: list[asyncio.Task[None]]) -> None:
    """Wait for `end`; a task that ends with an error ends the process, whose supervisor starts it anew."""
    waiting = asyncio.create_task(end)
    pending: set[asyncio.Task[object]] = {waiting, *tasks}
    while not waiting.done():
        done, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()


async def _after(began: asyncio.Event, work: Coroutine[Any, Any, None]) -> None:
    """Do `work` after `began`. Most of it waits until the store has answered: before, it cannot be told from a foreign one."""
    try:
        await began.wait()
        await work
    finally:
        work.close()


async def _announce(ready: Callable[[], None]) -> None:
    ready()


async def _sweep(parts: Parts) -> None:
    while True:
        await asyncio.sleep(SWEEP_EVERY)
        await parts.metering.sweep.quietly()


async def _trim(parts: Parts) -> None:
    while True:
        with suppress(StoreUnavailable):
            # How much another store keeps is not ours to say.
            await parts.pulse.check()
            await parts.call_log.trim()
        await asyncio.sleep(TRIM_EVERY)


def _handle_signals(parts: Parts, finish: asyncio.Event) -> None:
    running = asyncio.get_running_loop()

    def unready() -> None:
        parts.readiness.stopping = True

    running.add_signal_handler(signal.SIGTERM, unready)
    running.add_signal_handler(signal.SIGUSR2, finish.set)
    running.add_signal_handler(signal.SIGINT, finish.set)
    # Held back by the supervisor while this process had no handlers: what came meanwhile is heard now.
    signal.pthread_sigmask(signal.SIG_UNBLOCK, (signal.SIGTERM, signal.SIGUSR2))
