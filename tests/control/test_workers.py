"""Which workers are there."""

from __future__ import annotations

from sidecar.control.totals.sums import Sums
from sidecar.control.workers import FRESH, Workers
from sidecar.events.record import WorkerState
from tests.support.keys import Clock


def state(time: float, worker: int = 0, pid: int = 10, **counters: int) -> WorkerState:
    return WorkerState(time, worker, pid, {"key_a": 2}, 0.1, 0.0, 1, 1, 0, {"hit": 5}, True, 0, counters)


def report(workers: Workers, spool_id: str, reported: WorkerState) -> None:
    sums = Sums()
    sums.states.append(reported)
    workers.observe(spool_id, [], sums)


def test_a_worker_is_there_for_three_seconds_after_its_report() -> None:
    clock = Clock()
    workers = Workers(clock, since=clock.now)
    report(workers, "a", state(clock.now))
    clock.now += FRESH
    assert workers.indexes() == {0}
    assert workers.in_flight() == {"key_a": 2}
    clock.now += 0.001
    assert not workers.indexes()
    assert not workers.in_flight()


def test_a_worker_that_can_only_touch_its_spool_serves_but_does_not_report() -> None:
    """As on a full disk, which the number of those that report then shows."""
    clock, touched = Clock(), {"a": 0.0}
    workers = Workers(clock, since=clock.now, touched=lambda spool_id: touched[spool_id])
    report(workers, "a", state(clock.now))
    touched["a"] = clock.now + 60
    clock.now += 60 + FRESH
    assert [one.worker for one in workers.serving()] == [0]
    assert not workers.indexes() and not workers.in_flight()
    clock.now += 0.001
    assert not workers.serving()


def test_the_last_word_of_workers_of_an_earlier_run_counts_for_nothing() -> None:
    """After a quick restart the spools still say that workers were there a moment ago; none of them serves any more."""
    clock = Clock()
    workers = Workers(clock, since=clock.now)
    report(workers, "earlier", state(clock.now - 0.5))
    assert not workers.indexes()
    report(workers, "now", state(clock.now + 0.5, pid=11))
    assert [one.pid for one in workers.live()] == [11]


def test_workers_are_there_after_a_clock_was_put_back() -> None:
    clock = Clock()
    workers = Workers(clock, since=clock.now)
    report(workers, "a", state(clock.now))
    clock.now -= 3600
    report(workers, "a", state(clock.now))
    assert workers.indexes() == {0}
    clock.now += FRESH + 0.1
    assert not workers.indexes()


def test_what_a_worker_counted_outlives_it() -> None:
    clock = Clock()
    workers = Workers(clock, since=clock.now)
    report(workers, "a", state(clock.now, requests=3))
    workers.retire("a")
    report(workers, "b", state(clock.now, requests=4))
    assert workers.counters() == {"cache:hit": 10, "dropped": 0, "requests": 7}


def test_not_all_are_heard_while_what_was_written_earlier_is_still_being_read() -> None:
    """After a time without a store there is much to read, and its older reports count less than was counted before."""
    clock = Clock()
    workers = Workers(clock, since=clock.now)
    clock.now += 1000
    report(workers, "a", state(clock.now))
    for behind in range(9, 0, -1):
        clock.now += 1.0
        report(workers, "a", state(clock.now))
        report(workers, "b", state(clock.now - behind * 100, worker=1))
        assert not workers.all_heard()
    report(workers, "a", state(clock.now))
    clock.now += FRESH
    assert workers.all_heard()


def test_the_last_words_of_an_earlier_run_are_not_all() -> None:
    clock = Clock()
    workers = Workers(clock, since=clock.now)
    report(workers, "earlier", state(clock.now - 100))
    clock.now += 100
    assert not workers.all_heard()
    report(workers, "now", state(clock.now))
    assert not workers.all_heard()
    clock.now += FRESH
    assert workers.all_heard()


def test_all_are_heard_as_soon_as_as_many_have_reported_as_there_are_to_be() -> None:
    """So that a sidecar that was just started has its counters from the first second on."""
    clock = Clock()
    workers = Workers(clock, since=clock.now, count=2)
    report(workers, "a", state(clock.now))
    assert not workers.all_heard()
    report(workers, "b", state(clock.now, worker=1))
    assert workers.all_heard()
