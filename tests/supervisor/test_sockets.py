from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from sidecar import listening
from sidecar.settings.values import Listen
from sidecar.supervisor.listeners import ListenError
from sidecar.supervisor.sockets import WorkerSockets
from tests.support.ports import free_port, is_open


@pytest.fixture
def listen() -> Listen:
    return Listen.parse(f"127.0.0.1:{free_port()}")


@pytest.fixture
def sockets() -> Iterator[WorkerSockets]:
    sockets = WorkerSockets()
    yield sockets
    sockets.close()


def test_every_worker_of_a_port_has_a_socket_of_its_own_and_keeps_it(sockets: WorkerSockets, listen: Listen) -> None:
    sockets.add(listen, 2)
    (first,), (second,) = sockets.of(listen, 0, 2), sockets.of(listen, 1, 2)
    assert first is not second
    assert first.getsockname() == second.getsockname() == ("127.0.0.1", listen.port)
    sockets.add(listen, 3)
    assert (sockets.of(listen, 0, 3), sockets.of(listen, 1, 3)) == ((first,), (second,))
    assert not first.get_inheritable()


def test_nobody_waits_for_a_worker_that_is_not_there_yet(sockets: WorkerSockets, listen: Listen) -> None:
    sockets.add(listen, 1)
    assert not is_open(listen.port)
    sockets.of(listen, 0, 1)[0].listen()
    assert is_open(listen.port)


def test_what_is_neither_kept_nor_used_is_closed(sockets: WorkerSockets, listen: Listen) -> None:
    other = Listen.parse(f"127.0.0.1:{free_port()}")
    sockets.add(listen, 3)
    sockets.add(other, 1)
    (kept, used, surplus), (former,) = sockets.of(listen, 0, 1), sockets.of(other, 0, 1)
    sockets.keep(listen, 1, {used})
    assert kept.fileno() >= 0
    assert used.fileno() >= 0
    assert surplus.fileno() == former.fileno() == -1


def test_what_is_left_over_is_for_every_worker(sockets: WorkerSockets, listen: Listen) -> None:
    sockets.add(listen, 3)
    first, second, third = (sockets.of(listen, index, 3)[0] for index in range(3))
    assert sockets.of(listen, 0, 2) == (first, third)
    assert sockets.of(listen, 1, 2) == (second, third)
    sockets.renew(third, 2)
    assert third.fileno() == -1
    assert sockets.of(listen, 0, 2) == (first,), "nobody needs another one in its place"


def test_the_socket_of_a_dead_worker_leaves_its_share_to_the_others(sockets: WorkerSockets, listen: Listen) -> None:
    sockets.add(listen, 2)
    (dead,), (other,) = sockets.of(listen, 0, 2), sockets.of(listen, 1, 2)
    for listener in (dead, other):
        listener.listen()
    sockets.renew(dead, 2)
    assert dead.fileno() == -1
    assert sockets.of(listen, 0, 2)[0] not in (dead, other)
    for _ in range(32):
        with socket.create_connection(("127.0.0.1", listen.port), timeout=5):
            other.settimeout(5)
            other.accept()[0].close()


def test_a_socket_that_cannot_be_renewed_is_made_when_it_is_needed(listen: Listen) -> None:
    refuse = False

    def make(listen: Listen) -> socket.socket:
        if refuse:
            raise OSError(24, "Too many open files")
        return listening.bind(listen)

    sockets = WorkerSockets(make=make)
    sockets.add(listen, 1)
    (dead,) = sockets.of(listen, 0, 1)
    refuse = True
    sockets.renew(dead, 1)
    assert dead.fileno() == -1
    with pytest.raises(OSError, match="Too many open files"):
        sockets.of(listen, 0, 1)
    refuse = False
    assert sockets.of(listen, 0, 1)[0].fileno() >= 0
    sockets.close()


def test_a_unix_socket_is_one_for_all_and_outlives_its_workers(sockets: WorkerSockets, tmp_path: Path) -> None:
    listen = Listen.parse(f"unix://{tmp_path}/s")
    sockets.add(listen, 2)
    (only,) = sockets.of(listen, 0, 2)
    assert sockets.of(listen, 1, 2) == (only,)
    sockets.renew(only, 2)
    sockets.add(listen, 3)
    sockets.keep(listen, 1, ())
    assert sockets.of(listen, 0, 1) == (only,)
    assert only.fileno() >= 0


def test_a_taken_address_is_named_by_its_setting(listen: Listen) -> None:
    sockets = WorkerSockets("authz.listen")
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        other.bind(("127.0.0.1", listen.port))
        other.listen()
        with pytest.raises(ListenError, match=f"authz.listen: {listen} is in use by another program"):
            sockets.add(listen, 1)
    sockets.add(listen, 1)
    sockets.close()


def test_another_address_on_the_same_port_is_not_taken_by_ourselves(sockets: WorkerSockets, listen: Listen) -> None:
    sockets.add(listen, 1)
    sockets.of(listen, 0, 1)[0].listen()
    wider = Listen.parse(f"0.0.0.0:{listen.port}")
    sockets.add(wider, 1)
    sockets.keep(wider, 1, ())
    assert sockets.of(wider, 0, 1)[0].getsockname() == ("0.0.0.0", listen.port)


def test_what_is_released_lasts_as_long_as_a_worker_has_it(sockets: WorkerSockets, listen: Listen) -> None:
    sockets.add(listen, 1)
    with sockets.of(listen, 0, 1)[0].dup() as inherited:
        inherited.listen()
        sockets.close()
        assert is_open(listen.port)
    assert not is_open(listen.port)


def test_a_unix_socket_that_cannot_be_made_is_named_by_its_setting(tmp_path: Path) -> None:
    listen = Listen.parse(f"unix://{tmp_path}/absent/s")
    with pytest.raises(ListenError, match=f"authz.listen: {listen} cannot be listened on"):
        WorkerSockets("authz.listen").add(listen, 1)
