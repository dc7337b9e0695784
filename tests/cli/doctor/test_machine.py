from __future__ import annotations

import errno
import socket
from pathlib import Path

import pytest

from sidecar.cli.doctor import machine
from sidecar.cli.doctor.check import Check, failed, lines
from sidecar.keys import digest
from sidecar.settings import load
from tests.support.ports import free_port


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    ports = {f"SIDECAR_{name}__LISTEN": f"127.0.0.1:{free_port()}" for name in ("PROXY", "ADMIN", "METRICS")}
    return {"SIDECAR_DATA_DIR": str(tmp_path / "data"), "SIDECAR_HUB__ACCESS_KEY": "blocklet-abc", **ports}


def examine(environment: dict[str, str], *, running: bool = False) -> dict[str, Check]:
    return {check.name: check for check in machine.checks(load(None, environment), running=running)}


def test_a_machine_before_the_first_start_has_nothing_to_mend(environment: dict[str, str]) -> None:
    checks = examine(environment)
    assert not failed(checks.values())
    assert checks["data_dir"].verdict == checks["pepper"].verdict == "ok"
    assert not Path(environment["SIDECAR_DATA_DIR"]).exists(), "it changes nothing"


@pytest.mark.parametrize(
    ("name", "value", "check", "verdict"),
    [
        ("SIDECAR_DATA_DIR", f"{__file__}/data", "data_dir", "fail"),
        ("SIDECAR_HUB__ACCESS_KEY", "", "hub.access_key", "warn"),
        ("SIDECAR_HUB__ACCESS_KEY", "sk-123", "hub.access_key", "warn"),
        ("SIDECAR_PROXY__LISTEN", "192.0.2.1:80", "proxy.listen", "fail"),
        ("SIDECAR_PROXY__TRUSTED_PROXIES", "0.0.0.0/0", "trusted_proxies", "warn"),
        ("SIDECAR_PROXY__TRUSTED_PROXIES", "::ffff:0:0/96", "trusted_proxies", "warn"),
        ("SIDECAR__ENFORCEMENT", "shadow", "enforcement", "warn"),
        ("SIDECAR_ADMIN__LISTEN", "0.0.0.0:18081", "admin.tls", "warn"),
    ],
)
def test_what_is_unwise_or_wrong(environment: dict[str, str], name: str, value: str, check: str, verdict: str) -> None:
    found = examine({**environment, name: value})[check]
    assert found.verdict == verdict
    assert found.advice


def test_an_open_data_dir_is_told_with_the_cure(environment: dict[str, str]) -> None:
    path = Path(environment["SIDECAR_DATA_DIR"])
    path.mkdir(mode=0o755)
    path.chmod(0o755)
    assert f"chmod 700 {path}" in examine(environment)["data_dir"].advice


def test_a_pepper_is_looked_at_and_never_shown(environment: dict[str, str]) -> None:
    path = Path(environment["SIDECAR_DATA_DIR"]) / "pepper"
    digest.load_or_create(path)
    found = examine(environment)["pepper"]
    assert found.verdict == "ok"
    assert "apart from the store's backup" in found.finding
    assert path.read_text().strip() not in "\n".join(lines([found]))
    # As a secret of Kubernetes comes, with fsGroup: that group is the sidecar's own.
    path.chmod(0o440)
    assert examine(environment)["pepper"].verdict == "ok"
    path.chmod(0o644)
    assert examine(environment)["pepper"].verdict == "warn"
    path.write_text("short")
    assert examine(environment)["pepper"].verdict == "fail"


@pytest.mark.parametrize("text", [None, "short"])
def test_a_previous_pepper_that_nothing_starts_with_is_told(environment: dict[str, str], tmp_path: Path, text: str | None) -> None:
    assert "previous pepper" not in examine(environment)
    path = tmp_path / "before"
    if text is not None:
        path.write_text(text)
    found = examine({**environment, "SIDECAR_KEYS__PREVIOUS_PEPPER_FILE": str(path)})["previous pepper"]
    assert found.verdict == "fail"
    path.write_text("x" * 64)
    assert "previous pepper" not in examine({**environment, "SIDECAR_KEYS__PREVIOUS_PEPPER_FILE": str(path)})


def test_a_pepper_that_no_start_can_make_is_told(environment: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "loose").symlink_to(tmp_path / "nowhere")
    found = examine({**environment, "SIDECAR_KEYS__PEPPER_FILE": f"{tmp_path}/loose/pepper"})["pepper"]
    assert (found.verdict, "cannot be made" in found.finding) == ("fail", True)
    assert found.advice


@pytest.mark.parametrize(("running", "verdict"), [(False, "fail"), (True, "ok")])
def test_a_taken_port_is_ours_or_not(environment: dict[str, str], running: bool, verdict: str) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        environment["SIDECAR_ADMIN__LISTEN"] = f"127.0.0.1:{other.getsockname()[1]}"
        checks = examine(environment, running=running)
    assert checks["admin.listen"].verdict == verdict
    assert checks["proxy.listen"].verdict == ("fail" if running else "ok"), "a sidecar that runs serves every address"


@pytest.mark.parametrize("is_served", [True, False])
def test_a_port_that_this_user_may_not_take_is_served_when_it_answers(
    environment: dict[str, str], monkeypatch: pytest.MonkeyPatch, is_served: bool
) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        if is_served:
            other.listen()
        environment["SIDECAR_PROXY__LISTEN"] = f"0.0.0.0:{other.getsockname()[1]}"
        monkeypatch.setattr(machine, "fault_of", lambda listen: OSError(errno.EACCES, "Permission denied"))
        assert examine(environment, running=True)["proxy.listen"].verdict == ("ok" if is_served else "fail")


def test_a_running_authorizer_is_looked_for_where_it_listens(environment: dict[str, str]) -> None:
    with socket.socket() as authorizer:
        authorizer.bind(("127.0.0.1", 0))
        authorizer.listen()
        environment["SIDECAR_AUTHZ__LISTEN"] = f"127.0.0.1:{authorizer.getsockname()[1]}"
        running, resting = examine(environment, running=True), examine(environment)
    assert running["authz.listen"].verdict == "ok" and "proxy.listen" not in running
    assert "proxy.listen" in resting and "authz.listen" not in resting


def test_an_authorizer_that_cannot_listen_is_not_what_runs(environment: dict[str, str]) -> None:
    environment["SIDECAR_AUTHZ__LISTEN"] = "unix:///nowhere/authz.sock"
    assert "proxy.listen" in examine(environment, running=True)


def test_another_user_is_told_who_could_look(environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """As one meets it who runs the doctor with his own account on the data of the service."""

    data_dir, look, read = environment["SIDECAR_DATA_DIR"], Path.stat, Path.read_bytes

    def refuse(path: Path) -> None:
        if str(path).startswith(data_dir):
            raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "stat", lambda path, **options: (refuse(path), look(path, **options))[1])
    monkeypatch.setattr(Path, "read_bytes", lambda path: (refuse(path), read(path))[1])
    found = examine(environment)
    assert found["data_dir"].verdict == found["pepper"].verdict == "fail"
    assert found["data_dir"].advice == found["pepper"].advice == "run this as the user of the sidecar"
