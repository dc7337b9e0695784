"""What a network does across keys: beginning to use many of them, or presenting keys that do not exist.

Only keys that never came from a network before count against it, so that a cluster behind one address,
which uses all its keys from there every day, is nothing.
"""

from __future__ import annotations

from itertools import islice

import msgspec

from sidecar.control.anomaly.detectors.baseline import LATENESS
from sidecar.control.anomaly.detectors.memory import Raised
from sidecar.control.anomaly.detectors.networks import Network
from sidecar.control.anomaly.detectors.signals import HOUR, KEY_GUESSING, MANY_KEYS_ONE_SOURCE, MINUTE, Signal
from sidecar.control.anomaly.detectors.thresholds import Thresholds

CAPACITY = 10_000
_KEYS = 256
"""Of a network, that are remembered and named."""
_ASKED = 16
_MINUTES = 10
"""Of failed attempts, that are kept: no window is longer."""
EVERYWHERE = Network(0, "all networks together")


class Source(msgspec.Struct, array_like=True):
    """One network: when which keys began to come from it, and its failed attempts by minute."""

    name: str
    last: int
    keys: dict[str, int] = {}
    failures: dict[int, int] = {}
    raised: dict[str, Raised] = {}
    muted_until: int = 0
    told: list[int] = []
    """Of all networks together: when each of the latest began to be told of by itself."""

    def silence(self, until: int) -> None:
        """Take its signals down; what it did so far raises none later, and nothing does before `until`."""
        self.raised, self.keys, self.failures = {}, {}, {}
        self.muted_until = until

    def acknowledge(self, now: int) -> None:
        """People say that all of this is nothing; a mute lasts on."""
        self.silence(max(now, self.muted_until))


