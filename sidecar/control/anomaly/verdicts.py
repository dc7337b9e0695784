"""What people say about an open episode, applied to the detectors."""

from __future__ import annotations

from sidecar.control.anomaly.observer import Observer
from sidecar.control.anomaly.record import Anomaly


def acknowledge(observer: Observer, anomaly: Anomaly, now: float, actor: str, reason: str) -> None:
    """It is dealt with: the episode ends, what was new is known from now on, and a repeat needs more."""
    subject = anomaly.name_of_subject
    watch = observer.watches.get(anomaly.key_id)
    if watch is not None:
        watch.memory.acknowledge(int(now))
        watch.reset()
        observer.changed.add(anomaly.key_id)
    elif anomaly.source:
        observer.sources.silence(anomaly.source, int(now))
    settle(anomaly, now, actor, reason)
    if subject in observer.episodes.open:
        observer.episodes.close(subject, now)


def settle(anomaly: Anomaly, now: float, actor: str, reason: str) -> None:
    """Note who acknowledged it, and why."""
    anomaly.state, anomaly.acknowledged_at, anomaly.acknowledged_by, anomaly.reason = "acknowledged", now, actor, reason
    anomaly.updated_at = now


def mute(observer: Observer, anomaly: Anomaly, until: float, now: int) -> None:
    """Take the episode's signals down, and raise none of them for this subject before `until`."""
    anomaly.muted_until = until
    watch = observer.watches.get(anomaly.key_id)
    if watch is not None:
        for evidence in anomaly.signals:
            watch.memory.muted[evidence.signal] = int(until)
            watch.memory.lower_signal(evidence.signal)
        observer.changed.add(anomaly.key_id)
        observer.assess(anomaly.key_id, now)
    elif anomaly.source:
        observer.sources.silence(anomaly.source, int(until))
