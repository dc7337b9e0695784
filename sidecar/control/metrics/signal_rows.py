"""Signals of unusual use by key: those of keys without series of their own add up under one label, as everything of theirs does."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Protocol

from sidecar.control.metrics import catalogue
from sidecar.control.metrics.counts import OVERFLOW
from sidecar.control.metrics.keys import LabelledKeys
from sidecar.control.metrics.text import Page


class Signals(Protocol):
    """What the anomaly engine shows."""

    def active(self) -> Iterable[tuple[str, str]]:
        """(key id, signal) of every active signal."""

    def raised(self) -> Mapping[tuple[str, str], int]:
        """How often each (key id, signal) was raised."""

    def weights(self) -> Mapping[str, float]:
        """What each signal counts towards a key's risk."""


class SignalRows:
    """All families of signals."""

    def __init__(self, signals: Signals, keys: LabelledKeys) -> None:
        self._signals = signals
        self._keys = keys
        self._seen: dict[tuple[str, str], int] = {}
        self._counts: dict[tuple[str, str], int] = {}

    def write(self, page: Page) -> None:
        """Add the families to `page`."""
        self._count()
        active = {(self._label(key_id), signal) for key_id, signal in self._signals.active()}
        page.samples(catalogue.KEY_SIGNAL, [(names, 1) for names in sorted(active)])
        shown = [(names, count) for names, count in sorted(self._counts.items()) if names[0] in self._keys.records or names[0] == OVERFLOW]
        page.samples(catalogue.KEY_SIGNALS, shown)
        page.samples(catalogue.WEIGHT, [((signal,), weight) for signal, weight in self._signals.weights().items()])

    def _count(self) -> None:
        # What was counted under a label stays there: a key that gets a place later must not make the others' sum fall.
        for (key_id, signal), count in self._signals.raised().items():
            new = count - self._seen.get((key_id, signal), 0)
            if new:
                self._seen[key_id, signal] = count
                place = self._label(key_id), signal
                self._counts[place] = self._counts.get(place, 0) + new

    def _label(self, key_id: str) -> str:
        return key_id if key_id in self._keys.records else OVERFLOW
