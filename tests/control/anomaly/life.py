"""A key's life for tests: ordinary weeks in a few lines, and what comes after them."""

from __future__ import annotations

from collections.abc import Sequence

from sidecar.control.anomaly.detectors import amounts as places
from sidecar.control.anomaly.detectors.baseline import NO_PEAKS, Peaks
from sidecar.control.anomaly.detectors.memory import Memory
from sidecar.control.anomaly.detectors.networks import Networks
from sidecar.control.anomaly.detectors.second import Second
from sidecar.control.anomaly.detectors.signals import BY_NAME, DAY, level
from sidecar.control.anomaly.detectors.thresholds import Thresholds
from sidecar.control.anomaly.observer import Observer

BORN = 1767571200
"""Monday, 5 January 2026, UTC."""

HOME, AWAY = "198.51.100.7", "203.0.113.9"
AGENT, MODEL, ROUTE = "openai-python/1.40", "model-a", "chat"
KEY = "key_0123456789abcdef"


def amounts(**sums: int) -> list[int]:
    """Sums by the names of their places: `amounts(served=2)`."""
    found = [0] * places.PLACES
    for name, amount in sums.items():
        found[getattr(places, name.upper())] = amount
    return found


def peaks(requests: Sequence[int] = (), tokens: Sequence[int] = (), **others: int) -> Peaks:
    """Peaks: of requests and tokens the most of a minute, of five minutes and of an hour, as far as given; the others by name."""
    most = list(NO_PEAKS)
    most[places.REQUEST_PEAKS : places.REQUEST_PEAKS + len(requests)] = requests
    most[places.TOKEN_PEAKS : places.TOKEN_PEAKS + len(tokens)] = tokens
    for name, amount in others.items():
        most[getattr(places, name.upper())] = amount
    return tuple(most)


def served(
    time: int, count: int = 1, *, client: str = HOME, agent: str = AGENT, model: str = MODEL, route: str = ROUTE, key: str = KEY
) -> Second:
    """Served requests of one caller."""
    return Second(key, time, amounts(served=count, tokens=100 * count), callers={(client, agent, model, route): count}, refusals={})


def refused(time: int, code: str, count: int = 1, *, client: str = HOME, model: str = "", key: str = KEY) -> Second:
    """Refused requests of one client."""
    return Second(key, time, amounts(refused=count), callers={}, refusals={(client, code, model): count})


class Life:
    """One observer with one key that was used every ten minutes for some days."""

    def __init__(self, days: float = 15, *, every: int = 600, count: int = 10, thresholds: Thresholds | None = None) -> None:
        self.observer = Observer(Networks(b"salt"), lambda key_id: f"name of {key_id}", thresholds=thresholds)
        self.now = BORN
        self.told: list[tuple[str, str]] = []
        """(subject, level) of every rise."""
        self.observer.admit(KEY, Memory(BORN))
        for time in range(BORN + every, BORN + int(days * DAY), every):
            self.see(served(time, count))

    def see(self, *seconds: Second) -> None:
        """Look at traffic at once."""
        for second in seconds:
            if second.key_id and second.key_id not in self.observer.watches:
                self.observer.admit(second.key_id, Memory(BORN))
            self.observer.sums.add(second)
            self.now = max(self.now, second.time)
            for change in self.observer.tick(second.time, force=True):
                if change.rose_to is not None:
                    self.told.append((change.anomaly.name_of_subject, change.rose_to))

    def later(self, seconds: int) -> int:
        """Move on in time; nothing happens."""
        self.now += seconds
        return self.now

    def idle(self, seconds: int) -> None:
        """Let the detectors see that time passes."""
        for change in self.observer.tick(self.later(seconds), force=True):
            assert change.rose_to is None

    @property
    def memory(self) -> Memory:
        return self.observer.watches[KEY].memory

    @property
    def signals(self) -> set[str]:
        return set(self.memory.raised)

    @property
    def level(self) -> str:
        return level(BY_NAME[name] for name in self.signals)
