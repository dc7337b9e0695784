"""Which worker accepts from which socket, through crashes, reloads and the end: in the books of the supervisor."""

from __future__ import annotations

import signal
from collections.abc import Mapping, Sequence

import pytest

from sidecar.settings import load
from sidecar.supervisor.rolling import Replacement
from sidecar.supervisor.shutdown import DRAIN_MARGIN, NOTICE, Shutdown
from tests.supervisor.paper import Paper, World
from tests.support.ports import free_port


def test_a_new_worker_takes_over_the_socket_of_the_old_one() -> None:
    world = World(SIDECAR_PROXY__WORKERS="2")
    world.serve()
    before = world.listeners()
    assert len(set(before)) == 2
    replacement = Replacement(world.children, load(None, {"SIDECAR_PROXY__WORKERS": "3"}), lambda: world.now)
    assert world.listeners()[:4] == before + before
    for paper in world.started:
        paper.ready = True
    assert replacement.step()
    for paper in world.started[-5:-3]:
        world.end(paper, 0)
    assert world.sockets == 3, "the end of an old worker costs the new one nothing"
    assert -1 not in world.listeners()


def test_the_socket_of_a_worker_that_died_is_closed_and_the_next_one_gets_another() -> None:
    world = World(SIDECAR_PROXY__WORKERS="2")
    world.serve()
    first, second = world.listeners()
    (closed,) = world.children.workers[0].listeners
    world.end(world.last("control"))
    assert closed.fileno() == first
    world.end(next(paper for paper in world.started if paper.listen_fd == first))
    assert closed.fileno() == -1
    world.now += 0.1
    world.children.start_due()
    assert world.listeners()[0] == second
    assert world.listeners()[1] not in (first, second)


def test_a_worker_that_dies_during_a_reload_leaves_its_socket_to_the_new_one() -> None:
    world = World()
    world.serve()
    old = world.last("worker")
    replacement = Replacement(world.children, load(None, {}), lambda: world.now)
    new = world.last("worker")
    world.end(old)
    (taken_over,) = world.children.candidates[0].listeners
    assert taken_over.fileno() == old.listen_fd == new.listen_fd
    world.end(new)
    assert replacement.step()
    world.now += 0.1
    world.children.start_due()
    assert world.last("worker").listen_fd != old.listen_fd, "it was left by both"


def reload(world: World, workers: int, *, fails: bool = False) -> list[list[int]]:
    """Reload to another number of `workers`; the descriptors that each of the new ones was given."""
    replacement = Replacement(world.children, load(None, {"SIDECAR_PROXY__WORKERS": str(workers)}), lambda: world.now)
    new = world.started[-workers:]
    for paper in new:
        paper.ready = True
    if fails:
        world.end(new[-1], 1)
    assert replacement.step()
    for paper in [paper for paper in world.started if paper.signals and paper.pid]:
        world.end(paper, 0)
    return [list(paper.fds["listen"]) for paper in new]


def test_fewer_workers_share_the_sockets_that_more_ones_leave() -> None:
    world = World(SIDECAR_PROXY__WORKERS="3")
    world.serve()
    first, second, third = world.listeners()
    assert reload(world, 1) == [[first, second, third]]
    assert reload(world, 2) == [[first, third], [second, third]]
    assert reload(world, 3) == [[first], [second], [third]]
    assert world.sockets == 3, "none was closed, so that none had to be made anew"


def test_a_reload_that_is_given_up_leaves_the_sockets_that_are_shared() -> None:
    world = World(SIDECAR_PROXY__WORKERS="2")
    world.serve()
    shared = world.children.workers[1].listeners
    reload(world, 1)
    _, _, (beyond,) = reload(world, 3, fails=True)
    assert all(listener.fileno() >= 0 for listener in shared)
    assert beyond not in [listener.fileno() for listener in world.children.workers[0].listeners]
    assert world.sockets == 3
    assert reload(world, 1) == [world.listeners_of(world.children.workers[0])], "what nobody had was closed"


def test_what_is_shared_is_closed_with_the_last_worker_that_shares_it() -> None:
    world = World(SIDECAR_PROXY__WORKERS="3")
    world.serve()
    shared = world.children.workers[2].listeners[0]
    reload(world, 2)
    one, other = world.children.workers
    assert one.process is not None and other.process is not None
    world.children.ended(one.process.pid, -9)
    assert shared.fileno() >= 0
    world.children.ended(other.process.pid, -9)
    assert shared.fileno() == -1
    world.now += 1
    world.children.start_due()
    assert [len(slot.listeners) for slot in world.children.workers] == [1, 1]


@pytest.mark.parametrize("fails", [False, True])
def test_a_reload_to_another_address_makes_sockets_there_and_gives_up_the_others(fails: bool) -> None:
    world = World()
    world.serve()
    (former,) = world.children.workers[0].listeners
    there = load(None, {"SIDECAR_PROXY__LISTEN": f"127.0.0.1:{free_port()}"})
    replacement = Replacement(world.children, there, lambda: world.now)
    (made,) = world.children.candidates[0].listeners
    assert former is not made
    if fails:
        world.end(world.last("worker"), 1)
    else:
        world.last("worker").ready = True
    assert replacement.step()
    assert (former.fileno() == -1, made.fileno() == -1) == (not fails, fails)


