"""Whether the sidecar is ready: the store answers here and at every worker, and every worker serves. The hub does not count."""

from __future__ import annotations

from collections.abc import Callable

from sidecar.control.workers import Workers


class Readiness:
    """Call it for the reason why the sidecar is not ready, empty when it is."""

    def __init__(self, store_failure: Callable[[], str], restored: Callable[[], bool], workers: Workers, expected: int) -> None:
        self._store_failure = store_failure
        self._restored = restored
        self._workers = workers
        self._expected = expected
        self.stopping = False

    def __call__(self) -> str:
        """One sentence, for people."""
        if self.stopping:
            return "shutting down"
        failure = self._store_failure()
        if failure:
            return failure
        if not self._restored():
            return "the counts of earlier runs are being read"
        serving = self._workers.serving()
        missing = self._expected - len({state.worker for state in serving})
        if missing > 0:
            return f"{missing} of {self._expected} workers have not reported"
        # Each has a connection of its own. Without it a worker can look up no key, though it is there.
        # Of a worker that drains and its successor it is enough that one does: the settings of the former may name another store, and it
        # takes nothing new.
        reached = {state.worker for state in serving if state.store_up}
        cut_off = sorted({state.worker for state in serving} - reached)
        return f"the key store does not answer worker {', '.join(map(str, cut_off))}" if cut_off else ""
