"""Takes up what the last detection has left in the store: the open episodes, their keys, the networks that matter.

Of a Cluster a server may be away meanwhile. The keys in its shards then wait, and no others: what is detected of one whose
open episode is not known would begin a second one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from sidecar.control.anomaly import verdicts
from sidecar.control.anomaly.admission import Admission
from sidecar.control.anomaly.episodes import ended
from sidecar.control.anomaly.observer import Observer
from sidecar.control.anomaly.record import Anomaly
from sidecar.control.anomaly.storage import Storage
from sidecar.control.anomaly.unsaved import Unsaved
from sidecar.control.salt import Salt
from sidecar.store.client import StoreUnavailable
from sidecar.store.names import SHARDS, shard_of


class Restoring:
    """`clock` gives Unix seconds."""

    def __init__(
        self, observer: Observer, storage: Storage, admission: Admission, unsaved: Unsaved, salt: Salt, clock: Callable[[], float]
    ) -> None:
        self._observer = observer
        self._storage = storage
        self._admission = admission
        self._unsaved = unsaved
        self._salt = salt
        self._clock = clock
        self.unread: Mapping[int, StoreUnavailable] = {}
        """Shards whose open episodes are not known yet, and why."""

    async def begin(self) -> None:
        """Take up what there is, but for the shards that do not answer. Raises StoreUnavailable, with nothing taken up."""
        # All is read before anything is taken in: what a restore took in that the store cut short would go stale while others lead.
        self._observer.number_with(await self._salt.read())
        sources = await self._storage.sources()
        opened, unread = await self._read(range(SHARDS))
        self._observer.sources.by_number.update(sources)
        self._take_in(opened)
        self.unread = unread

    async def go_on(self, _now: float) -> None:
        """Take up what is in shards that did not answer until now. Raises StoreUnavailable while some do not."""
        if not self.unread:
            return
        opened, self.unread = await self._read(sorted(self.unread))
        self._take_in(opened)
        for failure in self.unread.values():
            raise failure

    def require(self, key_id: str) -> None:
        """Raise StoreUnavailable while it is not known whether the key has an open episode."""
        if (failure := self.unread.get(shard_of(key_id))) is not None:
            raise failure

    async def _read(self, shards: Iterable[int]) -> tuple[list[Anomaly], Mapping[int, StoreUnavailable]]:
        opened, away = await self._storage.open_anomalies(shards)
        # Keys with an open episode come back at once: their signals run out even when the key is not used again.
        await self._admission.admit([anomaly.key_id for anomaly in opened if anomaly.key_id], self._clock())
        return opened, away

    def _take_in(self, opened: list[Anomaly]) -> None:
        now = self._clock()
        for anomaly in opened:
            if anomaly.name_of_subject in self._observer.episodes.open:
                # A network: what comes from it was looked at all the same, and another episode has begun.
                self._unsaved.add(ended(anomaly, now))
            else:
                self._observer.episodes.open[anomaly.name_of_subject] = anomaly
                self._unsaved.restored(anomaly)
        for anomaly in opened:
            if anomaly.ended_at is None:
                self._unsaved.note(verdicts.catch_up(self._observer, anomaly, int(now)))
