"""The data plane of one worker, put together: every part gets what it needs here, and nowhere else."""

from __future__ import annotations

import asyncio
import itertools
import secrets
import time
from collections.abc import Callable
from typing import ClassVar, NamedTuple, Protocol

from sidecar.hubs.profile import Profile
from sidecar.hubs.protocol import protocol_of
from sidecar.hubs.routing import Router
from sidecar.keys.reader import Found
from sidecar.settings.declaration import Settings
from sidecar.throttle import Throttle
from sidecar.worker.accept import Accept
from sidecar.worker.answer import Answers
from sidecar.worker.client.address import ClientAddress
from sidecar.worker.client.connection import ClientConnection
from sidecar.worker.client.front import Front, Serving
from sidecar.worker.client.secure import SecureConnection
from sidecar.worker.deadlines import Ticker
from sidecar.worker.enforce import Enforcer, life_mode
from sidecar.worker.forward import Forwarder
from sidecar.worker.gateway import Gateway
from sidecar.worker.identify import Identifier, Verifier
from sidecar.worker.inspection import BodyInspector
from sidecar.worker.limit import Limit, Limiting
from sidecar.worker.meter import Meter, Spool
from sidecar.worker.open_requests import KeySource, OpenRequests
from sidecar.worker.rewrite import AnswerRewriter, RequestRewriter, rewriter_for
from sidecar.worker.tls import tls_context
from sidecar.worker.upstream.drain import Drains
from sidecar.worker.upstream.pool import HubPool
from sidecar.worker.upstream.tunnel import Tunneler

FAREWELL_SECONDS = 1.0
"""How long clients have to take the news that their requests will not be answered."""
FAILURES_AT_ONCE = 120
FAILURE_INTERVAL = 0.5
"""Failed attempts of one address that are answered in full: a burst, then two a second."""


class KeyLookup(Verifier, KeySource, Protocol):
    """What the data plane may ask of the keys."""


class Parts(NamedTuple):
    """The stages that every way of serving has in common."""

    settings: Settings
    profile: Profile
    enforcer: Enforcer
    router: Router
    inspector: BodyInspector
    limit: Limit
    requests: RequestRewriter
    meter: Meter
    answers: Answers


class DataPlane:
    """Accepts connections and serves them, until it is drained."""

    behind_proxy: ClassVar[bool] = False
    """Whether only a proxy connects, whose word on the client's address counts."""

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
        accepted: Callable[[Found, bytes], None],
        wall_clock: Callable[[], float] = time.time,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`accepted` gets each live key that was asked from the store, with its token; it must not wait.

        `clock` counts the seconds that things take. The loop's own time is for deadlines: with uvloop it has whole milliseconds,
        and stands still while the loop is busy.

        Raises OSError or ssl.SSLError when the certificate of `proxy.tls` cannot be used.
        """
        proxy = settings.proxy
        via = f"sidecar-{instance}"
        self._loop = loop
        self._clock = clock
        self.ticker = Ticker(loop)
        self.pool = HubPool(settings.hub, proxy.timeouts, loop, self.ticker)
        self.drains = Drains(profile.client_gone, loop)
        # Every request that is under way holds a hub connection, so there is no place for more of them.
        places = min(proxy.bounds.requests, settings.hub.max_connections)
        answers = Answers(proxy.realm)
        self.open = OpenRequests(keys, answers, wall_clock, lambda key: life_mode(settings.enforcement, key) == "enforce", places)
        addresses = ClientAddress(proxy.trusted_proxies, behind_proxy=self.behind_proxy)
        self._accept = Accept(addresses, via, _request_ids(), clock)
        identifier = Identifier(keys, Throttle(burst=FAILURES_AT_ONCE, interval=FAILURE_INTERVAL), accepted)
        inspector = BodyInspector(profile, proxy.bounds)
        parts = Parts(
            settings=settings,
            profile=profile,
            enforcer=Enforcer(settings.enforcement, identifier, inspector, wall_clock=wall_clock, clock=clock),
            router=Router(profile),
            inspector=inspector,
            limit=Limit(limiter),
            requests=rewriter_for(proxy.listen, profile, settings.hub, via),
            meter=Meter(spool, wall_clock, clock),
            answers=answers,
        )
        self._forwarder = Forwarder(
            self.pool,
            parts.requests,
            AnswerRewriter(profile),
            parts.meter,
            self.drains,
            loop,
            clock,
            # Of an AIGNE Hub's client no credential passes, so even without a key of ours its 401 is not about the client.
            maps_unauthorized=bool(settings.hub.access_key) or protocol_of(profile) == "aigne",
        )
        self._tls = None if proxy.tls is None else tls_context(proxy.tls)
        self.front = Front(proxy, loop, self.ticker, self._serving(parts), "http" if proxy.tls is None else "https", clock)

    def _serving(self, parts: Parts) -> Serving:
        """What answers requests."""
        requests, meter = parts.requests, parts.meter
        return Gateway(
            accept=self._accept,
            enforcer=parts.enforcer,
            router=parts.router,
            inspector=parts.inspector,
            limit=parts.limit,
            forwarder=self._forwarder,
            tunneler=Tunneler(self.pool, requests, AnswerRewriter(parts.profile), meter, self._forwarder, self._clock),
            meter=meter,
            answers=parts.answers,
            open_requests=self.open,
        )

    async def start(self) -> None:
        """Begin to keep deadlines; call it before the first connection."""
        self.ticker.start()

    def connection(self) -> ClientConnection:
        """The protocol of a new client connection, also for TLS that of a plain server."""
        return ClientConnection(self.front) if self._tls is None else SecureConnection(self.front, self._tls)

    def counters(self) -> dict[str, int]:
        """What was counted since the worker began, by metric name; a label's value follows a colon."""
        counted = {
            "sidecar_requests_started_total": self._accept.started,
            "sidecar_connections_total": self.front.accepted,
            "sidecar_upstream_truncated_total": self._forwarder.truncated,
        }
        return counted | {f"sidecar_drained_total:{result}": count for result, count in self.drains.ended.items()}

    async def drain(self, timeout: float) -> None:
        """Let open requests end for `timeout` seconds, then break them off so that none looks complete."""
        end = self._loop.time() + timeout
        self.front.drain()
        while self.front.awaits_first() and self._loop.time() < end:  # noqa: ASYNC110  # nobody tells when a client asks
            await asyncio.sleep(0.02)
        self.front.close_idle()
        await self.front.served(end - self._loop.time())
        await self.front.sent(end - self._loop.time())
        self.open.cut_all()
        # What they are told is written in the loop's next turn.
        await asyncio.sleep(0)
        await self.front.sent(FAREWELL_SECONDS)
        for connection in list(self.front.connections):
            connection.abort()
        self.pool.close()
        await self.front.served(1.0)
        for request in list(self.front.requests):
            request.cancel()
        self.ticker.stop()


def _request_ids() -> Callable[[], str]:
    """Ids that are unique over all workers and starts: a random beginning and a count."""
    begin = f"req_{secrets.token_hex(6)}"
    # From here on eight digits, without padding each.
    numbers = itertools.count(1 << 28)
    return lambda: begin + hex(next(numbers))[2:]
