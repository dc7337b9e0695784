"""The detectors over all keys: seconds go in, episodes come out. No store, no clock, no network.

This is what the control process runs and what the benchmark replays in virtual time. It sees no events: the engine does, as
one of the fold's observers, and sums them up for it.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable
from itertools import islice

from sidecar.control.anomaly.detectors.memory import Memory
from sidecar.control.anomaly.detectors.networks import Networks
from sidecar.control.anomaly.detectors.second import NO_KEY, Second, SecondSums
from sidecar.control.anomaly.detectors.sources import EVERYWHERE, Sources
from sidecar.control.anomaly.detectors.thresholds import Thresholds
from sidecar.control.anomaly.detectors.watch import Detectors, Watch
from sidecar.control.anomaly.detectors.windows import STEP
from sidecar.control.anomaly.episodes import Change, Episodes
from sidecar.store.names import shard_of

AT_ONCE = 500
"""Keys that are looked at in one go at least; each costs some ten microseconds."""

_LOWER_EVERY = 10
"""Seconds between two looks for signals that have run out."""
_UNKNOWN_KEY = "invalid_api_key"

NameOf = Callable[[str], str]
"""The name of a key, "" when it is not known."""


class Observer:
    """Feeds each key's watch, and keeps episodes."""

    def __init__(
        self,
        networks: Networks,
        name_of: NameOf,
        *,
        thresholds: Thresholds | None = None,
        sources: Sources | None = None,
        episodes: Episodes | None = None,
    ) -> None:
        self.thresholds = thresholds or Thresholds()
        self.sources = sources or Sources(self.thresholds)
        self.episodes = episodes or Episodes("")
        self.watches: dict[str, Watch] = {}
        self.changed: set[str] = set()
        """Keys whose memory changed since somebody emptied this."""
        self.sums = SecondSums()
        """Where traffic goes in."""
        self._networks = networks
        self._name_of = name_of
        self._detectors = Detectors(networks, self.thresholds, self._key_met_network)
        self._lowered_at = 0

    def number_with(self, salt: bytes) -> None:
        """The salt of what is remembered; nothing may be looked at before."""
        self._networks.use(salt)

    def tick(self, now: int, *, force: bool = False) -> list[Change]:
        """Look at sums that are `STEP` seconds old, or at all when forced; returns what changed. Call it once a second or so.

        A fifth of what waits is the most that is looked at in one go, so that nothing else in the process waits for long.
        """
        changes: list[Change] = []
        waiting = len(self.sums)
        begun_by = now if force else now - STEP
        for second in self.sums.take(begun_by, waiting if force else max(AT_ONCE, waiting // 5)):
            if second.key_id == NO_KEY:
                self._count_failures(second)
            elif second.key_id not in self.watches:
                self.sums.add(second)
            else:
                changes += self._step(second)
        if self.sources.changed:
            changes += self._assess_sources(now)
        if abs(now - self._lowered_at) >= _LOWER_EVERY:
            self._lowered_at = now
            changes += self._lower(now)
        return changes

    def unknown(self, at_most: int, away: Container[int] = ()) -> list[str]:
        """Keys that have traffic and no watch yet, those that have waited longest first; it waits until `admit`.

        None of the shards `away`, of which nothing is known.
        """
        keys = (key_id for key_id in self.sums.key_ids() if key_id not in self.watches and key_id != NO_KEY)
        return list(islice((key_id for key_id in keys if shard_of(key_id) not in away), at_most))

    def admit(self, key_id: str, memory: Memory) -> None:
        """Begin to watch a key, from what is remembered of it."""
        self.watches[key_id] = Watch(key_id, memory)

    def assess(self, key_id: str, now: int) -> Change | None:
        """Fit the key's signals into its episode again, after something other than traffic changed them."""
        return self.episodes.assess("key", key_id, self._name_of(key_id), self.watches[key_id].memory.raised, now)

    def mute_source(self, name: str, until: int, now: int) -> None:
        """Take down the signals of the network with this name, remembered or not, and raise none before `until`."""
        self.sources.mute(EVERYWHERE if name == EVERYWHERE.name else self._networks.named(name), until, now)

    def put_right(self, now: int) -> None:
        """Correct what a clock that was ahead left as keys' last use, before they are forgotten or used again."""
        self.changed |= {key_id for key_id, watch in self.watches.items() if watch.put_right(now)}

    def forget(self, key_ids: Iterable[str]) -> None:
        """Let go of watches; their memories must have been saved."""
        for key_id in key_ids:
            self.watches.pop(key_id, None)

    def clear(self) -> None:
        """Let go of everything but the traffic that was not looked at."""
        self.watches.clear()
        self.changed.clear()
        self.episodes.open.clear()
        self.sources.clear()

    def _step(self, second: Second) -> list[Change]:
        watch = self.watches[second.key_id]
        memory = watch.memory
        changes = self._run_out(second.key_id, second.time) if memory.raised else []
        if self.episodes.is_over(second.key_id, second.time):
            changes.append(Change(self.episodes.close(second.key_id, second.time)))
        before = memory.changes
        episode = self.episodes.open.get(second.key_id)
        watch.step(second, self._detectors, learn=episode is None or episode.level != "page" or episode.state != "open")
        self.changed.add(second.key_id)
        if memory.changes != before and (change := self.assess(second.key_id, second.time)) is not None:
            changes.append(change)
        return changes

    def _run_out(self, key_id: str, now: int, *, by_clock: bool = False) -> list[Change]:
        """Take down the key's signals that have run out; the episode is quiet from then on, however late this is noticed."""
        when = self.watches[key_id].memory.lower(now, by_clock=by_clock)
        if not when:
            return []
        self.changed.add(key_id)
        change = self.assess(key_id, when)
        return [] if change is None else [change]

    def _count_failures(self, second: Second) -> None:
        for (address, code, _), count in second.refusals.items():
            if code == _UNKNOWN_KEY:
                self.sources.failed(self._networks.of(address), count, second.time)

    def _key_met_network(self, key_id: str, address: str, now: int) -> None:
        self.sources.key_began(self._networks.of(address), key_id, now)

    def _assess_sources(self, now: int) -> list[Change]:
        changed, self.sources.changed = self.sources.changed, set()
        found = []
        for number in changed:
            source = self.sources.by_number.get(number)
            if source is not None:
                found.append(self.episodes.assess("source", source.name, source.name, source.raised, now))
        return [change for change in found if change is not None]

    def _lower(self, now: int) -> list[Change]:
        changes: list[Change] = []
        for subject in list(self.episodes.open):
            if subject in self.watches:
                changes += self._run_out(subject, now, by_clock=True)
        self.sources.lower(now)
        return changes + self._assess_sources(now) + self._quieten(now) + self.episodes.end_quiet(now)

    def _quieten(self, now: int) -> list[Change]:
        """Quieten episodes of which no signal is remembered, after a crash or because there were too many: nothing else would."""
        known = {source.name for source in self.sources.by_number.values() if source.raised}
        known |= {name for name in self.episodes.open if name in self.watches and self.watches[name].memory.raised}
        silent = [(name, one.subject) for name, one in self.episodes.open.items() if one.active and name not in known]
        changes = [self.episodes.assess(subject, name, name, {}, now) for name, subject in silent]
        return [change for change in changes if change is not None]
