"""Connections on which the servers report changes, and the proof that no report is missing.

Reports and replies share one ordered stream: the reply to a question asked at time t proves that
every change made before it has been reported. A Cluster needs one connection for each primary.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from redis.exceptions import MovedError, ReadOnlyError

from sidecar.store.endpoint import PROOF, Endpoint
from sidecar.store.errors import StoreUnavailable, translate
from sidecar.store.link import Command, Link, PushHandler

BEGIN_WITHIN = 1.0
"""Seconds in which a server must agree to report changes."""
MARK_AGE_MS = 60_000
"""Milliseconds after which a mark, which was written as a proof only, goes by itself."""


class Tracking:
    """Client tracking in broadcast mode (Redis manual, "Client-side caching")."""

    def __init__(self, question: Command, endpoints: Callable[[], Awaitable[list[Endpoint]]], *, prove_by_write: bool) -> None:
        self._links: list[tuple[Endpoint, Link]] = []
        self._question = question
        self._endpoints = endpoints
        self._prove_by_write = prove_by_write

    @classmethod
    async def open(
        cls,
        endpoints: Callable[[], Awaitable[list[Endpoint]]],
        prefixes: Sequence[str],
        on_change: PushHandler,
        question: Command,
        *,
        prove_by_write: bool,
    ) -> Tracking:
        """Connect to every primary and ask for reports; raises StoreUnavailable.

        `on_change` is called with the changed names, or None when a server forgot everything.
        """
        tracking = cls(question, endpoints, prove_by_write=prove_by_write)
        begin: Command = ("CLIENT", "TRACKING", "ON", "BCAST", *(part for prefix in prefixes for part in ("PREFIX", prefix)))
        try:
            for endpoint in await endpoints():
                link = await endpoint.open(on_change)
                tracking._links.append((endpoint, link))
                _checked(await link.exchange([begin], BEGIN_WITHIN))
        except BaseException:
            # Cancelled as well: nobody else knows of these connections yet.
            await tracking.close()
            raise
        return tracking

    async def prove(self, timeout: float) -> Any:
        """Show that everything that changed before this call has been reported; returns the answer to the question.

        Where another server may have taken over, a write proves that this one is still the primary:
        one that was cut off keeps answering reads (set `min-replicas-to-write` there). Raises StoreUnavailable
        when a server does not answer within `timeout` seconds, is a replica, or the primaries are others.
        """
        if self._prove_by_write and {endpoint.name for endpoint in await self._endpoints()} != {
            endpoint.name for endpoint, _ in self._links
        }:
            raise StoreUnavailable("the key store's primaries have changed")
        answers = await asyncio.gather(*(self._ask(endpoint, link, timeout) for endpoint, link in self._links))
        for answer in answers:
            if not isinstance(answer, MovedError):
                return answer
        raise StoreUnavailable("no server of the key store's cluster holds its identity")

    async def close(self) -> None:
        """End the connections, and with them the reports."""
        await asyncio.gather(*(link.close() for _, link in self._links))

    async def _ask(self, endpoint: Endpoint, link: Link, timeout: float) -> Any:
        """The answer of one server; a MovedError from those of a Cluster that hold other names."""
        write: Command = ("SET", endpoint.mark, "1", "PX", MARK_AGE_MS) if self._prove_by_write else PROOF
        answer, written = await link.exchange([self._question, write], timeout)
        # Where none takes over, one that takes no writes is still the store, unless it has become the replica of another one.
        if self._prove_by_write or isinstance(written, ReadOnlyError):
            _checked([written])
        if isinstance(answer, Exception) and not isinstance(answer, MovedError):
            raise translate(answer)
        return answer


def _checked(replies: Sequence[Any]) -> None:
    for reply in replies:
        if isinstance(reply, Exception):
            raise translate(reply)
