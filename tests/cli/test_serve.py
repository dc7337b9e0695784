"""`sidecar serve` with all its real parts, from the first start to the last signal."""

from __future__ import annotations

import fcntl
import http.client
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from sidecar.cli.serve import Reload
from sidecar.keys.digest import load_or_create
from sidecar.settings import SettingsError, load
from sidecar.supervisor import status
from tests.support.ports import free_port, is_open
from tests.support.source import ROOT
from tests.support.waiting import wait_until


class Sidecar:
    """A real sidecar on ports of its own."""

    def __init__(self, directory: Path) -> None:
        self.file = directory / "sidecar.yaml"
        self.data_dir = directory / "data"
        self.error = directory / "stderr"
        self.proxy, self.admin, self.metrics = free_port(), free_port(), free_port()
        self.process: subprocess.Popen[bytes] | None = None
        self.configure()

    def configure(self, more: str = "", proxy: str = "") -> None:
        self.file.write_text(
            f"data_dir: {self.data_dir}\nhub: {{url: 'http://127.0.0.1:9/', access_key: canary-of-the-hub}}\n"
            f"proxy: {{listen: '127.0.0.1:{self.proxy}'{proxy}}}\n"
            f"admin: {{listen: '127.0.0.1:{self.admin}'}}\nmetrics: {{listen: '127.0.0.1:{self.metrics}'}}\n{more}"
        )

    def start(self) -> None:
        environment = {name: value for name, value in os.environ.items() if not name.startswith("SIDECAR_")}
        with self.error.open("ab") as error:
            command = [sys.executable, "-m", "sidecar", "serve", "-c", str(self.file)]
            self.process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=error, stderr=error, start_new_session=True)

    def ready(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, self.error.read_text()
        return get(self.metrics, "/readyz") == 200

    def pids(self, role: str) -> list[int]:
        found = status.read(self.data_dir)
        return [child.pid for child in found.children if child.role == role and child.pid] if found else []

    def close(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait()


def get(port: int, path: str) -> int:
    """The status of a GET, 0 when there is no answer."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request("GET", path)
        return connection.getresponse().status
    except (OSError, http.client.HTTPException):
        return 0
    finally:
        connection.close()


@pytest.fixture
def sidecar(tmp_path: Path) -> Iterator[Sidecar]:
    sidecar = Sidecar(tmp_path)
    yield sidecar
    sidecar.close()


def test_a_whole_life(sidecar: Sidecar) -> None:
    sidecar.start()
    wait_until(sidecar.ready, within=30)
    assert sidecar.process is not None
    token = (sidecar.data_dir / "admin-token").read_text()
    assert token == token.strip()
    assert get(sidecar.proxy, "/__blocklet__.js?type=json") == 200
    assert get(sidecar.proxy, "/api/v2/status") == 401
    assert get(sidecar.admin, "/admin/v1/keys") == 401

    for role in ("worker", "control", "store"):
        before = sidecar.pids(role)
        os.kill(before[0], signal.SIGKILL)
        wait_until(lambda role=role, before=before: sidecar.pids(role) not in ([], before), within=20)
        wait_until(sidecar.ready, within=30)

    sidecar.process.send_signal(signal.SIGTERM)
    assert sidecar.process.wait(30) == 0
    assert not is_open(sidecar.proxy)
    said = sidecar.error.read_text()
    assert "Traceback" not in said
    assert "canary-of-the-hub" not in said
    assert token not in said


def test_a_reload_is_not_noticed_by_clients(sidecar: Sidecar) -> None:
    sidecar.start()
    wait_until(sidecar.ready, within=30)
    assert sidecar.process is not None
    old = sidecar.pids("worker")
    answers: list[int] = []
    enough = threading.Event()

    def call() -> None:
        while not enough.is_set():
            answers.append(get(sidecar.proxy, "/__blocklet__.js?type=json"))

    callers = [threading.Thread(target=call) for _ in range(2)]
    for caller in callers:
        caller.start()
    sidecar.configure(proxy=", workers: 2")
    sidecar.process.send_signal(signal.SIGHUP)
    wait_until(lambda: len(sidecar.pids("worker")) == 2 and not set(old) & set(sidecar.pids("worker")), within=30)
    wait_until(sidecar.ready, within=30)
    enough.set()
    for caller in callers:
        caller.join()
    assert len(answers) > 50
    assert set(answers) == {200}


def test_a_reload_that_control_could_not_begin_with_leaves_the_last_one(sidecar: Sidecar) -> None:
    sidecar.start()
    wait_until(sidecar.ready, within=30)
    assert sidecar.process is not None
    before, good = sidecar.pids("control"), sidecar.file.read_text()
    for old, new, name in (
        ("hub:", "notifications: {webhook_secret: 'whsec_***'}\nhub:", "notifications.webhook_secret"),
        (f"127.0.0.1:{sidecar.metrics}", f"192.0.2.1:{sidecar.metrics}", "metrics.listen"),
        (f"127.0.0.1:{sidecar.admin}", "unix:///nowhere/admin.sock", "admin.listen"),
    ):
        sidecar.file.write_text(good.replace(old, new))
        sidecar.process.send_signal(signal.SIGHUP)
        wait_until(lambda name=name: any(fault.startswith(f"{name}: ") for fault in refused(sidecar)), within=20)
        assert sidecar.pids("control") == before
        assert sidecar.ready()


def test_a_reload_makes_no_pepper_and_takes_over_none_that_knows_no_key(sidecar: Sidecar) -> None:
    sidecar.start()
    wait_until(sidecar.ready, within=30)
    assert sidecar.process is not None
    control, pepper = sidecar.pids("control"), sidecar.data_dir / "pepper"
    another, mistyped = sidecar.data_dir / "another", sidecar.data_dir / "peper"
    another.write_text("x" * 64)
    for more, told in (
        (f"keys: {{pepper_file: {mistyped}}}\n", "does not exist, and only a start makes one"),
        (f"keys: {{pepper_file: {another}}}\n", "holds another pepper than the one in use"),
    ):
        sidecar.configure(more)
        sidecar.process.send_signal(signal.SIGHUP)
        wait_until(lambda told=told: any(told in fault for fault in refused(sidecar)), within=20)
        assert sidecar.pids("control") == control
        assert sidecar.ready()
    assert not mistyped.exists()
    sidecar.configure(f"keys: {{pepper_file: {another}, previous_pepper_file: {pepper}}}\n")
    sidecar.process.send_signal(signal.SIGHUP)
    wait_until(lambda: sidecar.pids("control") not in ([], control), within=30)
    wait_until(sidecar.ready, within=30)
    # What is in use now is the other one.
    sidecar.configure(f"keys: {{pepper_file: {pepper}}}\n")
    sidecar.process.send_signal(signal.SIGHUP)
    wait_until(lambda: any("holds another pepper" in fault for fault in refused(sidecar)), within=20)


def test_a_reload_that_was_given_up_leaves_the_pepper_in_use(tmp_path: Path) -> None:
    first, second = f"{tmp_path}/first", f"{tmp_path}/second"
    pepper = load_or_create(Path(first))
    load_or_create(Path(second))
    running = load(None, {"SIDECAR_KEYS__PEPPER_FILE": first})
    both, alone = (
        load(None, {"SIDECAR_KEYS__PEPPER_FILE": second, "SIDECAR_KEYS__PREVIOUS_PEPPER_FILE": previous}) for previous in (first, "")
    )
    found = iter([both, alone, both, alone])
    reload = Reload(lambda: next(found), running, pepper)
    assert reload(running) is both
    with pytest.raises(SettingsError, match="holds another pepper"):
        reload(running)
    assert reload(running) is both
    assert reload(both) is alone


def test_a_reload_to_another_data_dir_says_that_it_takes_a_restart(sidecar: Sidecar) -> None:
    sidecar.start()
    wait_until(sidecar.ready, within=30)
    assert sidecar.process is not None
    sidecar.file.write_text(sidecar.file.read_text().replace(f"data_dir: {sidecar.data_dir}\n", f"data_dir: {sidecar.data_dir}-2\n"))
    sidecar.process.send_signal(signal.SIGHUP)
    wait_until(lambda: refused(sidecar), within=20)
    assert refused(sidecar) == ["data_dir: a change needs a restart of the sidecar"]


def test_no_unix_socket_is_left_behind(sidecar: Sidecar, tmp_path: Path) -> None:
    at_port, first, second = f"127.0.0.1:{sidecar.admin}", f"unix://{tmp_path}/first.sock", f"unix://{tmp_path}/second.sock"
    sidecar.file.write_text(sidecar.file.read_text().replace(at_port, first))
    sidecar.start()
    wait_until(sidecar.ready, within=30)
    assert sidecar.process is not None
    sidecar.file.write_text(sidecar.file.read_text().replace(first, second))
    sidecar.process.send_signal(signal.SIGHUP)
    wait_until((tmp_path / "second.sock").is_socket, within=20)
    sidecar.process.send_signal(signal.SIGTERM)
    assert sidecar.process.wait(30) == 0
    assert not list(tmp_path.glob("*.sock"))


def refused(sidecar: Sidecar) -> list[str]:
    found = status.read(sidecar.data_dir)
    return found.last_reload.faults if found and found.last_reload else []


def test_a_kill_of_the_supervisor_leaves_nothing_behind(sidecar: Sidecar) -> None:
    sidecar.start()
    wait_until(sidecar.ready, within=30)
    assert sidecar.process is not None
    children = psutil.Process(sidecar.process.pid).children(recursive=True)
    assert len(children) == 3
    sidecar.close()
    wait_until(lambda: not any(child.is_running() and child.status() != psutil.STATUS_ZOMBIE for child in children))
    # A process whose first thread has ended holds its sockets until the last one has.
    wait_until(lambda: not any(is_open(port) for port in (sidecar.proxy, sidecar.admin, sidecar.metrics)))
    sidecar.start()
    wait_until(sidecar.ready, within=30)


@pytest.mark.parametrize(
    ("more", "proxy", "code", "sentence"),
    [
        ("nonsense: 1\n", "", 2, "nonsense: unknown setting"),
        ("notifications: {webhook_secret: whsec_}\n", "", 2, "notifications.webhook_secret: nothing follows whsec_"),
        ("", ", tls: {certificate_file: /nowhere, key_file: /nowhere}", 2, "proxy.tls.certificate_file: /nowhere cannot be read"),
    ],
)
def test_a_wrong_configuration_starts_nothing(sidecar: Sidecar, more: str, proxy: str, code: int, sentence: str) -> None:
    sidecar.configure(more, proxy)
    sidecar.start()
    assert sidecar.process is not None
    assert sidecar.process.wait(30) == code
    assert sidecar.error.read_text().startswith(f"sidecar: {sentence}")
    assert not sidecar.data_dir.exists()


def test_an_aigne_hub_without_an_access_key_is_told_at_the_start(sidecar: Sidecar) -> None:
    sidecar.file.write_text(sidecar.file.read_text().replace(", access_key: canary-of-the-hub", ""))
    sidecar.start()
    wait_until(lambda: "hub.access_key is empty" in sidecar.error.read_text(), within=20)


def test_an_open_data_dir_starts_nothing(sidecar: Sidecar) -> None:
    sidecar.data_dir.mkdir()
    sidecar.data_dir.chmod(0o755)
    sidecar.start()
    assert sidecar.process is not None
    assert sidecar.process.wait(30) == 1
    assert f"run: chmod 700 {sidecar.data_dir}" in sidecar.error.read_text()


def test_a_taken_port_starts_nothing(sidecar: Sidecar) -> None:
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        other.bind(("127.0.0.1", sidecar.admin))
        other.listen()
        sidecar.start()
        assert sidecar.process is not None
        assert sidecar.process.wait(30) == 1
    assert sidecar.error.read_text() == (
        f"sidecar: admin.listen: 127.0.0.1:{sidecar.admin} is in use by another program; stop it or choose another address\n"
    )


def test_a_socket_in_a_directory_that_is_not_there_starts_nothing(sidecar: Sidecar) -> None:
    sidecar.file.write_text(sidecar.file.read_text().replace(f"127.0.0.1:{sidecar.admin}", "unix:///nowhere/admin.sock"))
    sidecar.start()
    assert sidecar.process is not None
    assert sidecar.process.wait(30) == 1
    assert sidecar.error.read_text().startswith("sidecar: admin.listen: unix:///nowhere/admin.sock cannot be listened on (No such file")


@contextmanager
def waiting_for_its_turn(sidecar: Sidecar) -> Iterator[subprocess.Popen[bytes]]:
    """The process of a sidecar that waits for `data_dir`, which is free afterwards."""
    sidecar.data_dir.mkdir(mode=0o700)
    with (sidecar.data_dir / "lock").open("wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        sidecar.start()
        assert sidecar.process is not None
        process = psutil.Process(sidecar.process.pid)
        wait_until(lambda: any(Path(file.path).name == "lock" for file in process.open_files()), within=20)
        yield sidecar.process


def test_a_reload_while_the_sidecar_waits_for_its_turn(sidecar: Sidecar) -> None:
    with waiting_for_its_turn(sidecar) as process:
        process.send_signal(signal.SIGHUP)
    wait_until(sidecar.ready, within=30)
    wait_until(lambda: "the configuration was reloaded" in sidecar.error.read_text(), within=30)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_sidecar_that_waits_for_its_turn_ends_when_told(sidecar: Sidecar, number: int) -> None:
    with waiting_for_its_turn(sidecar) as process:
        process.send_signal(number)
        assert process.wait(30) == 0
    assert sidecar.error.read_text() == ""


def test_a_sidecar_that_waits_for_a_secret_ends_when_told(sidecar: Sidecar, tmp_path: Path) -> None:
    """Its file may be a pipe, and whoever should write into it be away."""
    os.mkfifo(tmp_path / "password")
    sidecar.configure(f"store: {{password_file: {tmp_path / 'password'}}}\n")
    sidecar.start()
    assert sidecar.process is not None
    writer = wait_until(lambda: os.open(tmp_path / "password", os.O_WRONLY | os.O_NONBLOCK), within=20)
    try:
        sidecar.process.send_signal(signal.SIGTERM)
        assert sidecar.process.wait(20) == 0
    finally:
        os.close(writer)
    assert sidecar.error.read_text() == ""


def test_a_pepper_that_cannot_be_used_starts_nothing(sidecar: Sidecar) -> None:
    sidecar.data_dir.mkdir(mode=0o700)
    (sidecar.data_dir / "pepper").write_text("canary")
    sidecar.start()
    assert sidecar.process is not None
    assert sidecar.process.wait(30) == 2
    assert sidecar.error.read_text().startswith(f"sidecar: keys.pepper_file: {sidecar.data_dir}/pepper holds fewer than 32 bytes")
    assert "canary" not in sidecar.error.read_text()


def test_a_data_dir_that_cannot_be_used_is_told_before_the_pepper_in_it(sidecar: Sidecar) -> None:
    sidecar.data_dir.touch()
    sidecar.start()
    assert sidecar.process is not None
    assert sidecar.process.wait(30) == 1
    assert sidecar.error.read_text().startswith(f"sidecar: data_dir {sidecar.data_dir} ")


def test_a_pepper_that_cannot_be_made_starts_nothing(sidecar: Sidecar) -> None:
    # Of a directory where not even root can make anything, which nobody sees before trying.
    sidecar.configure("keys: {pepper_file: /proc/secrets/pepper}\n")
    sidecar.start()
    assert sidecar.process is not None
    assert sidecar.process.wait(30) == 1
    said = sidecar.error.read_text()
    assert said.startswith("sidecar: keys.pepper_file: /proc/secrets/pepper does not exist and cannot be made (")
    assert said.count("\n") == 1
