"""The supervisor as an operator meets it: real processes, real signals, a real store."""

from __future__ import annotations

import os
import re
import resource
import signal
import socket
from pathlib import Path

import pytest

from sidecar.settings import Settings, load
from sidecar.store.embedded import embedded_socket
from sidecar.supervisor import status
from sidecar.supervisor.run import needs_restart, unavailable_listeners
from tests.supervisor.fakes import Sidecar, alive, ping
from tests.support.ports import is_open
from tests.support.waiting import wait_until


def test_an_orderly_life(sidecar: Sidecar) -> None:
    sidecar.configure(workers=2)
    sidecar.start()
    wait_until(lambda: "serving on" in sidecar.output)
    wait_until(lambda: ping(embedded_socket(sidecar.data_dir)))
    assert [event[1] for event in sidecar.events("worker", "ready")] in (["0", "1"], ["1", "0"])
    assert sidecar.order()[:2] == ["control start first", "control ready"], "workers wait for what control makes"
    assert sidecar.data_dir.stat().st_mode & 0o777 == 0o700

    store = sidecar.pids("store")[0]
    sidecar.send(signal.SIGTERM)
    assert sidecar.wait() == 0
    order = sidecar.order()
    assert order.index("control SIGTERM") < order.index("worker SIGTERM"), "readiness goes first"
    assert order.index("control SIGUSR2") > max(place for place, what in enumerate(order) if what == "worker end")
    assert order[-1] == "control end"
    assert not alive(store)
    assert not is_open(sidecar.port)


def test_secrets_are_in_no_argument_and_no_environment(sidecar: Sidecar, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SIDECAR_HUB__ACCESS_KEY", "canary-in-environment")
    sidecar.configure(behaviour="canary-in-file")
    sidecar.start()
    # A child notes that it is ready before the supervisor has written who it is.
    wait_until(lambda: "serving on" in sidecar.output)
    core = 0 if resource.getrlimit(resource.RLIMIT_CORE)[1] == 0 else 1
    for pid in (*sidecar.pids("store"), *sidecar.pids("control"), *sidecar.pids("worker")):
        seen = Path(f"/proc/{pid}/cmdline").read_bytes() + Path(f"/proc/{pid}/environ").read_bytes()
        assert b"canary" not in seen
        assert re.search(rf"Max core file size +{core} +{core} ", Path(f"/proc/{pid}/limits").read_text())
    assert "canary" not in sidecar.output


@pytest.mark.parametrize("role", ["worker", "control", "store"])
def test_what_crashes_is_started_again(sidecar: Sidecar, role: str) -> None:
    sidecar.start()
    wait_until(lambda: "serving on" in sidecar.output and ping(embedded_socket(sidecar.data_dir)))
    before = sidecar.pids(role)
    others = [pid for other in ("worker", "control", "store") if other != role for pid in sidecar.pids(other)]
    os.kill(before[0], signal.SIGKILL)
    wait_until(lambda: sidecar.pids(role) not in ([], before))
    assert f"(pid {before[0]}) was killed by SIGKILL" in sidecar.output
    if role == "store":
        wait_until(lambda: ping(embedded_socket(sidecar.data_dir)))
    assert all(alive(pid) for pid in others)
    found = status.read(sidecar.data_dir)
    assert found is not None
    assert {child.role: child.restarts for child in found.children} == {"worker": 0, "control": 0, "store": 0} | {role: 1}


def test_a_crash_loop_backs_off(sidecar: Sidecar) -> None:
    sidecar.configure(behaviour="crash")
    sidecar.start()
    wait_until(lambda: len(sidecar.events("worker", "crash")) == 4)
    delays = [part.split(",")[0] for part in sidecar.output.split('"restart_in": ')[1:]]
    assert delays[:3] == ["0.1", "0.2", "0.4"]
    sidecar.send(signal.SIGTERM)
    assert sidecar.wait() == 0


def test_nobody_outlives_a_supervisor_that_is_killed(sidecar: Sidecar) -> None:
    sidecar.configure(behaviour="stubborn", workers=2)
    sidecar.start()
    wait_until(lambda: "serving on" in sidecar.output and ping(embedded_socket(sidecar.data_dir)))
    children = [pid for role in ("store", "control", "worker") for pid in sidecar.pids(role)]
    assert len(children) == 4
    sidecar.send(signal.SIGKILL)
    wait_until(lambda: not any(alive(pid) for pid in children))
    wait_until(lambda: not is_open(sidecar.port))

    sidecar.configure()
    sidecar.start()
    wait_until(lambda: is_open(sidecar.port) and ping(embedded_socket(sidecar.data_dir)))


def test_a_second_signal_hurries(sidecar: Sidecar) -> None:
    sidecar.configure(behaviour="stubborn", more="")
    sidecar.file.write_text(sidecar.file.read_text().replace("300ms", "60s"))
    sidecar.start()
    wait_until(lambda: sidecar.events("worker", "ready"))
    sidecar.send(signal.SIGTERM)
    wait_until(lambda: sidecar.events("worker", "SIGTERM"))
    sidecar.send(signal.SIGINT)
    assert sidecar.wait() == 0
    assert sidecar.events("control", "end")


def reloaded(sidecar: Sidecar) -> status.Status:
    """The status, once it tells of a reload: it is written a moment after the log."""

    def look() -> status.Status | None:
        found = status.read(sidecar.data_dir)
        return found if found is not None and found.last_reload is not None else None

    return wait_until(look)


def test_reload_starts_the_new_before_the_old_end(sidecar: Sidecar) -> None:
    sidecar.start()
    wait_until(lambda: "serving on" in sidecar.output)
    sidecar.configure(realm="second", workers=2)
    sidecar.send(signal.SIGHUP)
    wait_until(lambda: len(sidecar.events("control", "ready")) == 2 and sidecar.events("worker", "SIGTERM"))
    order = sidecar.order()
    new = [place for place, what in enumerate(order) if what == "worker start second"]
    assert len(new) == 2
    assert order.index("worker SIGTERM") > max(place for place, what in enumerate(order) if what == "worker ready")
    assert "control start second" in order
    assert "control SIGTERM" not in order, "readiness stays"
    wait_until(lambda: len(sidecar.pids("worker")) == 2)
    found = reloaded(sidecar)
    assert found.last_reload is not None
    assert (found.generation, found.last_reload.faults) == (2, [])
    assert all(child.restarts == 0 for child in found.children)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ("proxy: {workers: many", "is not YAML"),
        ("proxy: {workers: many}\nnonsense: 1\n", "nonsense: unknown setting"),
        ("data_dir: /elsewhere\n", "data_dir: a change needs a restart"),
        ("admin: {listen: '127.0.0..1:8081'}\n", "admin.listen: '127.0.0..1:8081' names no host"),
    ],
)
def test_a_broken_reload_changes_nothing(sidecar: Sidecar, change: str, complaint: str) -> None:
    sidecar.start()
    wait_until(lambda: "serving on" in sidecar.output)
    before = sidecar.pids("worker") + sidecar.pids("control")
    sidecar.file.write_text(change)
    sidecar.send(signal.SIGHUP)
    wait_until(lambda: complaint in sidecar.output)
    found = reloaded(sidecar)
    assert found.last_reload is not None
    assert complaint in " ".join(found.last_reload.faults)
    assert sidecar.pids("worker") + sidecar.pids("control") == before


