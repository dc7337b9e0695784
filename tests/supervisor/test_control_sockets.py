from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from sidecar.settings import Settings, load
from sidecar.supervisor.control_sockets import ControlSockets
from sidecar.supervisor.listeners import ListenError
from tests.support.ports import free_port, is_open


@pytest.fixture
def sockets() -> Iterator[ControlSockets]:
    sockets = ControlSockets()
    yield sockets
    sockets.close()


def at(admin: object, metrics: object) -> Settings:
    """Settings with these ports, or addresses."""
    given = {"SIDECAR_ADMIN__LISTEN": admin, "SIDECAR_METRICS__LISTEN": metrics}
    return load(None, {name: f"127.0.0.1:{where}" if isinstance(where, int) else str(where) for name, where in given.items()})


def test_each_setting_has_its_socket_and_keeps_it(sockets: ControlSockets) -> None:
    settings = at(free_port(), free_port())
    sockets.add(settings)
    fds = sockets.fds(settings)
    assert {name: len(each) for name, each in fds.items()} == {"admin": 1, "metrics": 1}
    sockets.add(settings)
    sockets.keep(settings)
    assert sockets.fds(settings) == fds
    with socket.socket(fileno=socket.dup(fds["metrics"][0])) as held:
        assert held.getsockname() == ("127.0.0.1", settings.metrics.listen.port)
        assert held.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT)


def test_who_changes_places_takes_its_socket_along(sockets: ControlSockets) -> None:
    first, second = free_port(), free_port()
    fds = sockets.fds(at(first, second))
    assert sockets.fds(at(second, first)) == {"admin": fds["metrics"], "metrics": fds["admin"]}


def test_before_the_first_control_process_nobody_is_kept_waiting(sockets: ControlSockets) -> None:
    settings = at(free_port(), free_port())
    sockets.add(settings)
    assert not is_open(settings.admin.listen.port)


def test_what_is_not_kept_is_closed(sockets: ControlSockets) -> None:
    stays = free_port()
    old, new = at(free_port(), stays), at(free_port(), stays)
    sockets.add(old)
    metrics = sockets.fds(old)["metrics"]
    sockets.add(new)
    sockets.keep(new)
    assert sockets.fds(new)["metrics"] == metrics
    with socket.create_server(("127.0.0.1", old.admin.listen.port)):
        pass  # it is free, also for those who do not share


def test_an_address_wider_than_ours_on_the_same_port_can_be_had(sockets: ControlSockets) -> None:
    port = free_port()
    old = at(port, free_port())
    with socket.socket(fileno=socket.dup(sockets.fds(old)["admin"][0])) as narrow:
        narrow.listen()
        sockets.add(at(f"0.0.0.0:{port}", old.metrics.listen))


def test_what_cannot_be_had_is_named_by_its_setting(sockets: ControlSockets) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(ListenError, match=f"metrics.listen: 127.0.0.1:{port} is in use by another program"):
            sockets.add(at(free_port(), port))


def test_a_unix_socket_is_kept_unless_its_file_was_taken_away(sockets: ControlSockets, tmp_path: Path) -> None:
    settings = at(f"unix://{tmp_path}/admin.sock", free_port())
    sockets.add(settings)
    assert (tmp_path / "admin.sock").stat().st_mode & 0o777 == 0o660
    inode = (tmp_path / "admin.sock").stat().st_ino
    sockets.fds(settings)
    assert (tmp_path / "admin.sock").stat().st_ino == inode
    (tmp_path / "admin.sock").unlink()
    sockets.add(settings)
    assert not (tmp_path / "admin.sock").exists(), "who serves goes on until the next one begins"
    sockets.fds(settings)
    with socket.socket(socket.AF_UNIX) as client:
        assert client.connect_ex(f"{tmp_path}/admin.sock") == 0


def test_what_is_released_lasts_as_long_as_a_control_process_has_it(sockets: ControlSockets) -> None:
    settings = at(free_port(), free_port())
    with socket.socket(fileno=socket.dup(sockets.fds(settings)["admin"][0])) as inherited:
        inherited.listen()
        sockets.close()
        assert is_open(settings.admin.listen.port)
    assert not is_open(settings.admin.listen.port)
