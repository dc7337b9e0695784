"""A worker process: opens what the data plane needs, serves until told to drain, tells its state once a second."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
import os
import resource
import signal
import socket
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import uvloop

from sidecar import collector
from sidecar.events.record import NO_LEASE, WorkerState
from sidecar.events.spool import SpoolWriter
from sidecar.events.wire import encode
from sidecar.hubs.load import load_profile
from sidecar.keys import setup
from sidecar.keys.cache import KeyCache
from sidecar.keys.lease import Lease
from sidecar.keys.lookup import Lookup
from sidecar.keys.reader import KeyReader
from sidecar.keys.rehash import Rehasher
from sidecar.keys.repository import KeyRepository
from sidecar.limits.admission import Limiter
from sidecar.listening import bind
from sidecar.settings.declaration import Settings
from sidecar.store.client import Store, connect
from sidecar.worker import queued
from sidecar.worker.descriptors import fit
from sidecar.worker.plane import DataPlane
from sidecar.worker.propagation import Propagation

_log = logging.getLogger(__name__)

STATE_INTERVAL = 1.0
"""Seconds between two reports of a worker's state."""
COMPLAINT_INTERVAL = 30.0
"""Seconds between two log lines about the same lasting fault."""
BACKLOG = 4096
"""Connections that may wait in the kernel to be accepted."""


def main(settings: Settings, *, index: int, listen_fds: Sequence[int], ready: Callable[[], None]) -> int:
    """Be worker number `index`. `listen_fds` are sockets to accept from, which others may have too; without any we bind our own."""
    return run(settings, index, listen_fds, ready, DataPlane)


def run(settings: Settings, index: int, listen_fds: Sequence[int], ready: Callable[[], None], plane: type[DataPlane]) -> int:
    """As `main`, for a data plane of any kind."""
    uvloop.run(_run(settings, index, listen_fds, ready, plane))
    return 0


async def _run(settings: Settings, index: int, listen_fds: Sequence[int], ready: Callable[[], None], plane: type[DataPlane]) -> None:
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    fitting = fit(settings, limit)
    if fitting != settings:
        connections, hubs = fitting.proxy.bounds.connections, fitting.hub.max_connections
        _log.warning("only %d file descriptors: %d client and %d hub connections; raise `ulimit -n`", limit, connections, hubs)
    settings = fitting
    async with contextlib.AsyncExitStack() as stack:
        data_dir = Path(settings.data_dir)
        store = await connect(settings.store, data_dir)
        stack.push_async_callback(store.close)
        worker = Worker(settings, index, store, asyncio.get_running_loop(), plane)
        await worker.serve(_listeners(settings, listen_fds), ready)