def test_a_reload_that_fails_in_a_way_that_nobody_thought_of_changes_nothing(sidecar: Sidecar) -> None:
    sidecar.start()
    wait_until(lambda: "serving on" in sidecar.output)
    before = sidecar.pids("worker") + sidecar.pids("control")
    # Half of a character: YAML can say it, and what a child is told cannot hold it.
    sidecar.configure(more='keys: {pepper_file: "\\ud800"}\n')
    sidecar.send(signal.SIGHUP)
    found = reloaded(sidecar)
    assert found.last_reload is not None
    assert "cannot be taken over (UnicodeEncodeError); undo the last change" in found.last_reload.faults[0]
    assert sidecar.pids("worker") + sidecar.pids("control") == before
    sidecar.configure(realm="third")
    sidecar.send(signal.SIGHUP)
    wait_until(lambda: "worker start third" in sidecar.order())


def test_new_workers_that_do_not_come_up_leave_the_old_ones_in_place(sidecar: Sidecar) -> None:
    sidecar.start()
    wait_until(lambda: "serving on" in sidecar.output)
    before = sidecar.pids("worker")
    sidecar.configure(behaviour="crash")
    sidecar.send(signal.SIGHUP)
    wait_until(lambda: "new worker 0 ended before it was ready" in sidecar.output)
    # What is told of the children is written after that line.
    wait_until(lambda: sidecar.pids("worker") == before)
    sidecar.configure(realm="third")
    sidecar.send(signal.SIGHUP)
    wait_until(lambda: "worker start third" in sidecar.order())


def test_a_stop_in_the_middle_of_a_reload_ends_everybody(sidecar: Sidecar) -> None:
    sidecar.start()
    wait_until(lambda: "serving on" in sidecar.output)
    sidecar.configure(behaviour="mute")
    sidecar.send(signal.SIGHUP)
    wait_until(lambda: len(sidecar.events("worker", "start")) == 2)
    sidecar.send(signal.SIGTERM)
    assert sidecar.wait() == 0
    assert len(sidecar.events("worker", "end")) == 2


