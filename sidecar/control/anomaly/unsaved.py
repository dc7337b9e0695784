"""What detectors and people have said of episodes and the store does not have yet. No store, no clock."""

from __future__ import annotations

from collections.abc import Container, Iterable
from dataclasses import dataclass, field

from sidecar.control.anomaly.detectors.signals import Level
from sidecar.control.anomaly.episodes import Change
from sidecar.control.anomaly.record import Anomaly


@dataclass(slots=True)
class Batch:
    """What is saved together."""

    anomalies: dict[str, Anomaly] = field(default_factory=dict)
    """By id."""
    risen: list[tuple[Anomaly, Level]] = field(default_factory=list)
    """Rises to be told, in their order."""
    muted: set[str] = field(default_factory=set)
    """Ids whose mute was given, or ended, here: only these may change the one that the store has."""

    def only(self, ids: Container[str]) -> Batch:
        """What of it is about these."""
        return Batch(
            {id_: one for id_, one in self.anomalies.items() if id_ in ids},
            [(one, rose_to) for one, rose_to in self.risen if one.id in ids],
            {id_ for id_ in self.muted if id_ in ids},
        )


class Unsaved:
    """One detection's changes on their way to the store."""

    def __init__(self) -> None:
        self.raised: dict[tuple[str, str], int] = {}
        """How often each (key id, signal) was raised since the start."""
        self._waiting = Batch()
        self._known_active: dict[str, frozenset[str]] = {}

    def restored(self, anomaly: Anomaly) -> None:
        """An open episode came out of the store: its signals were counted by whoever raised them."""
        self._known_active[anomaly.id] = frozenset(anomaly.active)

    def note(self, changes: Iterable[Change]) -> None:
        """The detectors changed episodes."""
        for change in changes:
            anomaly = change.anomaly
            if change.rose_to is not None:
                self._waiting.risen.append((anomaly, change.rose_to))
            before = self._known_active.get(anomaly.id, frozenset())
            if anomaly.key_id:
                for signal in set(anomaly.active) - before:
                    self.raised[anomaly.key_id, signal] = self.raised.get((anomaly.key_id, signal), 0) + 1
            self._known_active[anomaly.id] = frozenset(anomaly.active)
            self.add(anomaly)

    def add(self, anomaly: Anomaly, *, muted: bool = False) -> None:
        """An episode must be saved; `muted` when its mute was given or ended here."""
        self._waiting.anomalies[anomaly.id] = anomaly
        if muted:
            self._waiting.muted.add(anomaly.id)
        if anomaly.ended_at is not None:
            self._known_active.pop(anomaly.id, None)

    def waits(self, anomaly_id: str) -> bool:
        """Whether the store lacks what this episode has become."""
        return anomaly_id in self._waiting.anomalies

    def is_muted_here(self, anomaly_id: str) -> bool:
        """Whether a mute of this episode waits, so that the one in the store is older."""
        return anomaly_id in self._waiting.muted

    def take(self) -> Batch:
        """All that waits, to be saved; `put_back` when it could not be."""
        taken, self._waiting = self._waiting, Batch()
        return taken

    def put_back(self, batch: Batch) -> None:
        """It was not saved: it waits again, before what came since."""
        since = self._waiting
        self._waiting = Batch(batch.anomalies | since.anomalies, batch.risen + since.risen, batch.muted | since.muted)

    def clear(self) -> None:
        """Let go of all that waits: another one detects, and has saved what is newer."""
        self._waiting = Batch()
        self._known_active.clear()
