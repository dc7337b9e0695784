"""The books of the supervisor, with children that exist on paper only and a clock of our own."""

from __future__ import annotations

import signal

import pytest

from sidecar.settings import load
from sidecar.supervisor.children import CONTROL_HEAD_START, ending_in_words
from sidecar.supervisor.rolling import PATIENCE, Replacement
from tests.supervisor.paper import World


def test_workers_wait_for_control_which_makes_what_they_need() -> None:
    world = World()
    world.children.start_due()
    assert world.roles() == ["store", "control"]
    world.last("control").ready = True
    world.children.start_due()
    assert world.roles() == ["store", "control", "worker"]


def test_workers_do_not_wait_for_ever() -> None:
    world = World()
    world.children.start_due()
    world.now += CONTROL_HEAD_START
    world.children.start_due()
    assert "worker" in world.roles()


@pytest.mark.parametrize("crashes", [0, 1, 2])
def test_what_is_due_has_been_done(crashes: int) -> None:
    """A time in the past would be looked at again at once, by a supervisor that spins for as long as control starts."""
    world = World()
    world.children.start_due()
    for _ in range(crashes):
        world.end(world.last("control"))
        world.now += 0.3
        world.children.start_due()
    due = world.children.next_event()
    assert due is not None and due > world.now
    world.last("control").ready = True
    world.children.start_due()
    assert world.children.next_event() is None


def test_a_control_process_that_crashes_later_keeps_no_worker_down() -> None:
    world = World()
    world.serve()
    world.end(world.last("control"))
    world.end(world.last("worker"))
    world.now += 0.1
    world.children.start_due()
    assert world.roles()[-2:] == ["control", "worker"]


def test_a_child_that_cannot_be_started_is_tried_again_later() -> None:
    world = World()
    world.refuse = True
    assert not world.children.start_due()
    world.refuse = False
    assert not world.children.start_due()
    world.now += 0.1
    assert world.children.start_due()


def test_the_end_of_a_stranger_is_nobodys_business() -> None:
    world = World()
    world.serve()
    assert world.children.ended(4711, 0) is None


def test_reload_waits_for_every_new_worker_before_it_lets_an_old_one_go() -> None:
    world = World(SIDECAR_PROXY__WORKERS="2")
    world.serve()
    old = [paper for paper in world.started if paper.role == "worker"]
    replacement = Replacement(world.children, load(None, {"SIDECAR_PROXY__WORKERS": "3"}), lambda: world.now)
    new = world.started[-3:]
    for paper in new[:2]:
        paper.ready = True
        assert not replacement.step()
    assert all(paper.signals == [] for paper in old)
    new[2].ready = True
    assert replacement.step()
    assert replacement.failure == ""
    assert all(paper.signals == [signal.SIGTERM] for paper in old)
    assert world.last("control").signals == [signal.SIGUSR2]
    world.end(world.last("control"), 0)
    world.children.start_due()
    assert world.roles()[-1] == "control", "asked to end, it is replaced without any delay"
    assert len(world.children.workers) == 3


@pytest.mark.parametrize("late", [False, True])
def test_reload_gives_up_and_leaves_the_old_ones_alone(late: bool) -> None:
    world = World()
    world.serve()
    old = world.last("worker")
    replacement = Replacement(world.children, load(None, {}), lambda: world.now)
    new = world.last("worker")
    if late:
        world.now += PATIENCE
    else:
        world.end(new, 1)
    assert replacement.step()
    assert "ready" in replacement.failure
    assert old.signals == []
    assert world.children.candidates == []
    if late:
        assert new.signals == [signal.SIGKILL]


def test_exit_codes_are_told_in_words() -> None:
    assert ending_in_words(-9) == "was killed by SIGKILL"
    # Real-time signals between the first and the last one have no name.
    assert ending_in_words(-40) == "was killed by signal 40"
    assert ending_in_words(3) == "ended with exit code 3"
