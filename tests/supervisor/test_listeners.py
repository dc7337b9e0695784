from __future__ import annotations

import contextlib
import errno
import os
import socket
from pathlib import Path

import pytest

from sidecar.settings.values import Listen
from sidecar.supervisor import listeners
from sidecar.supervisor.listeners import ListenError
from tests.support.ports import free_port


def test_a_free_port_is_free_twice() -> None:
    listen = Listen.parse(f"127.0.0.1:{free_port()}")
    listeners.check("proxy.listen", listen)
    listeners.check("proxy.listen", listen)


@pytest.mark.parametrize("shared", [False, True])
def test_a_taken_port_is_one_sentence_even_when_it_could_be_shared(shared: bool) -> None:
    with socket.socket() as other:
        if shared:
            other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        other.bind(("127.0.0.1", 0))
        other.listen()
        listen = Listen.parse(f"127.0.0.1:{other.getsockname()[1]}")
        with pytest.raises(ListenError, match=f"admin.listen: {listen} is in use by another program; stop it"):
            listeners.check("admin.listen", listen, patience=0.05)


@pytest.mark.parametrize("text", ["192.0.2.1:8080", "no-such-host.invalid:8080"])
def test_an_address_of_another_machine_is_refused(text: str) -> None:
    with pytest.raises(ListenError, match="choose another address"):
        listeners.check("proxy.listen", Listen.parse(text))


@pytest.mark.parametrize("host", ["127.0.0..1", "x" * 64, ".example"])
def test_a_host_that_python_cannot_ask_for_is_refused_like_any_other(host: str) -> None:
    listen = Listen.parse("host:8080")
    listen.host = host
    with pytest.raises(ListenError, match=r"admin.listen: host:8080 cannot be listened on .*; choose another address"):
        listeners.check("admin.listen", listen)


def test_a_unix_socket_replaces_a_dead_one_and_spares_a_live_one(tmp_path: Path) -> None:
    listen = Listen.parse(f"unix://{tmp_path}/s")
    first = listeners.unix_socket(listen)
    assert (tmp_path / "s").stat().st_mode & 0o777 == 0o660
    with pytest.raises(OSError, match="in use"):
        listeners.unix_socket(listen)
    first.close()
    listeners.check("proxy.listen", listen)
    listeners.unix_socket(listen).close()


def connect_without_end(path: str, stack: contextlib.ExitStack) -> None:
    while True:
        waiting = stack.enter_context(socket.socket(socket.AF_UNIX))
        waiting.setblocking(False)
        waiting.connect(path)


def test_a_unix_socket_whose_queue_is_full_is_a_live_one(tmp_path: Path) -> None:
    """Who listens there is slow at the moment; a reload that keeps the address must not be refused for it."""
    listen = Listen.parse(f"unix://{tmp_path}/s")
    with contextlib.ExitStack() as stack:
        stack.enter_context(listeners.unix_socket(listen)).listen(0)
        with pytest.raises(BlockingIOError):
            connect_without_end(listen.path, stack)
        fault = listeners.fault_of(listen)
    assert fault is not None
    assert fault.errno == errno.EADDRINUSE


def test_who_ends_takes_away_its_own_socket_and_not_a_successor_s(tmp_path: Path) -> None:
    listen = Listen.parse(f"unix://{tmp_path}/s")
    listeners.unix_socket(listen).close()
    with listeners.unix_socket(listen):
        listeners.remove(listen)
        assert (tmp_path / "s").is_socket()
    listeners.remove(listen)
    assert not (tmp_path / "s").exists()
    listeners.remove(listen)


def test_a_file_is_never_replaced_by_a_socket(tmp_path: Path) -> None:
    (tmp_path / "s").write_text("precious")
    with pytest.raises(FileExistsError, match="a file of that name exists"):
        listeners.unix_socket(Listen.parse(f"unix://{tmp_path}/s"))
    assert (tmp_path / "s").read_text() == "precious"


def test_a_socket_goes_only_where_files_can_be_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Found before the start: the process that binds it would end again and again."""
    (tmp_path / "file").write_text("")
    for directory, complaint in (("absent", "No such file or directory"), ("file", "Not a directory")):
        with pytest.raises(ListenError, match=f"admin.listen: .* cannot be listened on .{complaint}.; choose another address"):
            listeners.check("admin.listen", Listen.parse(f"unix://{tmp_path}/{directory}/s"))
    listeners.unix_socket(listen := Listen.parse(f"unix://{tmp_path}/s")).close()
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    with pytest.raises(ListenError, match=r"may not be used by this user; choose .* a directory that it may write"):
        listeners.check("admin.listen", listen)


def test_a_socket_in_a_directory_that_does_not_exist_says_so(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        listeners.unix_socket(Listen.parse(f"unix://{tmp_path}/absent/s"))
