"""The data plane of one worker, put together: every part gets what it needs here, and nowhere else."""

from __future__ import annotations

import asyncio
import itertools
import secrets
import time
from collections.abc import Callable
from typing import Protocol

from sidecar.hubs.profile import Profile
from sidecar.hubs.routing import Router
from sidecar.refusals import SHUTTING_DOWN
from sidecar.settings.declaration import Settings
from sidecar.throttle import Throttle
from sidecar.worker.accept import Accept
from sidecar.worker.answer import Answers
from sidecar.worker.client.address import ClientAddress
from sidecar.worker.client.connection import ClientConnection
from sidecar.worker.client.front import Front
from sidecar.worker.deadlines import Ticker
from sidecar.worker.dispatch import BodyInspector
from sidecar.worker.forward import Forwarder
from sidecar.worker.gateway import Gateway
from sidecar.worker.identify import Identifier, Verifier
from sidecar.worker.limit import Limit, Limiting
from sidecar.worker.meter import Meter, Spool
from sidecar.worker.open_requests import KeySource, OpenRequests
from sidecar.worker.rewrite import AnswerRewriter, RequestRewriter
from sidecar.worker.upstream.drain import Drains
from sidecar.worker.upstream.pool import HubPool
from sidecar.worker.upstream.tunnel import Tunneler

FAILURES_AT_ONCE = 120
FAILURE_INTERVAL = 0.5
"""Failed attempts of one address that are answered in full: a burst, then two a second."""


class KeyLookup(Verifier, KeySource, Protocol):
    """What the data plane may ask of the keys."""


class DataPlane:
    """Accepts connections and serves them, until it is drained."""

    def __init__(
        self,
        settings: Settings,
        profile: Profile,
        keys: KeyLookup,
        limiter: Limiting,
        spool: Spool,
        loop: asyncio.AbstractEventLoop,
        *,
        instance: str,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        proxy = settings.proxy
        via = f"sidecar-{instance}"
        self._loop = loop
        self.ticker = Ticker(loop)
        self.pool = HubPool(settings.hub, proxy.timeouts, loop, self.ticker)
        self.drains = Drains(profile.client_gone, loop)
        self.open = OpenRequests(keys, wall_clock, lambda key: ((key and key.enforcement) or settings.enforcement) == "enforce")
        meter = Meter(spool, wall_clock, loop.time)
        requests = RequestRewriter(profile, settings.hub, via)
        answers = AnswerRewriter(profile)
        forwarder = Forwarder(self.pool, requests, answers, meter, self.drains, loop.time, maps_unauthorized=bool(settings.hub.access_key))
        self.gateway = Gateway(
            enforcement=settings.enforcement,
            capacity=proxy.bounds.requests,
            accept=Accept(ClientAddress(proxy.trusted_proxies), via, _request_ids(), loop.time),
            identifier=Identifier(keys, Throttle(burst=FAILURES_AT_ONCE, interval=FAILURE_INTERVAL)),
            router=Router(profile),
            inspector=BodyInspector(profile, proxy.bounds),
            limit=Limit(limiter),
            forwarder=forwarder,
            tunneler=Tunneler(self.pool, requests, answers, meter, forwarder, loop.time),
            meter=meter,
            answers=Answers(proxy.realm),
            open_requests=self.open,
            wall_clock=wall_clock,
            loop_clock=loop.time,
        )
        self.front = Front(proxy, loop, self.ticker, self.gateway, "http" if proxy.tls is None else "https")

    def connection(self) -> ClientConnection:
        """The protocol of a new client connection."""
        return ClientConnection(self.front)

    async def drain(self, timeout: float) -> None:
        """Let open requests end for `timeout` seconds, then break them off so that none looks complete."""
        self.front.drain()
        if self.front.tasks:
            await asyncio.wait(self.front.tasks, timeout=timeout)
        self.open.cut_all(SHUTTING_DOWN)
        for connection in list(self.front.connections):
            connection.abort()
        self.pool.close()
        if self.front.tasks:
            await asyncio.wait(self.front.tasks, timeout=1.0)
        self.ticker.stop()


def _request_ids() -> Callable[[], str]:
    """Ids that are unique over all workers and starts: a random beginning and a count."""
    begin = secrets.token_hex(6)
    numbers = itertools.count(1)
    return lambda: f"req_{begin}{next(numbers):08x}"
