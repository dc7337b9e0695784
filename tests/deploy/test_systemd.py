"""The shipped unit: understood by systemd, tight, and the sidecar lives under what it lays upon it."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
from pathlib import Path

from sidecar.settings import load
from tests.deploy import sandbox
from tests.support.hub import ACCESS_KEY, hub_process
from tests.support.sidecar import Sidecar, wait_until
from tests.support.source import ROOT
from tests.support.tools import missing, require

FOLDER = ROOT / "deploy/systemd"
UNIT = FOLDER / "hub-auth-sidecar.service"
SYSTEMD = "apt-get install systemd"
EXPOSURE = 15
"""Tenths: systemd-analyze's score of 0 (locked in) to 10; the rest is what a proxy needs, the network."""


def run(*command: str | Path) -> str:
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def environment(file: Path, credentials: Path) -> dict[str, str]:
    """What the unit or the drop-in puts into the environment."""
    lines = [value for name, value in sandbox.settings(file) if name == "Environment"]
    return {name: value.replace("%d", str(credentials)) for name, _, value in (line.partition("=") for line in lines)}


def test_systemd_understands_every_line(tmp_path: Path) -> None:
    copy = tmp_path / UNIT.name
    copy.write_text(UNIT.read_text().replace("/opt/hub-auth-sidecar/bin/sidecar", "/bin/true"))
    drop_in = tmp_path / f"{UNIT.name}.d"
    drop_in.mkdir()
    (drop_in / "access-log.conf").write_text((FOLDER / "access-log.conf").read_text())
    assert run(require("systemd-analyze", install=SYSTEMD), "verify", copy) == ""


def test_the_unit_is_tight() -> None:
    run(require("systemd-analyze", install=SYSTEMD), "security", "--offline=true", f"--threshold={EXPOSURE}", UNIT)


def test_settings_in_the_environment_exist(tmp_path: Path) -> None:
    (tmp_path / "hub-access-key").write_text("blocklet-secret\n")
    given = environment(UNIT, tmp_path) | environment(FOLDER / "access-log.conf", tmp_path)
    settings = load(None, given)
    assert (settings.data_dir, settings.log.access) == ("/var/lib/hub-auth-sidecar", True)
    assert settings.hub.access_key.reveal() == "blocklet-secret"
    assert int(dict(sandbox.settings(UNIT))["TimeoutStopSec"].removesuffix("s")) > settings.proxy.drain_timeout + 20


def test_the_directory_of_the_access_log_is_made_before_systemd_opens_the_file() -> None:
    """systemd opens it before it makes LogsDirectory=, so the drop-in and the page say how to make it."""
    file = FOLDER / "access-log.conf"
    user, given = dict(sandbox.settings(UNIT))["User"], dict(sandbox.settings(file))
    directory = f"/var/log/{given['LogsDirectory']}"
    assert given["StandardOutput"] == f"append:{directory}/access.jsonl"
    made = f"install -d -o {user} -g {user} -m {given['LogsDirectoryMode'].removeprefix('0')} {directory}\n"
    assert f"#   {made}" in file.read_text()
    assert f"\n{made}" in (ROOT / "docs" / "operations.md").read_text()


def test_the_user_is_the_one_that_sysusers_makes() -> None:
    (line,) = [line for line in (FOLDER / "sysusers.conf").read_text().splitlines() if not line.startswith("#")]
    assert line.split()[:2] == ["u", dict(sandbox.settings(UNIT))["User"]]


class Service(Sidecar):
    """A sidecar under the filter and the limits of the unit, and without capabilities."""

    def start(self, *, wait: bool = True) -> None:
        self.data_dir.mkdir(mode=0o700)
        credentials = self.data_dir.parent / "credentials"
        credentials.mkdir()
        (credentials / "hub-access-key").write_text(ACCESS_KEY + "\n")
        # What the unit says wins, but for the places.
        del self.environment["SIDECAR_HUB__ACCESS_KEY"]
        self.environment |= environment(UNIT, credentials) | {"SIDECAR_DATA_DIR": str(self.data_dir)}
        drop = [require("setpriv", install="apt-get install util-linux"), "--inh-caps=-all", "--no-new-privs"]
        if os.getuid() == 0:
            drop.append("--bounding-set=-all")
        program = [sys.executable, sandbox.__file__, str(UNIT), require("systemd-analyze", install=SYSTEMD)]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [*drop, *program, sys.executable, "-m", "sidecar", "serve"],
                env=self.environment | {"PYTHONPATH": str(ROOT)},
                stdout=log,
                stderr=log,
                cwd=self.data_dir,
            )
        if wait:
            wait_until(self.is_ready, within=60, what=f"readiness ({self.log})")


def test_the_sidecar_does_all_its_work_under_the_unit_s_filter(tmp_path: Path) -> None:
    try:
        ctypes.CDLL("libseccomp.so.2")
    except OSError:
        missing("libseccomp", "apt-get install libseccomp2")
    with hub_process() as hub, Service(tmp_path, hub.url, "") as service:
        assert service.process is not None
        key_id, secret = service.create_key()
        assert service.ask(secret).status == 200
        wait_until(lambda: service.metric("sidecar_key_requests_total", key_id=key_id, outcome="ok") == 1, within=30)
        assert service.metric("process_resident_memory_bytes") > 0
        workers = service.children("worker")
        service.process.send_signal(signal.SIGHUP)
        wait_until(lambda: len(service.children("worker")) == 1 and service.children("worker") != workers, within=60, what="a new worker")
        wait_until(lambda: service.ask(secret).status == 200, within=30)
        # The admin API comes back with the new control process.
        wait_until(lambda: service.admin("POST", f"/keys/{key_id}/revoke").status == 200, within=30)
        wait_until(lambda: service.ask(secret).status == 401)
        assert service.stop() == 0
    assert "Operation not permitted" not in service.log.read_text()


def test_the_filter_holds_what_it_should() -> None:
    """The harness of the test above is no empty shell: what the unit forbids fails in it."""
    try:
        ctypes.CDLL("libseccomp.so.2")
    except OSError:
        missing("libseccomp", "apt-get install libseccomp2")
    program = "import os\ntry:\n os.setpriority(os.PRIO_PROCESS, 0, 1)\nexcept PermissionError: print('refused')"
    analyze = require("systemd-analyze", install=SYSTEMD)
    assert run(sys.executable, sandbox.__file__, UNIT, analyze, sys.executable, "-c", program) == "refused\n"


def test_logrotate_keeps_every_line_of_an_open_log(tmp_path: Path) -> None:
    logrotate = require("logrotate", install="apt-get install logrotate")
    log = tmp_path / "access.jsonl"
    text = (FOLDER / "logrotate.conf").read_text().replace("/var/log/hub-auth-sidecar", str(tmp_path))
    text = "\n".join(line for line in text.splitlines() if not line.strip().startswith("su "))
    (tmp_path / "logrotate.conf").write_text(text + "\n")
    # As systemd's `append:` opens it.
    with log.open("ab", buffering=0) as service:
        service.write(b"before\n")
        run(logrotate, "--force", "--state", tmp_path / "state", tmp_path / "logrotate.conf")
        service.write(b"after\n")
    (rotated,) = tmp_path.glob("access.jsonl-*")
    assert (rotated.read_bytes(), log.read_bytes()) == (b"before\n", b"after\n")
