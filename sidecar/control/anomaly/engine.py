"""Runs the detectors in the control process: traffic in, memories kept, pages told and answered.

A page is saved together with the memory that led to it and with its notifications; only then is anything
done about it. So a crash at any moment neither loses a page nor tells it under two names.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping

from sidecar.control.anomaly import verdicts
from sidecar.control.anomaly.admission import Admission
from sidecar.control.anomaly.apart import apart
from sidecar.control.anomaly.consequences import STOPPED, Consequences
from sidecar.control.anomaly.detectors.memory import Memory
from sidecar.control.anomaly.detectors.signals import TABLE
from sidecar.control.anomaly.notifications.receivers import Receivers
from sidecar.control.anomaly.observer import Observer
from sidecar.control.anomaly.record import Anomaly
from sidecar.control.anomaly.replicas import Replicas
from sidecar.control.anomaly.responder import Responder
from sidecar.control.anomaly.restoring import Restoring
from sidecar.control.anomaly.storage import PartlySaved, Storage
from sidecar.control.anomaly.unsaved import Unsaved
from sidecar.control.salt import Salt
from sidecar.control.totals.sums import Sums
from sidecar.settings import declaration
from sidecar.store.client import StoreNotAdopted, StoreUnavailable
from sidecar.store.names import shard_of as shard_of_key

TICK = 1.0
"""Seconds between two looks at the traffic."""
SAVE_EVERY = 30.0
"""Seconds after which the memories that changed are saved."""
DROP_EVERY = 3600.0
"""Seconds between two looks for anomalies that are kept no longer."""
FORGET_AFTER = 3600
"""Seconds without use after which a key is no longer watched; what is remembered of it stays in the store."""
_ADMIT_AT_ONCE = 500
"""Keys whose memories are read in one go."""

_log = logging.getLogger(__name__)


class Engine:
    """One control process's detection. It is an observer of the fold, and what /metrics asks for signals.

    `guard` raises StoreUnavailable while the store must not be written; `clock` gives Unix seconds.
    """

    def __init__(
        self,
        observer: Observer,
        storage: Storage,
        responder: Responder,
        admission: Admission,
        replicas: Replicas,
        salt: Salt,
        *,
        settings: declaration.Anomaly,
        notifications: declaration.Notifications,
        receivers: Receivers,
        in_flight: Callable[[], Mapping[str, int]],
        on_message: Callable[[], None],
        guard: Callable[[], Awaitable[None]],
        clock: Callable[[], float],
    ) -> None:
        self.observer = observer
        self.storage = storage
        self.unsaved = Unsaved()
        self._consequences = Consequences(
            observer, storage, responder, self.unsaved, notifications=notifications, receivers=receivers, on_message=on_message
        )
        self._admission = admission
        self._replicas = replicas
        self._salt = salt
        self._settings = settings
        self._in_flight = in_flight
        self._guard = guard
        self._clock = clock
        self._restored = False
        self._restoring = Restoring(observer, storage, admission, self.unsaved, salt, clock)
        self._admits_apart = False
        """Whether keys could not be brought in together last time."""
        self._saved_at = clock()
        self._dropped_at = 0.0

    def observe(self, spool_id: str, records: list[bytes], sums: Sums) -> None:
        """Take in a stretch of events."""
        del spool_id, records
        count = self.observer.sums.count
        for row in sums.rows:
            count(row)

    def retire(self, spool_id: str) -> None:
        """Nothing is kept for a spool."""

    def active(self) -> Iterable[tuple[str, str]]:
        """(key id, signal) of every active signal."""
        return [(anomaly.key_id, signal) for anomaly in self.observer.episodes.open.values() if anomaly.key_id for signal in anomaly.active]

    def raised(self) -> Mapping[tuple[str, str], int]:
        """How often each (key id, signal) was raised since the start."""
        return self.unsaved.raised

    @property
    def detects(self) -> bool:
        """Whether this process follows the episodes, as far as it knows; else another one does, or none does yet."""
        return self._restored

    def weights(self) -> Mapping[str, float]:
        """What each signal counts towards a key's risk."""
        return {signal.name: signal.weight for signal in TABLE}

    async def run(self) -> None:
        """Look once a second, for ever; what the store cannot take now is kept and tried again."""
        was_down = False
        while True:
            try:
                await self.tick(self._clock())
                was_down = False
            except StoreUnavailable as error:
                if not was_down:
                    level = logging.DEBUG if isinstance(error, StoreNotAdopted) else logging.WARNING
                    _log.log(level, "the anomaly detection waits for the store: %s", error)
                was_down = True
            await asyncio.sleep(TICK)

    async def finish(self) -> None:
        """Look at everything that is there and save it. Raises StoreUnavailable."""
        now = self._clock()
        await self._guard()
        if await self._leads() and self._restored:
            await self._admit(now)
            self.unsaved.note(self.observer.tick(int(now), force=True))
            await self._save(now)
        else:
            await self._follow()
        await self._replicas.leave()

    async def know(self, key_id: str) -> None:
        """Watch a key that is at rest, for people to change what is remembered of it. Raises StoreUnavailable."""
        if self._restored and key_id not in self.observer.watches:
            self._restoring.require(key_id)
            await self._admission.admit([key_id], self._clock())

    async def tick(self, now: float) -> None:
        """One look. Raises StoreUnavailable; nothing is lost by it."""
        try:
            await self._guard()
        except StoreUnavailable:
            # Who cannot ask for the seat may have lost it, and in a store that is not ours there is none: nothing is delivered.
            self._replicas.leads = False
            raise
        self.observer.sums.in_flight(self._in_flight())
        if not await self._leads():
            await self._follow()
            return
        for second in await self._replicas.receive():
            self.observer.sums.add(second)
        if not self._restored:
            await self._restoring.begin()
            self._restored = True
        acts = [self._restoring.go_on, self._hear_all, self._admit, self._look, self._consequences.save, self._consequences.respond]
        # A clock that was put back must not put saving off for as long.
        if abs(now - self._saved_at) >= SAVE_EVERY:
            acts.append(self._save)
        # What one server of a Cluster does not take is not to keep what is for the others.
        await apart(acts, lambda act: act(now))

    async def save_now(self) -> None:
        """Save what people changed in an episode that is followed here. Raises StoreUnavailable; then it is tried again."""
        await self._consequences.save(self._clock())

    async def save_apart(self, anomaly: Anomaly, *, muted: bool) -> None:
        """Save what people changed in an anomaly that is over, or that another process follows, which is told of it.

        Raises StoreUnavailable; then it is not tried again. Later it would put an old state in place of a newer one.
        """
        watch = self.observer.watches.get(anomaly.key_id)
        states = [(anomaly.key_id, watch.memory)] if watch is not None else []
        await self.storage.save(states, [anomaly], muted=[anomaly.id] if muted else [])
        if not self._restored:
            await self._replicas.tell(anomaly.id)
        elif anomaly.source:
            await self.storage.save_sources(self.observer.sources.recent(int(self._clock())))

    async def take_over(self) -> None:
        """Learn what people said of the open episodes to other processes. Raises StoreUnavailable."""
        # While nothing of an episode is being saved, a mute that the store lacks still waits.
        async with self._consequences.saving:
            for stored in await self.storage.reread(list(self.observer.episodes.open.values())):
                verdicts.take_over(self.observer, self.unsaved, stored, self._clock())

    async def _look(self, now: float) -> None:
        self.unsaved.note(self.observer.tick(int(now)))

    async def _hear_all(self, _now: float) -> None:
        while self._replicas.told:
            await self._hear(self._replicas.told[0])
            del self._replicas.told[0]

    async def _hear(self, anomaly_id: str) -> None:
        """People said something of an anomaly to another process."""
        followed = {one.id for one in self.observer.episodes.open.values()}
        await self.take_over()
        stored = await self.storage.anomaly(anomaly_id)
        if stored is None or stored.id in followed:
            return
        # What is over is not reread by itself.
        if stored.key_id:
            await self.know(stored.key_id)
        self.unsaved.note(verdicts.heed(self.observer, stored, int(self._clock())))
        await self.save_apart(stored, muted=False)

    async def _leads(self) -> bool:
        """Whether this replica detects. Once another one has, what that one saved is newer than what is known here."""
        leads = await self._replicas.hold_seat()
        if self._restored and self._replicas.was_away:
            _log.info("another replica detected anomalies for all")
            self._restored = False
            self._admission.clear()
            self.unsaved.clear()
            self._replicas.told.clear()
        return leads

    async def _follow(self) -> None:
        """Another replica detects: let it have our traffic."""
        seconds = self.observer.sums.take_all()
        try:
            await self._replicas.send(seconds)
        except StoreUnavailable:
            for second in seconds:
                self.observer.sums.add(second)
            raise

    async def _admit(self, now: float) -> None:
        unknown = self.observer.unknown(_ADMIT_AT_ONCE, self._restoring.unread)
        # One that a server of a Cluster has, which is away, is to keep no other: then each is asked for by itself.
        parts = [[key_id] for key_id in unknown] if self._admits_apart else [unknown]
        self._admits_apart = True
        await apart(parts, lambda key_ids: self._admission.admit(key_ids, now))
        self._admits_apart = False

    async def _save(self, now: float) -> None:
        observer = self.observer
        # A store that was emptied and adopted since lacks the salt of what is saved now.
        observer.number_with(await self._salt.read())
        observer.put_right(int(now))
        changed, observer.changed = observer.changed, set()
        try:
            states = [(key_id, observer.watches[key_id].memory) for key_id in changed if key_id in observer.watches]
            failure = await self._save_states(states)
            observer.changed |= {key_id for key_id in changed if failure is not None and shard_of_key(key_id) in failure.away}
            await self.storage.save_sources(observer.sources.recent(int(now)))
        except STOPPED:
            observer.changed |= changed
            raise
        await self.take_over()
        await self._consequences.save(now)
        if failure is not None:
            raise failure
        self._admission.let_go([key_id for key_id, watch in observer.watches.items() if self._is_idle(key_id, watch.memory, now)])
        if abs(now - self._dropped_at) >= DROP_EVERY:
            await self.storage.drop_closed(await self.storage.not_ahead(now) - self._settings.keep)
            self._dropped_at = now
        self._saved_at = now

    async def _save_states(self, states: list[tuple[str, Memory]]) -> PartlySaved | None:
        try:
            await self.storage.save(states)
        except PartlySaved as failure:
            return failure
        return None

    def _is_idle(self, key_id: str, memory: Memory, now: float) -> bool:
        in_use = key_id in self.observer.changed or memory.raised or key_id in self.observer.episodes.open
        return not in_use and memory.last_used < now - FORGET_AFTER
