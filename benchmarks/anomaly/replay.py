"""Runs traffic through the real detectors in virtual time, and keeps snapshots to start scenarios from."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from benchmarks.anomaly.traffic import STEP, History, seconds
from sidecar.control.anomaly import record
from sidecar.control.anomaly.detectors import memory
from sidecar.control.anomaly.detectors.networks import Networks
from sidecar.control.anomaly.detectors.second import Second
from sidecar.control.anomaly.detectors.thresholds import Thresholds
from sidecar.control.anomaly.observer import Observer

EPOCH = 1767571200
"""Step 0 in virtual time: Monday, 5 January 2026, UTC."""

SNAPSHOT_STEPS = 6 * 3600 // STEP
_NETWORKS = Networks(b"benchmark")


@dataclass(frozen=True)
class Alarm:
    """A key or source reached a level: when (Unix time), and with which signals up."""

    subject: str
    level: str
    time: int
    signals: tuple[str, ...]


@dataclass(frozen=True)
class Snapshot:
    """What the detectors know of a key at `step`."""

    step: int
    memory: bytes
    episode: bytes


class Replay:
    """One observer in virtual time."""

    def __init__(self) -> None:
        self.observer = Observer(_NETWORKS, str)
        self.alarms: list[Alarm] = []

    def restore(self, key_id: str, snapshot: Snapshot) -> None:
        """Go on from a snapshot of a key."""
        self.observer.admit(key_id, memory.decode(snapshot.memory))
        if snapshot.episode:
            self.observer.episodes.open[key_id] = record.decode(snapshot.episode)

    def snapshot(self, key_id: str, step: int) -> Snapshot:
        """What is known of a key now."""
        episode = self.observer.episodes.open.get(key_id)
        return Snapshot(step, memory.encode(self.observer.watches[key_id].memory), record.encode(episode) if episode else b"")

    def run(self, traffic: Iterable[Second]) -> None:
        """Take in traffic, which must be in order of time."""
        observer = self.observer
        for second in traffic:
            if second.key_id not in observer.watches:
                observer.admit(second.key_id, memory.Memory(EPOCH))
            observer.sums.add(second)
            for change in observer.tick(second.time, force=True):
                if change.rose_to is not None:
                    anomaly = change.anomaly
                    subject = anomaly.key_id or anomaly.source
                    self.alarms.append(Alarm(subject, change.rose_to, second.time, tuple(anomaly.active)))


@dataclass(frozen=True)
class Learnt:
    """A key's whole background, replayed: its alarms, and snapshots every six hours."""

    history: History
    alarms: list[Alarm]
    snapshots: list[Snapshot]

    def before(self, step: int) -> Snapshot:
        """The last snapshot before `step`."""
        return next(snapshot for snapshot in reversed(self.snapshots) if snapshot.step <= step)

    def is_used(self, step: int) -> bool:
        """Whether the key had enough traffic by then to be known."""
        return memory.decode(self.before(step).memory).requests >= Thresholds().mature_requests


def learn(history: History, end: int) -> Learnt:
    """Replay a key's background from step 0 to `end`."""
    replay = Replay()
    key_id = history.key.key_id
    replay.observer.admit(key_id, memory.Memory(EPOCH))
    snapshots = []
    for start in range(0, end, SNAPSHOT_STEPS):
        snapshots.append(replay.snapshot(key_id, start))
        replay.run(seconds(key_id, history.between(start, start + SNAPSHOT_STEPS), EPOCH))
    return Learnt(history, replay.alarms, snapshots)
