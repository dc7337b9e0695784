"""Sockets are handed from worker to worker: real processes, real signals, real sockets."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
from pathlib import Path

import pytest

from tests.supervisor.fakes import Sidecar, alive
from tests.support.ports import free_port, is_open
from tests.support.waiting import wait_until


def sockets_of(pid: int) -> set[str]:
    """The sockets that process `pid` has, by inode."""
    links = []
    for path in Path(f"/proc/{pid}/fd").iterdir():
        # A process that has just begun opens and closes files while its descriptors are listed.
        with contextlib.suppress(FileNotFoundError):
            links.append(os.readlink(path))
    return {link for link in links if link.startswith("socket:")}


def test_each_worker_has_its_own_socket_and_nobody_else_has_it(sidecar: Sidecar) -> None:
    sidecar.configure(workers=2, store="redis://127.0.0.1:1")
    sidecar.start()
    wait_until(lambda: "serving on" in sidecar.output)
    held = sockets_of(sidecar.pid)
    first, second = (sockets_of(pid) & held for pid in sidecar.pids("worker"))
    assert len(first) == len(second) == 1
    assert first != second
    control = sockets_of(sidecar.pids("control")[0]) & held
    assert len(control) == 2
    assert not control & (first | second)

    sidecar.configure(realm="second", workers=2, store="redis://127.0.0.1:1")
    before = sidecar.pids("worker")
    sidecar.send(signal.SIGHUP)
    wait_until(lambda: len(sidecar.pids("worker")) == 2 and not set(before) & set(sidecar.pids("worker")))
    assert [sockets_of(pid) & held for pid in sidecar.pids("worker")] == [first, second], "they were handed on"
    wait_until(lambda: len(sidecar.events("control", "ready")) == 2)
    assert sockets_of(int(sidecar.events("control", "ready")[1][2])) & held == control


def test_clients_are_not_left_to_a_worker_that_has_died(sidecar: Sidecar) -> None:
    """The one that is left gets every connection, until the other one is there again."""
    sidecar.configure(workers=2, behaviour="mute")
    sidecar.start()
    wait_until(lambda: len(sidecar.pids("worker")) == 2 and is_open(sidecar.port))
    victim = sidecar.pids("worker")[0]
    dead = sockets_of(victim) & sockets_of(sidecar.pid)
    os.kill(victim, signal.SIGKILL)
    wait_until(lambda: not dead & sockets_of(sidecar.pid))
    wait_until(lambda: victim not in sidecar.pids("worker") and len(sidecar.pids("worker")) == 2)
    assert not dead & sockets_of(sidecar.pids("worker")[0])


def test_a_reload_changes_the_address(sidecar: Sidecar) -> None:
    sidecar.start()
    wait_until(lambda: "serving on" in sidecar.output)
    former, sidecar.port = sidecar.port, free_port()
    sidecar.configure(realm="second")
    sidecar.send(signal.SIGHUP)
    wait_until(lambda: is_open(sidecar.port))
    wait_until(lambda: not is_open(former))


def test_a_reload_changes_where_control_listens(sidecar: Sidecar) -> None:
    sidecar.start()
    wait_until(lambda: "serving on" in sidecar.output)
    assert is_open(sidecar.admin) and is_open(sidecar.metrics)
    former, sidecar.admin = sidecar.admin, free_port()
    sidecar.configure(realm="second")
    sidecar.send(signal.SIGHUP)
    wait_until(lambda: is_open(sidecar.admin))
    wait_until(lambda: not is_open(former))
    assert is_open(sidecar.metrics)


def test_settings_whose_addresses_change_places_keep_both(sidecar: Sidecar) -> None:
    sidecar.start()
    wait_until(lambda: "serving on" in sidecar.output)
    held = sockets_of(sidecar.pids("control")[0])
    sidecar.admin, sidecar.metrics = sidecar.metrics, sidecar.admin
    sidecar.configure(realm="second")
    sidecar.send(signal.SIGHUP)
    wait_until(lambda: len(sidecar.events("control", "ready")) == 2)
    assert sockets_of(int(sidecar.events("control", "ready")[1][2])) == held


@pytest.mark.parametrize("crash", [False, True])
def test_who_connects_while_there_is_no_control_process_waits(sidecar: Sidecar, crash: bool) -> None:
    """From the moment at which the first one listens."""
    sidecar.start()
    wait_until(lambda: "serving on" in sidecar.output)
    first = sidecar.pids("control")[0]
    if crash:
        os.kill(first, signal.SIGKILL)
    else:
        sidecar.configure(realm="second")
        sidecar.send(signal.SIGHUP)

    def replaced() -> bool:
        assert is_open(sidecar.admin) and is_open(sidecar.metrics)
        return len(sidecar.events("control", "ready")) == 2

    wait_until(replaced)
    assert not alive(first)


def test_a_reload_to_a_taken_address_changes_nothing(sidecar: Sidecar) -> None:
    sidecar.start()
    wait_until(lambda: "serving on" in sidecar.output)
    before = sidecar.pids("worker")
    former = sidecar.port
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        sidecar.port = other.getsockname()[1]
        sidecar.configure(realm="second")
        sidecar.send(signal.SIGHUP)
        wait_until(lambda: f"proxy.listen: 127.0.0.1:{sidecar.port} is in use by another program" in sidecar.output)
    assert sidecar.pids("worker") == before
    assert is_open(former)
