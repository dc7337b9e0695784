"""How long a crashed child waits before it is started again. Pure."""

from __future__ import annotations

FIRST = 0.1
LONGEST = 5.0
"""Seconds until the restart after a first crash, and the most that it can become."""
GOOD_LIFE = 30.0
"""Seconds after which a child counts as sound again: its next crash waits `FIRST` only."""


class Backoff:
    """Doubles from `FIRST` to `LONGEST` seconds while a child keeps dying young."""

    def __init__(self) -> None:
        self._next = FIRST

    def after(self, lifetime: float) -> float:
        """Seconds to wait now that the child has died after `lifetime` seconds."""
        if lifetime >= GOOD_LIFE:
            self._next = FIRST
        delay, self._next = self._next, min(self._next * 2, LONGEST)
        return delay
