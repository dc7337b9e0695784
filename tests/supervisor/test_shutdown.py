"""In which order everything ends, and what becomes of whoever does not: in the books of the supervisor."""

from __future__ import annotations

import signal

from sidecar.settings import load
from sidecar.supervisor.rolling import Replacement
from sidecar.supervisor.shutdown import NOTICE, Shutdown
from tests.supervisor.paper import World


def test_a_worker_that_was_told_to_drain_is_not_told_twice() -> None:
    world = World()
    world.serve()
    old = world.last("worker")
    replacement = Replacement(world.children, load(None, {}), lambda: world.now)
    world.last("worker").ready = True
    assert replacement.step()
    shutdown = Shutdown(world.children, lambda: world.now)
    world.now += NOTICE
    assert not shutdown.step()
    assert old.signals == [signal.SIGTERM]
    assert world.last("worker").signals == [signal.SIGTERM]


def test_whoever_does_not_end_in_time_is_killed() -> None:
    world = World()
    world.serve()
    shutdown = Shutdown(world.children, lambda: world.now)
    assert not shutdown.step(), "first the notice"
    world.now += NOTICE
    shutdown.step()
    worker = world.last("worker")
    assert worker.signals == [signal.SIGTERM]
    world.now += world.children.settings.proxy.drain_timeout + 5
    world.children.kill_overdue()
    assert worker.signals == [signal.SIGTERM, signal.SIGKILL]
    world.end(worker)
    assert not shutdown.step()
    assert world.last("control").signals == [signal.SIGTERM, signal.SIGUSR2]
    assert world.last("store").signals == [], "it is still written to"
    world.end(world.last("control"), 0)
    assert not shutdown.step()
    world.end(world.last("store"), 0)
    assert shutdown.step()


def test_hurrying_kills_workers_but_never_the_store() -> None:
    world = World()
    world.serve()
    shutdown = Shutdown(world.children, lambda: world.now)
    shutdown.hurry()
    assert world.last("worker").signals == [signal.SIGTERM, signal.SIGKILL]
    world.end(world.last("worker"))
    shutdown.step()
    shutdown.hurry()
    assert world.last("control").signals[-1] == signal.SIGKILL
    world.end(world.last("control"))
    shutdown.step()
    shutdown.hurry()
    assert world.last("store").signals == [signal.SIGTERM]


def test_without_a_control_process_one_is_started_to_fold_what_the_workers_wrote() -> None:
    """It has crashed a moment ago, or a reload has told it to end: nobody may read their spools after this."""
    world = World()
    world.serve()
    last = world.last("control")
    shutdown = Shutdown(world.children, lambda: world.now)
    world.now += NOTICE
    shutdown.step()
    world.end(last)
    assert not shutdown.step()
    assert world.last("control") is last, "not before the workers have ended"
    world.end(world.last("worker"), 0)
    assert not shutdown.step()
    folds = world.last("control")
    assert folds is not last
    assert folds.signals == [signal.SIGTERM, signal.SIGUSR2], "it is not ready, and ends when it has folded"
    assert [held.fileno() for held in world.control_sockets.values()] == [-1, -1]
    assert world.last("store").signals == [], "it is still written to"
    world.end(folds)
    assert not shutdown.step()
    assert world.last("control") is folds, "one that dies again has had its try"
    world.end(world.last("store"), 0)
    assert shutdown.step()


def test_no_control_process_is_started_at_the_end_where_no_worker_was() -> None:
    world = World()
    world.serve()
    for role in ("worker", "control"):
        world.end(world.last(role))
    started = len(world.started)
    shutdown = Shutdown(world.children, lambda: world.now)
    world.now += NOTICE
    assert not shutdown.step()
    assert len(world.started) == started
    assert world.last("store").signals == [signal.SIGTERM]


def test_a_control_process_that_cannot_be_started_at_the_end_keeps_nobody() -> None:
    world = World()
    world.serve()
    shutdown = Shutdown(world.children, lambda: world.now)
    world.now += NOTICE
    shutdown.step()
    world.refuse = True
    for role in ("control", "worker"):
        world.end(world.last(role))
    assert not shutdown.step()
    assert world.last("store").signals == [signal.SIGTERM]