class Sources:
    """At most `capacity` networks, the longest silent forgotten first, rather those of which no signal is up and that are not muted."""

    def __init__(self, thresholds: Thresholds, *, capacity: int = CAPACITY) -> None:
        self._thresholds = thresholds
        self._capacity = capacity
        self.by_number: dict[int, Source] = {}
        self.changed: set[int] = set()
        """Networks whose signals changed since somebody emptied this."""

    def key_began(self, network: Network, key_id: str, now: int) -> None:
        """A settled key was used from `network` for the first time."""
        source = self._source(network, now)
        up = source.raised.get(MANY_KEYS_ONE_SOURCE.name)
        since = now - self._thresholds.source_window
        # Who tries a file of keys slowly began with those that are in doubt as well: while it is up all of them are named.
        kept = since if up is None else min(since, up.since - self._thresholds.source_window)
        keys = {known: time for known, time in source.keys.items() if kept < time <= now + LATENESS}
        keys[key_id] = now
        source.keys = dict(list(keys.items())[-_KEYS:])
        recent = sum(time > since for time in source.keys.values())
        evidence = _many_keys(network, source, recent)
        if recent >= self._thresholds.source_keys:
            self._raise(network, source, MANY_KEYS_ONE_SOURCE, now, evidence)
        elif up is not None and now < up.until:
            up.evidence = evidence
            self.changed.add(network.number)

    def failed(self, network: Network, count: int, now: int) -> None:
        """`count` requests from `network` carried a key that does not exist.

        Whoever has a /32 has 65,536 networks: beyond the first few they are told of as one, for it is one attack.
        """
        self._fail(network, count, now, self._thresholds.guesses, self._thresholds.guess_window)
        self._fail(EVERYWHERE, count, now, self._thresholds.guesses_everywhere, 300)

    def clear(self) -> None:
        """Forget every network."""
        self.by_number.clear()
        self.changed.clear()

    def lower(self, now: int) -> None:
        """Take down signals that have run out, and those of a clock that was put back since."""
        for number, source in self.by_number.items():
            over = [name for name, up in source.raised.items() if up.until <= now or up.is_ahead_of(now)]
            for name in over:
                del source.raised[name]
            if over:
                self.changed.add(number)

    def acknowledge(self, name: str, now: int) -> None:
        """Take down the signals of the networks with this name; what they did until `now` raises none later, and a mute lasts on."""
        for number in self._named(name):
            self.by_number[number].acknowledge(now)
            self.changed.add(number)

    def mute(self, network: Network, until: int, now: int) -> None:
        """Take a network's signals down, and raise none before `until`, also when it is not remembered any more.

        An `until` that is over ends a mute, and takes nothing down.
        """
        numbers = self._named(network.name)
        if not numbers and (network.number in self.by_number or until > now):
            # With a MaxMind file one number has the name of whichever prefix came first.
            self._source(network, now)
            numbers = [network.number]
        for number in numbers:
            source = self.by_number[number]
            if until > now:
                source.silence(until)
            else:
                source.muted_until = until
            self.changed.add(number)

    def recent(self, now: int) -> dict[int, Source]:
        """The networks that are worth remembering over a restart."""
        since = now - self._thresholds.source_window
        return {
            number: source for number, source in self.by_number.items() if source.raised or source.muted_until > now or source.last > since
        }

    def _named(self, name: str) -> list[int]:
        return [number for number, source in self.by_number.items() if source.name == name]

    def _fail(self, network: Network, count: int, now: int, least: int, window: int) -> None:
        source = self._source(network, now)
        minute = now // MINUTE
        source.failures[minute] = source.failures.get(minute, 0) + count
        if len(source.failures) > _MINUTES:
            source.failures = {known: failures for known, failures in source.failures.items() if known > minute - _MINUTES}
        since, until = minute - window // MINUTE, minute + LATENESS // MINUTE
        recent = sum(failures for known, failures in source.failures.items() if since < known <= until)
        if recent < least:
            return
        if network == EVERYWHERE or self._is_told_by_itself(source, now):
            evidence = f"{recent} requests with unknown keys from {network.name} within {window // MINUTE} minutes"
            self._raise(network, source, KEY_GUESSING, now, evidence)
        else:
            evidence = f"requests with unknown keys from more than {self._thresholds.guessers} networks"
            self._raise(EVERYWHERE, self._source(EVERYWHERE, now), KEY_GUESSING, now, evidence)

    def _is_told_by_itself(self, source: Source, now: int) -> bool:
        """Whether guessing from a network is told as its own; one that is new to it takes one of a few places."""
        if KEY_GUESSING.name in source.raised or now < source.muted_until:
            return True
        everywhere = self._source(EVERYWHERE, now)
        up = everywhere.raised.get(KEY_GUESSING.name)
        # While all together are told, no place becomes free: one attack has these few, however long it lasts.
        since = (now if up is None else min(now, up.since)) - HOUR
        everywhere.told = [time for time in everywhere.told if since < time <= now + LATENESS]
        if len(everywhere.told) >= self._thresholds.guessers:
            return False
        everywhere.told.append(now)
        return True

    def _raise(self, network: Network, source: Source, signal: Signal, now: int, evidence: str) -> None:
        if now < source.muted_until:
            return
        up = source.raised.get(signal.name)
        if up is None or up.until <= now:
            source.raised[signal.name] = Raised(now, now + signal.hold, evidence)
        else:
            up.until, up.evidence = now + signal.hold, evidence
        self.changed.add(network.number)

    def _source(self, network: Network, now: int) -> Source:
        source = self.by_number.pop(network.number, None)
        if source is None:
            if len(self.by_number) >= self._capacity:
                # A few are asked: where nearly all are up, looking through them for each new one would take seconds.
                oldest = list(islice(self.by_number.items(), _ASKED))
                idle = (number for number, known in oldest if not known.raised and known.muted_until <= now)
                del self.by_number[next(idle, oldest[0][0])]
            source = Source(network.name, now)
        source.last = now
        # Put back at the end: the order of the map is the order of use.
        self.by_number[network.number] = source
        return source


def _many_keys(network: Network, source: Source, recent: int) -> str:
    """By name: they are what the runbook says to disable."""
    keys = source.keys
    count = f"{len(keys)} keys" if len(keys) < _KEYS else f"{_KEYS} keys or more"
    within = " within 30 minutes" if recent == len(keys) else f", {recent} of them within 30 minutes"
    return f"{count} first used from {network.name}{within}: {', '.join(keys)}"
