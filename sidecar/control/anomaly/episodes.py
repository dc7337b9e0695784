"""Turns signals that go up and down into episodes, so that one attack is one page.

An episode lasts until nothing has been up for six hours; what comes back sooner belongs to it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from sidecar.control.anomaly.detectors.baseline import LATENESS
from sidecar.control.anomaly.detectors.memory import Raised
from sidecar.control.anomaly.detectors.signals import BY_NAME, HOUR, Level, level, score
from sidecar.control.anomaly.record import Anomaly, Evidence, Subject

QUIET_ENDS = 6 * HOUR


@dataclass(frozen=True, slots=True)
class Change:
    """An episode that is new or has changed; `rose_to` is the level that it has just reached, if it has."""

    anomaly: Anomaly
    rose_to: Level | None = None


class Episodes:
    """The open episode of each subject (a key's id, or a network's name)."""

    def __init__(self, instance: str, opened: Iterable[tuple[str, Anomaly]] = ()) -> None:
        self._instance = instance
        self.open: dict[str, Anomaly] = dict(opened)

    def assess(self, kind: Subject, subject: str, name: str, raised: Mapping[str, Raised], now: int) -> Change | None:
        """Fit the signals that are up now into the subject's episode; None when there is nothing to tell."""
        episode = self.open.get(subject)
        up = {signal: BY_NAME[signal] for signal in raised if signal in BY_NAME}
        if not up:
            if episode is None or not episode.active:
                return None
            episode.active, episode.quiet_since, episode.updated_at = [], now, now
            return Change(episode)
        rose_to: Level | None = None
        reached = level(up.values())
        if episode is None:
            episode = self.open[subject] = self._begin(kind, subject, name, min(up.since for up in raised.values()))
            rose_to = reached
            episode.level = reached
        elif episode.rises_to(reached):
            rose_to = reached
        episode.score = max(episode.score, score(up.values()))
        episode.active, episode.quiet_since, episode.updated_at = list(up), None, now
        episode.signals = _merged(episode.signals, raised)
        if rose_to == "warn":
            episode.warned_at = now
        elif rose_to == "page":
            episode.paged_at = now
        return Change(episode, rose_to)

    def end_quiet(self, now: int) -> list[Change]:
        """Close the episodes in which nothing has been up for long enough, by the clock."""
        for episode in self.open.values():
            if episode.quiet_since is not None and episode.quiet_since > now + LATENESS:
                # The clock was put back: it would stay open until that time comes, and six hours more.
                episode.quiet_since = now
        return [Change(self.close(subject, now)) for subject in list(self.open) if self.is_over(subject, now)]

    def is_over(self, subject: str, now: int) -> bool:
        """Whether the subject's episode has been quiet for long enough."""
        episode = self.open.get(subject)
        return episode is not None and episode.quiet_since is not None and now - episode.quiet_since >= QUIET_ENDS

    def close(self, subject: str, now: float) -> Anomaly:
        """End the subject's episode; KeyError when there is none."""
        return ended(self.open.pop(subject), now)

    def _begin(self, kind: Subject, subject: str, name: str, since: int) -> Anomaly:
        # The id follows from what happened, so that an episode found again after a crash keeps its id.
        digest = hashlib.blake2b(f"{self._instance}|{kind}|{subject}|{since}".encode(), digest_size=10).hexdigest()
        return Anomaly(
            id=f"anm_{digest}",
            subject=kind,
            key_id=subject if kind == "key" else "",
            key_name=name if kind == "key" else "",
            source=name if kind == "source" else "",
            level="notice",
            score=0,
            started_at=since,
            updated_at=since,
            instance=self._instance,
        )


def ended(episode: Anomaly, now: float) -> Anomaly:
    """The episode, which is over."""
    episode.ended_at = episode.updated_at = now
    episode.active = []
    if episode.state == "open":
        episode.state = "closed"
    return episode


def _merged(known: list[Evidence], raised: Mapping[str, Raised]) -> list[Evidence]:
    """The episode's evidence, with each signal that is up in its latest form."""
    latest = {evidence.signal: evidence for evidence in known}
    for name, up in raised.items():
        signal = BY_NAME.get(name)
        if signal is not None:
            # A memory that had no room for the words comes back without them.
            said = up.evidence or (latest[name].text if name in latest else "")
            latest[name] = Evidence(name, signal.weight, up.since, said)
    return list(latest.values())
