"""All that is remembered of one key: bounded, at most 4 kB when encoded, and enough to go on after a restart."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from sidecar.control.anomaly.detectors.baseline import LATENESS, Baseline
from sidecar.control.anomaly.detectors.seen import Seen
from sidecar.control.anomaly.detectors.signals import DAY, Signal
from sidecar.control.anomaly.detectors.thresholds import Thresholds
from sidecar.control.anomaly.detectors.windows import Window

FEEDBACK_FADES = 100 * DAY
"""Longer than a quarter: what comes once in that time is known the next time."""
EVIDENCE_LENGTH = 96
"""Characters of a signal's evidence that are kept; the longest sentence of ours has no more, with millions of requests in it."""
MAX_ENCODED = 4096
"""Bytes of one key's memory in the store."""


class Raised(msgspec.Struct, array_like=True):
    """A signal that is up: since when, until when if nothing more happens, and why."""

    since: int
    until: int
    evidence: str

    def is_ahead_of(self, now: int) -> bool:
        """Whether it was raised by a clock that was put back since."""
        return self.since > now + LATENESS


class Feedback(msgspec.Struct, array_like=True):
    """How often people said that a signal of this key was nothing, and when last."""

    count: int
    last: int


class Memory(msgspec.Struct, array_like=True):
    """One key's state. `born` is when its traffic was first seen: what it did before is not known, however old it is."""

    born: int
    requests: int = 0
    last_used: int = 0
    baseline: Baseline = msgspec.field(default_factory=Baseline)
    window: Window = msgspec.field(default_factory=Window)
    networks: Seen = msgspec.field(default_factory=lambda: Seen(40))
    agents: Seen = msgspec.field(default_factory=lambda: Seen(8))
    models: Seen = msgspec.field(default_factory=lambda: Seen(16))
    routes: Seen = msgspec.field(default_factory=lambda: Seen(8))
    refused_models: Seen = msgspec.field(default_factory=lambda: Seen(4))
    stranger_since: int = 0
    stranger_requests: int = 0
    raised: dict[str, Raised] = {}
    muted: dict[str, int] = {}
    """Signal to the time until which it is not raised; `*` mutes them all."""
    feedback: dict[str, Feedback] = {}
    changes: int = 0
    """Grows whenever a signal goes up or down."""

    def is_mature(self, now: int, thresholds: Thresholds, age: int = 0) -> bool:
        """Whether enough is known of the key to call something unusual; `age` asks for more than the usual age."""
        lived = now - self.born
        if lived < max(age, thresholds.mature_age):
            return False
        return self.requests >= (thresholds.quiet_requests if lived >= thresholds.quiet_age else thresholds.mature_requests)

    def raise_signal(self, signal: Signal, now: int, evidence: str) -> bool:
        """Put `signal` up, or keep it up; True when it was down and is not muted."""
        if now < max(self.muted.get(signal.name, 0), self.muted.get("*", 0)):
            return False
        up = self.raised.get(signal.name)
        if up is not None:
            up.until = now + signal.hold
            return False
        self.raised[signal.name] = Raised(now, now + signal.hold, _printable(evidence[:EVIDENCE_LENGTH]))
        self.changes += 1
        return True

    def raise_new(self, signal: Signal, now: int, what: str, which: str) -> None:
        """Put `signal` up for `which`, or keep it up and name that as well: whoever knows the first may not know the next. Of what has
        no room the latest is named."""
        up = self.raised.get(signal.name)
        told = f"{what} {which}"
        self.raise_signal(signal, now, told)
        if up is None:
            return
        if up.evidence.startswith(what):
            all_told, others = f"{up.evidence}, {which}", " and others"
            told = all_told if len(all_told) <= EVIDENCE_LENGTH else f"{told[: EVIDENCE_LENGTH - len(others)]}{others}"
        up.evidence = _printable(told[:EVIDENCE_LENGTH])
        self.changes += 1

    def lower(self, now: int, *, by_clock: bool = False) -> int:
        """Take down what has run out; when the last of it did, 0 when nothing has.

        With `by_clock` also what is ahead of `now`: a minute of a wrong clock must not last until the right one is there.
        Not so by the time of traffic, which comes late from a replica that was away.
        """
        over = {name: min(up.until, now) for name, up in self.raised.items() if up.until <= now or (by_clock and up.is_ahead_of(now))}
        for name in over:
            self.lower_signal(name)
        return max(over.values(), default=0)

    def lower_signal(self, name: str) -> None:
        """Take one signal down, if it is up."""
        if self.raised.pop(name, None) is not None:
            self.changes += 1

    def put_back(self, now: int) -> None:
        """Correct what a clock told that was ahead, to be asked once that is sure: a key of tomorrow is not old enough, and a network
        that is new until next month was met a day ago or more."""
        self.last_used, self.born = now, min(self.born, now)
        for sighting in self.networks.sightings.values():
            if sighting.first > now + LATENESS:
                sighting.first, sighting.new_until = now, 0

    def acknowledged(self, signal: Signal, now: int) -> int:
        """How often people waved `signal` through lately."""
        known = self.feedback.get(signal.name)
        return known.count if known is not None and now - known.last < FEEDBACK_FADES else 0

    def acknowledge(self, now: int) -> None:
        """People say that all of this is nothing: what was new is known from now on, and a repeat needs more."""
        for name in self.raised:
            self._wave_through(name, now)
        self.raised.clear()
        self.changes += 1
        self.stranger_since = self.stranger_requests = 0
        for seen in (self.networks, self.agents, self.models, self.routes):
            for sighting in seen.sightings.values():
                sighting.believe()

    def learn(self, signals: Iterable[str], over: int, now: int) -> None:
        """People say that what was up until `over` was nothing. What came up since is another matter; what they said before counts once."""
        for name in signals:
            known = self.feedback.get(name)
            if known is None or known.last < now:
                self._wave_through(name, now)
        for seen in (self.networks, self.agents, self.models, self.routes):
            for sighting in seen.sightings.values():
                if sighting.first <= over:
                    sighting.believe()

    def _wave_through(self, name: str, now: int) -> None:
        known = self.feedback.get(name)
        count = known.count if known is not None and now - known.last < FEEDBACK_FADES else 0
        self.feedback[name] = Feedback(min(count + 1, 8), now)


def _printable(text: str) -> str:
    """`text` on one line, to be read from left to right: models are the client's words, and evidence goes into mails and chats."""
    return "".join(character if character.isprintable() else "?" for character in text)


_encode = msgspec.msgpack.Encoder().encode
decode = msgspec.msgpack.Decoder(Memory).decode


def encode(memory: Memory) -> bytes:
    """At most `MAX_ENCODED` bytes. What would take more goes without its windows, which are five minutes of sums, and without
    the words of its signals, which the episode has as well."""
    data = _encode(memory)
    if len(data) <= MAX_ENCODED:
        return data
    raised = {name: Raised(up.since, up.until, "") for name, up in memory.raised.items()}
    return _encode(msgspec.structs.replace(memory, window=Window(), raised=raised))