def test_a_reload_to_an_address_that_cannot_be_had_changes_nothing() -> None:
    world = World()
    world.serve()
    old = world.last("worker")
    world.refuse_sockets = True
    there = load(None, {"SIDECAR_PROXY__LISTEN": f"127.0.0.1:{free_port()}"})
    replacement = Replacement(world.children, there, lambda: world.now)
    assert replacement.step()
    assert "proxy.listen" in replacement.failure and "in use" in replacement.failure
    assert world.last("worker") is old
    assert old.signals == []


def test_a_reload_that_is_given_up_cuts_no_request_of_a_worker_that_serves_already() -> None:
    world = World()
    world.serve()
    old = world.last("worker")
    settings = load(None, {"SIDECAR_PROXY__WORKERS": "3", "SIDECAR_PROXY__DRAIN_TIMEOUT": "7s"})
    replacement = Replacement(world.children, settings, lambda: world.now)
    serving, dying, waiting = world.started[-3:]
    serving.ready = True
    world.end(dying, 1)
    assert replacement.step()
    assert "ended before it was ready" in replacement.failure
    assert (serving.signals, waiting.signals, old.signals) == ([signal.SIGTERM], [signal.SIGKILL], [])
    world.end(waiting)
    world.now += 7
    world.children.kill_overdue()
    assert serving.signals == [signal.SIGTERM], "its time to drain is not over"
    world.now += DRAIN_MARGIN
    world.children.kill_overdue()
    assert serving.signals == [signal.SIGTERM, signal.SIGKILL]


def test_a_control_process_takes_over_the_sockets_of_the_last_one_and_workers_get_none_of_them() -> None:
    world = World()
    world.serve()
    first = world.last("control").fds
    assert set(first) == {"admin", "metrics"}
    assert set(world.last("worker").fds) == {"listen"}
    world.end(world.last("control"))
    world.now += 0.1
    world.children.start_due()
    replacement = Replacement(world.children, load(None, {}), lambda: world.now)
    world.last("worker").ready = True
    assert replacement.step()
    world.end(world.last("control"), 0)
    world.children.start_due()
    controls = [paper for paper in world.started if paper.role == "control"]
    assert len(controls) == 3
    assert all(paper.fds == first for paper in controls), "after a crash, and after a reload"


@pytest.mark.parametrize("fails", [False, True])
def test_a_reload_makes_sockets_where_control_is_to_listen_and_gives_up_those_that_nobody_needs(fails: bool) -> None:
    world = World()
    world.serve()
    old = world.children.settings
    there = load(None, {"SIDECAR_ADMIN__LISTEN": f"127.0.0.1:{free_port()}"})
    replacement = Replacement(world.children, there, lambda: world.now)
    if fails:
        world.end(world.last("worker"), 1)
    else:
        world.last("worker").ready = True
    assert replacement.step()
    closed = {listen: held.fileno() == -1 for listen, held in world.control_sockets.items()}
    assert closed == {old.admin.listen: not fails, there.admin.listen: fails, old.metrics.listen: False}
    world.end(world.last("control"), 0)
    world.now += 1
    world.children.start_due()
    chosen = old if fails else there
    assert world.last("control").fds["admin"] == [world.control_sockets[chosen.admin.listen].fileno()]


def test_a_reload_to_where_control_cannot_listen_changes_nothing() -> None:
    world = World()
    world.serve()
    world.refuse_sockets = True
    there = load(None, {"SIDECAR_METRICS__LISTEN": f"127.0.0.1:{free_port()}"})
    replacement = Replacement(world.children, there, lambda: world.now)
    assert replacement.step()
    assert replacement.failure.startswith(f"metrics.listen: {there.metrics.listen} is in use")
    assert world.last("control").signals == [] and world.children.candidates == []


class Failing(World):
    """Where something fails that nobody thought of, from the second new worker on."""

    def launch(self, role: str, index: int, settings: bytes, fds: Mapping[str, Sequence[int]]) -> Paper:
        if len(self.started) > 3:
            raise ValueError("unforeseen")
        return super().launch(role, index, settings, fds)


def test_a_reload_that_fails_unforeseen_leaves_nobody_behind() -> None:
    world = Failing()
    world.serve()
    with pytest.raises(ValueError, match="unforeseen"):
        Replacement(world.children, load(None, {"SIDECAR_PROXY__WORKERS": "2"}), lambda: world.now)
    assert world.children.candidates == []
    assert [slot.process for slot in world.children.leaving] == [world.last("worker")]
    assert world.last("worker").signals == [signal.SIGKILL]


def test_a_worker_waits_while_there_is_no_socket_for_it() -> None:
    world = World()
    world.serve()
    world.refuse_sockets = True
    world.end(world.last("worker"))
    world.now += 0.1
    assert not world.children.start_due()
    world.refuse_sockets = False
    world.now += 0.2
    assert world.children.start_due()
    assert world.last("worker").listen_fd is not None


def test_at_the_end_nobody_is_kept_waiting_for_another_control_process() -> None:
    world = World()
    world.serve()
    Shutdown(world.children, lambda: world.now)
    assert [held.fileno() for held in world.control_sockets.values()] == [-1, -1]


def test_at_the_end_sockets_last_as_long_as_the_workers_that_drain() -> None:
    world = World()
    world.serve()
    (listener,) = world.children.workers[0].listeners
    shutdown = Shutdown(world.children, lambda: world.now)
    assert not shutdown.step()
    assert listener.fileno() >= 0
    world.now += NOTICE
    shutdown.step()
    assert listener.fileno() == -1
    assert world.last("worker").signals == [signal.SIGTERM]
