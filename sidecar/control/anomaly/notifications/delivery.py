"""Brings notifications to their receivers, with back-off, until each has answered 2xx or is given up.

The queue is the store's: what waits there survives this process, and goes out from whichever replica leads.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress

from aiohttp import ClientError, ClientSession, ClientTimeout

from sidecar.control.anomaly.notifications.outbox import Message, headers
from sidecar.control.anomaly.notifications.receivers import Receivers
from sidecar.control.anomaly.storage import Storage
from sidecar.store.client import StoreUnavailable

ATTEMPT_WITHIN = 10.0
"""Seconds that a receiver may take to answer."""
LOOK_EVERY = 1.0
"""Seconds between two looks for messages that are due."""
OTHERS_KEPT = 3600.0
"""Seconds that what is for a receiver of another configuration waits: while replicas are restarted one after the other, one that
does not know a new receiver yet may lead."""
DELIVERED, FAILED, GIVEN_UP = "delivered", "failed", "given_up"
_AT_A_TIME = 8
"""Messages that are delivered at the same time."""
_GONE = 410
"""The status with which a receiver says that it wants no more."""

_Place = tuple[int, bytes]
"""A message's shard, and its name there."""

_log = logging.getLogger(__name__)


class Delivery:
    """Run `run` as a task; it rests while `leads` says no.

    Nothing goes to a URL that is not one of `receivers`, and nothing goes out that they do not vouch for.
    `clock` gives Unix seconds. Raises ValueError when the secret is not base64.
    """

    def __init__(self, storage: Storage, receivers: Receivers, secret: str, clock: Callable[[], float], leads: Callable[[], bool]) -> None:
        self._storage = storage
        self._receivers = receivers
        self._secret = secret
        self._clock = clock
        self._leads = leads
        self._more = asyncio.Event()
        self._done: dict[_Place, Message] = {}
        self._postponed: dict[_Place, Message] = {}
        """What came of attempts and the store did not take. One that is only read, for want of a disk or a replica, would have all of it
        sent again at each look."""
        self.attempts = dict.fromkeys((DELIVERED, FAILED, GIVEN_UP), 0)
        """By what came of them, since this process started."""

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
                # Not asyncio.wait_for, which before Python 3.12 may forget that it was cancelled.
                with suppress(TimeoutError):
                    async with asyncio.timeout(LOOK_EVERY):
                        await self._more.wait()

    async def deliver_due(self, session: ClientSession) -> None:
        """One attempt for each message that is due, as far as its receiver takes them. Raises StoreUnavailable."""
        now = self._clock()
        waiting: dict[str, list[Message]] = {}
        others, forged = [], []
        for message in sorted(await self._messages(), key=lambda message: message.next_at):
            url = self._receivers.url(message.receiver)
            if not self._receivers.vouch(message.sealed, message.seal):
                forged.append(message)
            elif url is None:
                others.append(message)
            elif message.is_due(now):
                waiting.setdefault(url, []).append(message)
        done = await asyncio.gather(*(self._deliver_to_one(session, url, mine) for url, mine in waiting.items()), return_exceptions=True)
        for failure in done:
            if isinstance(failure, BaseException):
                raise failure
        if old := await self._drop([message for message in others if now - message.created_at >= OTHERS_KEPT]):
            _log.warning("notifications dropped whose receivers are configured no more: %d", old)
        if unproved := await self._drop(forged):
            _log.error(
                "notifications dropped that nothing proves to be the sidecar's own: %d; an earlier version or another pepper left them, "
                "or something else writes to the store",
                unproved,
            )

    async def _messages(self) -> list[Message]:
        """All that wait, as far as is known here; another replica may have led meanwhile, and made further attempts."""
        stored = {_place(one): one for one in await self._storage.messages()}
        self._done = {place: one for place, one in self._done.items() if place in stored}
        self._postponed = {place: one for place, one in self._postponed.items() if place in stored}
        for place, message in list(self._done.items()):
            del stored[place]
            await self._settle(message, is_done=True)
        return [max(one, self._postponed.get(place, one), key=lambda message: message.attempts) for place, one in stored.items()]

    async def _settle(self, message: Message, *, is_done: bool) -> None:
        """Let the store know what came of a message."""
        unwritten = self._done if is_done else self._postponed
        unwritten[_place(message)] = message
        try:
            await (self._storage.drop_message(message) if is_done else self._storage.put_message(message))
        except StoreUnavailable as error:
            _log.debug("what came of a notification waits for the store: %s", error)
        else:
            del unwritten[_place(message)]

    async def _drop(self, messages: list[Message]) -> int:
        for message in messages:
            await self._storage.drop_message(message)
        return len(messages)

    async def _deliver_to_one(self, session: ClientSession, url: str, due: list[Message]) -> None:
        # One that answers late or not at all is left alone until the next look: it would keep what is new for others waiting.
        loop = asyncio.get_running_loop()
        until = loop.time() + LOOK_EVERY
        for start in range(0, len(due), _AT_A_TIME):
            took = await asyncio.gather(*(self._deliver(session, url, message) for message in due[start : start + _AT_A_TIME]))
            if not all(took) or loop.time() > until:
                return

    async def _deliver(self, session: ClientSession, url: str, message: Message) -> bool:
        failure = await self._attempt(session, url, message)
        if not failure:
            self.attempts[DELIVERED] += 1
            await self._settle(message, is_done=True)
            return True
        if failure != str(_GONE) and message.postpone(self._clock()):
            _log.warning("notification %s was not accepted (%s); attempt %d failed", message.id, failure, message.attempts)
            self.attempts[FAILED] += 1
            await self._settle(message, is_done=False)
        else:
            _log.error("notification %s is given up (%s)", message.id, failure)
            self.attempts[GIVEN_UP] += 1
            await self._settle(message, is_done=True)
        return False

    async def _attempt(self, session: ClientSession, url: str, message: Message) -> str:
        """Why the receiver did not take it; empty when it did. The URL may hold a secret and is never logged."""
        try:
            async with session.post(
                url, data=message.body, headers=headers(message, self._secret, self._clock()), allow_redirects=False
            ) as answer:
                return "" if 200 <= answer.status < 300 else str(answer.status)
        except TimeoutError:
            return "no answer in time"
        except (ClientError, OSError, ValueError) as error:
            return type(error).__name__


def _place(message: Message) -> _Place:
    return message.shard, message.name
