"""What the workers say of themselves, once a second each: who is there, and counters that outlive them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from sidecar.control.totals.sums import Sums
from sidecar.events.record import WorkerState

FRESH = 3.0
"""Seconds after which a silent worker counts as gone."""


class Workers:
    """The latest state of each worker, by its spool; `clock` gives Unix seconds, `since` is when this process began.

    There are to be `count` workers; with 0 that is not known. `touched` says when a spool was last written: where the disk is full,
    a worker can say no more than that it is there.
    """

    def __init__(self, clock: Callable[[], float], since: float, count: int = 0, touched: Callable[[str], float] = lambda _: 0.0) -> None:
        self._clock = clock
        self._since = since
        self._count = count
        self._touched = touched
        self._states: dict[str, WorkerState] = {}
        self._retired: dict[str, int] = {}
        self._heard_at: float | None = None
        self._all_heard = False

    def observe(self, spool_id: str, records: list[bytes], sums: Sums) -> None:
        """Take the latest state in."""
        del records
        if not sums.states:
            return
        state = self._states[spool_id] = sums.states[-1]
        if state.time < self._oldest():
            # What was written before is still being read: of another worker, too, it may be an older report that is known.
            self._heard_at = None
        elif self._heard_at is None:
            self._heard_at = self._clock()

    def retire(self, spool_id: str) -> None:
        """The worker is gone: keep what it counted."""
        state = self._states.pop(spool_id, None)
        if state is not None:
            _add(self._retired, _counters(state))

    def live(self) -> list[WorkerState]:
        """The workers that reported lately, in order; one that is being replaced comes beside its successor until it is silent.

        What was reported before this process began may be the last word of workers that were stopped with the one before.
        """
        oldest = self._oldest()
        return _in_order(state for state in self._states.values() if state.time >= oldest)

    def serving(self) -> list[WorkerState]:
        """The same and those that live but have no room for a report, as they were last."""
        oldest = self._oldest()
        return _in_order(state for spool_id, state in self._states.items() if state.time >= oldest or self._touched(spool_id) >= oldest)

    def all_heard(self) -> bool:
        """Whether `counters` has every worker: each has reported since the first one did, or counts as gone. Once true, always true."""
        if not self._all_heard and self._heard_at is not None:
            is_there = 0 < self._count <= len(self.indexes())
            # Where a clock was put back nobody knows how long ago that was.
            self._all_heard = is_there or not 0 <= self._clock() - self._heard_at < FRESH
        return self._all_heard

    def in_flight(self) -> dict[str, int]:
        """Requests under way by key, over all live workers."""
        total: dict[str, int] = {}
        for state in self.live():
            _add(total, state.in_flight)
        return total

    def counters(self) -> dict[str, int]:
        """Counters over all workers that this process has seen, living and dead; `cache:<result>`, `dropped` and those by metric name.

        Workers count on while this process is started anew: until `all_heard` the sums are too small.
        """
        total = dict(self._retired)
        for state in self._states.values():
            _add(total, _counters(state))
        return total

    def indexes(self) -> set[int]:
        """The worker numbers that reported lately."""
        return {state.worker for state in self.live()}

    def gauge(self, field: str) -> Iterable[tuple[tuple[str], float]]:
        """One field of the live workers by worker number; of two with one number (a replacement) the later one."""
        values: dict[str, Any] = {str(state.worker): getattr(state, field) for state in sorted(self.live(), key=lambda state: state.time)}
        return [((worker,), float(value)) for worker, value in sorted(values.items())]

    def _oldest(self) -> float:
        """How old a report of a worker that is there may be."""
        now = self._clock()
        # A clock that is put back behind that moment would keep every worker away until it has come there again.
        self._since = min(self._since, now)
        return max(now - FRESH, self._since)


def _in_order(states: Iterable[WorkerState]) -> list[WorkerState]:
    return sorted(states, key=lambda state: (state.worker, state.pid))


def _counters(state: WorkerState) -> dict[str, int]:
    counters = {f"cache:{result}": count for result, count in state.cache.items()}
    counters["dropped"] = state.dropped
    counters.update(state.counters)
    return counters


def _add(into: dict[str, int], counts: dict[str, int]) -> None:
    for name, count in counts.items():
        into[name] = into.get(name, 0) + count
