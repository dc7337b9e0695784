"""What people say about an open episode, applied to the detectors."""

from __future__ import annotations

from sidecar.control.anomaly.episodes import Change
from sidecar.control.anomaly.index import FOR_EVER
from sidecar.control.anomaly.observer import Observer
from sidecar.control.anomaly.record import Anomaly
from sidecar.control.anomaly.unsaved import Unsaved


def acknowledge(observer: Observer, anomaly: Anomaly, now: float, actor: str, reason: str) -> None:
    """It is dealt with: the episode ends, what was new is known from now on, and a repeat needs more."""
    subject = anomaly.name_of_subject
    watch = observer.watches.get(anomaly.key_id)
    if watch is not None:
        watch.memory.acknowledge(int(now))
        watch.reset()
        observer.changed.add(anomaly.key_id)
    elif anomaly.source:
        observer.sources.acknowledge(anomaly.source, int(now))
    settle(anomaly, now, actor, reason)
    if subject in observer.episodes.open:
        observer.episodes.close(subject, now)


def settle(anomaly: Anomaly, now: float, actor: str, reason: str) -> None:
    """Note who acknowledged it, and why."""
    anomaly.state, anomaly.acknowledged_at, anomaly.acknowledged_by, anomaly.reason = "acknowledged", now, actor, reason
    anomaly.updated_at = now


def learn(observer: Observer, anomaly: Anomaly) -> None:
    """Remember of one that was over when it was acknowledged that it was nothing; another episode of its key goes on.

    To do so again changes nothing. The signals of a network are not remembered after its episode.
    """
    watch = observer.watches.get(anomaly.key_id)
    if watch is not None and anomaly.acknowledged_at is not None:
        over = anomaly.acknowledged_at if anomaly.ended_at is None else anomaly.ended_at
        watch.memory.learn((one.signal for one in anomaly.signals), int(over), int(anomaly.acknowledged_at))
        watch.reset()
        observer.changed.add(anomaly.key_id)


def mute(observer: Observer, anomaly: Anomaly, until: float, now: int) -> list[Change]:
    """Take the episode's signals down, and raise none of them for this subject before `until`; one that is over only ends a mute.

    The subject may have another episode by now: what this changes in the open one comes back, to be saved.
    """
    anomaly.muted_until = until = min(until, FOR_EVER)
    watch = observer.watches.get(anomaly.key_id)
    if watch is not None:
        for evidence in anomaly.signals:
            watch.memory.muted[evidence.signal] = int(until)
            # What came up beside those that were muted is up still when the mute ends.
            if int(until) > now:
                watch.memory.lower_signal(evidence.signal)
        observer.changed.add(anomaly.key_id)
        change = observer.assess(anomaly.key_id, now)
        return [change] if change is not None else []
    if anomaly.source:
        observer.mute_source(anomaly.source, int(until), now)
    return []


def catch_up(observer: Observer, anomaly: Anomaly, now: int) -> list[Change]:
    """Apply the mute of an episode that comes out of the store, unless it is over or the detectors know of it.

    It may have been given while nobody detected, or to be taken over by one that died. Where it is known it is left alone, or
    what came up after it, and was not meant, would be silent from the next restart on.
    """
    if anomaly.muted_until is None or anomaly.muted_until <= now:
        return []
    until = min(anomaly.muted_until, FOR_EVER)
    watch = observer.watches.get(anomaly.key_id)
    if watch is not None and any(watch.memory.muted.get(evidence.signal, 0) >= int(until) for evidence in anomaly.signals):
        return []
    return mute(observer, anomaly, until, now)


def heed(observer: Observer, anomaly: Anomaly, now: int) -> list[Change]:
    """Apply what people said to another process of one that is over; what changes in an open one comes back, to be saved."""
    if anomaly.state == "acknowledged":
        learn(observer, anomaly)
    until = anomaly.muted_until
    # A mute of the past that nobody remembers is not what was said, and would take down what is up since.
    if until is None or (until <= now and not _is_muted(observer, anomaly, now)):
        return []
    return mute(observer, anomaly, until, now)


def _is_muted(observer: Observer, anomaly: Anomaly, now: int) -> bool:
    watch = observer.watches.get(anomaly.key_id)
    if watch is not None:
        return any(watch.memory.muted.get(evidence.signal, 0) > now for evidence in anomaly.signals)
    return any(source.name == anomaly.source and source.muted_until > now for source in observer.sources.by_number.values())


def take_over(observer: Observer, unsaved: Unsaved, stored: Anomaly, now: float) -> None:
    """Apply what the store says that people said to another process of an episode that is open here; of others nothing is taken."""
    mine = observer.episodes.open.get(stored.name_of_subject)
    if mine is None or mine.id != stored.id:
        return
    until = stored.muted_until
    if until is not None and until != mine.muted_until and not unsaved.is_muted_here(mine.id):
        unsaved.note(mute(observer, mine, until, int(now)))
        unsaved.add(mine)
    if stored.state == "acknowledged":
        acknowledge(observer, mine, stored.acknowledged_at or now, stored.acknowledged_by, stored.reason)
        unsaved.add(mine)