def test_a_data_dir_serves_one_sidecar(sidecar: Sidecar, tmp_path: Path) -> None:
    sidecar.start()
    wait_until(lambda: "serving on" in sidecar.output)
    (tmp_path / "other").mkdir()
    other = Sidecar(tmp_path / "other")
    other.data_dir = sidecar.data_dir
    other.configure()
    other.start()
    assert other.wait() != 0
    assert "is in use by another sidecar" in other.output


def test_a_unix_socket_is_held_for_the_workers(sidecar: Sidecar, tmp_path: Path) -> None:
    path = tmp_path / "proxy.sock"
    sidecar.file.write_text(
        f"data_dir: {sidecar.data_dir}\nstore: {{url: 'redis://127.0.0.1:1'}}\nproxy: {{listen: 'unix://{path}'}}\n"
        f"admin: {{listen: 127.0.0.1:{sidecar.admin}}}\nmetrics: {{listen: 127.0.0.1:{sidecar.metrics}}}\n"
    )
    sidecar.start()
    wait_until(lambda: sidecar.events("worker", "ready"))
    assert path.stat().st_mode & 0o777 == 0o660
    with socket.socket(socket.AF_UNIX) as client:
        assert client.connect_ex(str(path)) == 0
    assert sidecar.pids("store") == []


def test_what_a_reload_cannot_take_over_is_told_apart() -> None:
    old = load(None, {})
    embedded = "from or to the embedded store"
    assert needs_restart(old, load(None, {"SIDECAR_PROXY__WORKERS": "7"})) == []
    assert embedded in needs_restart(old, load(None, {"SIDECAR_STORE__URL": "redis://127.0.0.1"}))[0]
    socket = load(None, {"SIDECAR_PROXY__LISTEN": "unix:///tmp/x"})
    assert needs_restart(old, socket)[0].startswith("proxy.listen: a change of a unix socket")
    assert needs_restart(old, socket, "authz.listen")[0].startswith("authz.listen: ")
    assert isinstance(old, Settings)


def test_a_reload_to_an_address_that_another_program_has_changes_nothing(sidecar: Sidecar) -> None:
    sidecar.start()
    wait_until(lambda: "serving on" in sidecar.output)
    before = sidecar.pids("worker") + sidecar.pids("control")
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        sidecar.admin = other.getsockname()[1]
        sidecar.configure()
        sidecar.send(signal.SIGHUP)
        found = reloaded(sidecar)
    assert found.last_reload is not None
    assert "admin.listen" in found.last_reload.faults[0]
    assert sidecar.pids("worker") + sidecar.pids("control") == before


@pytest.mark.parametrize("host", ["192.0.2.1", "no-such-host.invalid"])
def test_a_port_of_the_last_control_process_on_a_host_of_another_machine_is_told(host: str) -> None:
    with socket.socket() as metrics:
        metrics.bind(("127.0.0.1", 0))
        metrics.listen()
        port = metrics.getsockname()[1]
        unix = {"SIDECAR_ADMIN__LISTEN": "unix:///nowhere/admin.sock"}
        old, new = (load(None, {**unix, "SIDECAR_METRICS__LISTEN": f"{at}:{port}"}) for at in ("127.0.0.1", host))
        told = unavailable_listeners(old, new)
    assert [fault.split(" ")[0] for fault in told] == ["admin.listen:", "metrics.listen:"]
    assert f"{host}:{port} cannot be listened on" in told[1]


def test_the_next_control_process_may_have_what_the_last_one_had() -> None:
    with socket.socket() as admin, socket.socket() as metrics:
        for listening in (admin, metrics):
            listening.bind(("127.0.0.1", 0))
            listening.listen()
        ports = admin.getsockname()[1], metrics.getsockname()[1]
        old = load(None, {"SIDECAR_ADMIN__LISTEN": f"127.0.0.1:{ports[0]}", "SIDECAR_METRICS__LISTEN": f"127.0.0.1:{ports[1]}"})
        new = load(None, {"SIDECAR_ADMIN__LISTEN": f"127.0.0.1:{ports[1]}", "SIDECAR_METRICS__LISTEN": f"0.0.0.0:{ports[0]}"})
        assert unavailable_listeners(old, new) == []
        assert len(unavailable_listeners(load(None, {}), new)) == 2


def test_a_reload_sets_the_level_of_the_supervisors_own_lines(sidecar: Sidecar) -> None:
    sidecar.start()
    wait_until(lambda: "serving on" in sidecar.output)
    assert '"level": "debug"' in sidecar.output
    sidecar.configure(more="log: {level: warning}\n")
    sidecar.send(signal.SIGHUP)
    reloaded(sidecar)
    said = len(sidecar.output)
    os.kill(sidecar.pids("worker")[0], signal.SIGKILL)
    wait_until(lambda: "was killed by SIGKILL" in sidecar.output)
    sidecar.send(signal.SIGTERM)
    assert sidecar.wait() == 0
    assert '"level": "debug"' not in sidecar.output[said:]
    assert '"level": "info"' not in sidecar.output[said:]
