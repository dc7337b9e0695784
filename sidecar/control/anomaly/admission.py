"""Which keys are under watch: brought in with what the store remembers of them, let go of when they are at rest."""

from __future__ import annotations

from sidecar.control.anomaly.detectors.memory import Memory
from sidecar.control.anomaly.observer import Observer
from sidecar.control.anomaly.responder import Keys
from sidecar.control.anomaly.storage import Storage


class Admission:
    """The keys that the observer watches; `names` are theirs, by id, for as long."""

    def __init__(self, observer: Observer, storage: Storage, keys: Keys, names: dict[str, str]) -> None:
        self._observer = observer
        self._storage = storage
        self._keys = keys
        self._names = names

    async def admit(self, key_ids: list[str], now: float) -> None:
        """Watch these keys. Raises StoreUnavailable."""
        if not key_ids:
            return
        remembered = await self._storage.memories(key_ids)
        for key_id, key, memory in zip(key_ids, await self._keys.get_many(key_ids), remembered, strict=True):
            self._names[key_id] = key.name if key is not None else ""
            if key_id not in self._observer.watches:
                self._observer.admit(key_id, memory or Memory(int(now)))

    def let_go(self, key_ids: list[str]) -> None:
        """Watch these no more; what is remembered of them must have been saved."""
        self._observer.forget(key_ids)
        for key_id in key_ids:
            self._names.pop(key_id, None)

    def clear(self) -> None:
        """Let go of everything but the traffic that was not looked at."""
        self._observer.clear()
        self._names.clear()
