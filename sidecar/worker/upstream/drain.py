"""Reads the hub's answer on when its client has left, within bounds, since the hub bills it anyway."""

from __future__ import annotations

import asyncio

from sidecar.hubs.profile import ClientGone
from sidecar.worker.upstream.connection import HubConnection


class Drains:
    """The drains of one worker, by the `policy` of its hub profile."""

    def __init__(self, policy: ClientGone, loop: asyncio.AbstractEventLoop) -> None:
        self._policy = policy
        self._loop = loop
        self._active: dict[HubConnection, asyncio.TimerHandle] = {}
        self._read: dict[HubConnection, int] = {}
        self.ended = {"complete": 0, "cut": 0}
        """How drains ended, since the worker began."""

    def __len__(self) -> int:
        return len(self._active)

    def begin(self, hub: HubConnection) -> bool:
        """Whether the answer on `hub` is to be read on; if so its time starts now."""
        policy = self._policy
        if policy.action != "drain" or not hub.request_complete or len(self._active) >= policy.concurrent:
            return False
        if hub not in self._active:
            self._active[hub] = self._loop.call_later(policy.seconds, hub.abort, "drain_timeout")
            self._read[hub] = 0
        return True

    def count(self, hub: HubConnection, size: int) -> None:
        """Count what was read; ends the drain beyond its size."""
        if hub in self._active:
            self._read[hub] += size
            if self._read[hub] > self._policy.bytes:
                hub.abort("drain_size")

    def end(self, hub: HubConnection) -> None:
        """The exchange on `hub` is over."""
        timer = self._active.pop(hub, None)
        if timer is not None:
            timer.cancel()
            self.ended["complete" if hub.complete else "cut"] += 1
            del self._read[hub]
