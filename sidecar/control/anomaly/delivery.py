"""Brings notifications to their receivers, with back-off, until each has answered 2xx or is given up.

The queue is the store's: what waits there survives this process, and goes out from whichever replica leads.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from aiohttp import ClientError, ClientSession, ClientTimeout

from sidecar.control.anomaly.outbox import Message, headers
from sidecar.control.anomaly.storage import Storage
from sidecar.store.client import StoreUnavailable

ATTEMPT_WITHIN = 10.0
LOOK_EVERY = 1.0
_AT_A_TIME = 8
_GONE = 410

_log = logging.getLogger(__name__)


class Delivery:
    """Run `run` as a task; it rests while `leads` says no. `clock` gives Unix seconds. Raises ValueError when the secret is not base64."""

    def __init__(self, storage: Storage, secret: str, clock: Callable[[], float], leads: Callable[[], bool]) -> None:
        self._storage = storage
        self._secret = secret
        self._clock = clock
        self._leads = leads
        self._more = asyncio.Event()
        self.delivered = 0
        self.failed = 0

    def wake(self) -> None:
        """There may be something new."""
        self._more.set()

    async def run(self) -> None:
        """Deliver, for ever."""
        async with ClientSession(timeout=ClientTimeout(total=ATTEMPT_WITHIN)) as session:
            while True:
                self._more.clear()
                try:
                    if self._leads():
                        await self.deliver_due(session)
                except StoreUnavailable as error:
                    _log.debug("notifications wait for the store: %s", error)
                try:
                    await asyncio.wait_for(self._more.wait(), LOOK_EVERY)
                except TimeoutError:
                    continue

    async def deliver_due(self, session: ClientSession) -> None:
        """One attempt for each message that is due, as far as its receiver takes them. Raises StoreUnavailable."""
        now = self._clock()
        waiting: dict[str, list[Message]] = {}
        for message in sorted(await self._storage.messages(), key=lambda message: message.next_at):
            if message.is_due(now):
                waiting.setdefault(message.url, []).append(message)
        done = await asyncio.gather(*(self._deliver_to_one(session, mine) for mine in waiting.values()), return_exceptions=True)
        for failure in done:
            if isinstance(failure, BaseException):
                raise failure

    async def _deliver_to_one(self, session: ClientSession, due: list[Message]) -> None:
        # One that answers late or not at all is left alone until the next look: it would keep what is new for others waiting.
        loop = asyncio.get_running_loop()
        until = loop.time() + LOOK_EVERY
        for start in range(0, len(due), _AT_A_TIME):
            took = await asyncio.gather(*(self._deliver(session, message) for message in due[start : start + _AT_A_TIME]))
            if not all(took) or loop.time() > until:
                return

    async def _deliver(self, session: ClientSession, message: Message) -> bool:
        failure = await self._attempt(session, message)
        if not failure:
            self.delivered += 1
            await self._storage.drop_message(message)
            return True
        self.failed += 1
        if failure != str(_GONE) and message.postpone(self._clock()):
            _log.warning("notification %s was not accepted (%s); attempt %d failed", message.id, failure, message.attempts)
            await self._storage.put_message(message)
        else:
            _log.error("notification %s is given up (%s)", message.id, failure)
            await self._storage.drop_message(message)
        return False

    async def _attempt(self, session: ClientSession, message: Message) -> str:
        """Why the receiver did not take it; empty when it did. The URL may hold a secret and is never logged."""
        try:
            async with session.post(
                message.url, data=message.body, headers=headers(message, self._secret, self._clock()), allow_redirects=False
            ) as answer:
                return "" if 200 <= answer.status < 300 else str(answer.status)
        except TimeoutError:
            return "no answer in time"
        except (ClientError, OSError, ValueError) as error:
            return type(error).__name__
