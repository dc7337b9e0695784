"""When the sidecar is ready, and what it says when it is not."""

from __future__ import annotations

from sidecar.control.readiness import Readiness
from sidecar.control.totals.sums import Sums
from sidecar.control.workers import FRESH, Workers
from sidecar.events.record import WorkerState
from tests.support.keys import Clock


class Around:
    """A readiness, and what it looks at, to be changed by hand."""

    def __init__(self, workers: int) -> None:
        self.clock, self.failure, self.restored = Clock(), "", True
        self.workers = Workers(self.clock, since=self.clock.now, count=workers)
        self.readiness = Readiness(lambda: self.failure, lambda: self.restored, self.workers, workers)

    def report(self, worker: int, *, store_up: bool = True, pid: int = 10) -> None:
        sums = Sums()
        sums.states.append(WorkerState(self.clock.now, worker, pid, {}, 0.1, 0.0, 1, 1, 0, {}, store_up, 0))
        self.workers.observe(f"{worker}:{pid}", [], sums)


def test_ready_when_the_store_answers_and_all_workers_serve() -> None:
    around = Around(2)
    assert around.readiness() == "2 of 2 workers have not reported"
    around.report(0)
    assert around.readiness() == "1 of 2 workers have not reported"
    around.report(1)
    assert around.readiness() == ""
    around.restored = False
    assert "are being read" in around.readiness()
    around.failure = "the key store is on fire"
    assert around.readiness() == "the key store is on fire"
    around.readiness.stopping = True
    assert around.readiness() == "shutting down"


def test_not_ready_while_the_store_does_not_answer_a_worker() -> None:
    """It can look up no key, whatever the store says to the control process."""
    around = Around(3)
    around.report(0)
    around.report(1, store_up=False)
    around.report(2, store_up=False)
    assert around.readiness() == "the key store does not answer worker 1, 2"
    around.clock.now += 1
    around.report(1)
    around.report(2)
    assert around.readiness() == ""


def test_what_a_worker_that_was_replaced_says_of_the_store_does_not_count() -> None:
    around = Around(1)
    for _ in range(2):
        around.report(0, pid=11)
        around.clock.now += 1
        # It drains; its store may be the one of before the reload.
        around.report(0, store_up=False)
        assert around.readiness() == ""
    around.clock.now += FRESH + 0.1
    assert around.readiness() == "1 of 1 workers have not reported"