class Worker:
    """One worker: the data plane, the lease on its key cache, its spool, its state reports."""

    def __init__(
        self, settings: Settings, index: int, store: Store, loop: asyncio.AbstractEventLoop, plane: type[DataPlane] = DataPlane
    ) -> None:
        data_dir = Path(settings.data_dir)
        # The control process tells the operator of a store that is not the known one. What is written here is what the rehasher moves.
        made = setup.prepare(settings, level=logging.DEBUG, only_reads=True)
        digester, adoption = made.digester, made.adoption
        spool_directory = data_dir / "spool"
        spool_directory.mkdir(mode=0o700, exist_ok=True)
        self._settings = settings
        self._index = index
        self._store = store
        self._loop = loop
        spool, writers = settings.spool, settings.proxy.worker_count + 1
        self._spool = SpoolWriter(spool_directory, segment_bytes=spool.segment_bytes, max_bytes=spool.max_bytes, writers=writers)
        self._cache = KeyCache(settings.keys.cache_size)
        self._lease = Lease(store, adoption, self._cache, self._key_changed)
        stale = settings.store.max_stale if settings.store.on_unavailable == "serve_cached" else 0.0
        lookup = Lookup(KeyReader(store, adoption), self._cache, self._lease, digester, max_stale=stale)
        self._propagation = Propagation(lookup, time.time)
        self._limiter = Limiter(store, settings.enforcement)
        profile = load_profile(settings.hub.profile)
        self._rehasher = Rehasher(KeyRepository(store, adoption, digester), digester, forget=self._cache.forget_key)
        self._plane = plane(
            settings, profile, lookup, self._limiter, self._spool, loop, instance=instance_name(data_dir), accepted=self._rehasher.offer
        )
        self._stopping = asyncio.Event()
        self._lost = 0
        """Events that were lost, as far as the log has told."""
        self._complain_at = 0.0

    async def serve(self, listeners: Sequence[socket.socket], ready: Callable[[], None]) -> None:
        """Serve `listeners` until SIGTERM, then drain."""
        for number in (signal.SIGTERM, signal.SIGINT):
            self._loop.add_signal_handler(number, self._stopping.set)
        background = [asyncio.create_task(work) for work in (self._lease.run(), self._limiter.run(), self._report())]
        # A unix socket too: with Python 3.13 a server of create_unix_server takes the file away when it closes, also from its successor.
        servers = [await self._loop.create_server(self._plane.connection, sock=each, backlog=BACKLOG) for each in listeners]
        await self._plane.start()
        collector.settle()
        ready()
        _log.info("worker %d serves on %s", self._index, self._settings.proxy.listen)
        ending = asyncio.create_task(self._stopping.wait())
        await asyncio.wait([ending, *background], return_when=asyncio.FIRST_COMPLETED)
        closing = zip(servers, listeners, strict=True)
        await asyncio.gather(*(queued.close(server, each, BACKLOG, self._plane.connection) for server, each in closing))
        await self._plane.drain(self._settings.proxy.drain_timeout)
        await self._limiter.close()
        await self._rehasher.close()
        for task in background:
            task.cancel()
        failures = [result for result in await asyncio.gather(*background, return_exceptions=True) if isinstance(result, Exception)]
        self._write_state()
        self._spool.close()
        if failures:
            raise failures[0]

    def _key_changed(self, key_id: str | None) -> None:
        self._plane.open.key_changed(key_id)
        if key_id is not None:
            self._propagation.key_changed(key_id)

    async def _report(self) -> None:
        while True:
            self._write_state()
            self._complain()
            self._plane.pool.tidy()
            self._plane.open.tick()
            await asyncio.sleep(STATE_INTERVAL)

    def _complain(self) -> None:
        """Say in the log that events are lost: a spool that cannot be written cannot say so itself."""
        lost, now = self._spool.dropped - self._lost, self._loop.time()
        if lost and now >= self._complain_at:
            _log.error("%d events were lost: the spool in data_dir cannot be written; free disk space or raise spool.max_bytes", lost)
            self._lost, self._complain_at = self._spool.dropped, now + COMPLAINT_INTERVAL

    def _write_state(self) -> None:
        plane = self._plane
        state = WorkerState(
            time=time.time(),
            worker=self._index,
            pid=os.getpid(),
            in_flight=plane.open.in_flight(),
            lease_age=min(self._lease.age(), NO_LEASE),
            loop_lag=plane.ticker.take_lag(),
            connections=len(plane.front.connections) + plane.front.sockets,
            hub_connections=plane.pool.size,
            draining=len(plane.drains),
            cache=dict(self._cache.counters),
            store_up=self._store.failure is None,
            dropped=self._spool.dropped,
            counters=plane.counters(),
            revocation_lags=self._propagation.take(),
        )
        if not self._spool.append(encode(state)):
            # Silent, it would be taken for gone, and the sidecar for not ready, though it serves.
            self._spool.touch()


def instance_name(data_dir: Path) -> str:
    """A short name for this sidecar, the same in all its workers, that no other sidecar shares: `Via` needs one."""
    text = f"{socket.gethostname()}:{data_dir.resolve()}"
    return hashlib.blake2b(text.encode(), digest_size=4).hexdigest()


def _listeners(settings: Settings, listen_fds: Sequence[int]) -> list[socket.socket]:
    for fd in listen_fds:
        os.set_inheritable(fd, False)
    listeners = [socket.socket(fileno=fd) for fd in listen_fds] or [bind(settings.proxy.listen)]
    for each in listeners:
        each.setblocking(False)
    return listeners
