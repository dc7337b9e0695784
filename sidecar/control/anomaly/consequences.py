"""What follows from a change of an episode: it is saved with the memory that led to it and with its notifications, then acted on.

What is kept in one shard, or rests on one key, waits by itself while a server of a Cluster is away.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from sidecar.control.anomaly.apart import apart
from sidecar.control.anomaly.detectors.signals import BY_NAME, LEVELS, Level, level
from sidecar.control.anomaly.notifications.outbox import Message, messages
from sidecar.control.anomaly.notifications.receivers import Receivers
from sidecar.control.anomaly.observer import Observer
from sidecar.control.anomaly.record import Anomaly
from sidecar.control.anomaly.responder import Responder
from sidecar.control.anomaly.storage import PartlySaved, Storage, shard_of
from sidecar.control.anomaly.unsaved import Batch, Unsaved
from sidecar.settings import declaration
from sidecar.store.client import StoreUnavailable

STOPPED = (StoreUnavailable, asyncio.CancelledError)
"""What may end a save halfway: what was to be saved still is, by `finish` when the process is told to end."""


class Consequences:
    """Those of one detection."""

    def __init__(
        self,
        observer: Observer,
        storage: Storage,
        responder: Responder,
        unsaved: Unsaved,
        *,
        notifications: declaration.Notifications,
        receivers: Receivers,
        on_message: Callable[[], None],
    ) -> None:
        self._observer = observer
        self._storage = storage
        self._responder = responder
        self._unsaved = unsaved
        self._notifications = notifications
        self._receivers = receivers
        self._on_message = on_message
        self.saving = asyncio.Lock()

    async def save(self, now: float) -> None:
        """Save all that waits. Raises StoreUnavailable; what was not saved waits on, and only that."""
        async with self.saving:
            batch = self._unsaved.take()
            try:
                failed, told = await self._save(batch, now)
            except STOPPED:
                self._unsaved.put_back(batch)
                raise
            # Not what was saved: its notifications may be delivered by now, and would be once more.
            self._unsaved.put_back(batch.only(failed))
        if told:
            self._on_message()
        for failure in failed.values():
            raise failure

    async def respond(self, now: float) -> None:
        """Do what is due about pages. Raises StoreUnavailable; then it is due still."""
        # What is not saved may be told under another name after a crash: nothing is done about it yet.
        saved = [anomaly for anomaly in self._observer.episodes.open.values() if not self._unsaved.waits(anomaly.id)]
        await apart(saved, lambda anomaly: self._respond_to(anomaly, now))

    async def tell(self, anomaly: Anomaly, rose_to: Level, now: float) -> list[Message]:
        """What receivers are to be told of a rise."""
        anomaly.policy, anomaly.key_name = await self._responder.policy(anomaly)
        if anomaly.policy == "observe" or LEVELS.index(rose_to) < LEVELS.index(self._notifications.level):
            return []
        return messages(anomaly, rose_to, self._receivers, now)

    async def _save(self, batch: Batch, now: float) -> tuple[dict[str, StoreUnavailable], list[Message]]:
        """By id: why an anomaly was not saved; and what is to be told of the others."""
        told: list[tuple[str, Message]] = []
        failed: dict[str, StoreUnavailable] = {}
        for anomaly, rose_to in batch.risen:
            try:
                told += [(anomaly.id, message) for message in await self.tell(anomaly, rose_to, now)]
            except StoreUnavailable as error:
                failed[anomaly.id] = error
        ready = [one for one in batch.anomalies.values() if one.id not in failed]
        news = [message for anomaly_id, message in told if anomaly_id not in failed]
        watches = self._observer.watches
        states = [(one.key_id, watches[one.key_id].memory) for one in ready if one.key_id in watches]
        try:
            await self._storage.save(states, ready, news, muted=batch.muted)
        except PartlySaved as failure:
            failed |= {one.id: failure for one in ready if shard_of(one) in failure.away}
            news = [message for message in news if message.shard not in failure.away]
        return failed, news

    async def _respond_to(self, anomaly: Anomaly, now: float) -> None:
        pages = level(BY_NAME[name] for name in anomaly.active if name in BY_NAME) == "page"
        if not self._responder.is_due(anomaly, now, pages=pages):
            return
        before = anomaly.policy, anomaly.responses
        await self._responder.respond(anomaly)
        if (anomaly.policy, anomaly.responses) != before:
            self._unsaved.add(anomaly)
            await self.save(now)
