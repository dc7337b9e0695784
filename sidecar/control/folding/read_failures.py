"""Remembers which spools cannot be read, and leaves them alone for a moment: the others are read on meanwhile."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass

UNREADABLE_EVERY = 1.0
"""Seconds between two attempts: mostly this process has no descriptor left for a moment, and a bad disk makes each one wait."""

COUNTING = ":count"
"""The reader that counts; the others are named as their lanes."""

_log = logging.getLogger(__name__)


@dataclass
class _Failure:
    reason: str
    until: float


class ReadFailures:
    """What failed last time, by spool and by who read it, each at a place of its own; `clock` counts seconds."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._failures: dict[tuple[str, str], _Failure] = {}

    @property
    def complaint(self) -> str:
        """Which file cannot be read, and why; empty while all can be."""
        reasons = sorted({failure.reason for failure in self._failures.values()})
        others = f" (and {len(reasons) - 1} more)" if len(reasons) > 1 else ""
        return f"{reasons[0]}{others}" if reasons else ""

    def has(self, spool_id: str, reader: str) -> bool:
        """Whether `reader` could not read this spool when it last tried."""
        return (spool_id, reader) in self._failures

    def rests(self, spool_id: str, reader: str) -> bool:
        """Whether it is too early to try again."""
        failure = self._failures.get((spool_id, reader))
        return failure is not None and self._clock() < failure.until

    def failed(self, spool_id: str, reader: str, error: OSError) -> None:
        """Leave this spool alone for a while. The log says so once, until all readers can go on."""
        reason = told(error)
        if not self._knows(spool_id):
            _log.error("%s", reason)
        self._failures[spool_id, reader] = _Failure(reason, self._clock() + UNREADABLE_EVERY)

    def succeeded(self, spool_id: str, reader: str) -> None:
        """`reader` has read on in this spool."""
        if self._failures.pop((spool_id, reader), None) is not None and not self._knows(spool_id):
            _log.info("spool %s is read again", spool_id)

    def retire(self, spool_id: str) -> None:
        """The spool is gone."""
        self._failures = {place: failure for place, failure in self._failures.items() if place[0] != spool_id}

    def hurry(self) -> None:
        """Let everything be tried again at once."""
        for failure in self._failures.values():
            failure.until = self._clock()

    def _knows(self, spool_id: str) -> bool:
        return any(known == spool_id for known, _ in self._failures)


def told(error: OSError) -> str:
    """Which file cannot be read, why, and what to do."""
    file = error.filename or "a spool"
    return f"{file} cannot be read ({error.strerror or error}), what it holds waits: look at its disk, permissions and LimitNOFILE"
