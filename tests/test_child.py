from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from sidecar import child
from sidecar.events.spool import SpoolWriter
from sidecar.events.wire import encode
from sidecar.settings import Settings, load
from sidecar.settings.load import to_bytes
from sidecar.store import names
from sidecar.store.client import Store
from sidecar.supervisor.process import PythonLauncher
from tests.control.support.events import request
from tests.support.ports import free_port
from tests.support.source import ROOT
from tests.support.store import Server

CHILD = (sys.executable, "-m", "sidecar.child")


def test_a_role_that_does_not_exist_is_wrong_use(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        child.main(["nobody", "--parent", "1", "--settings-fd", "0", "--ready-fd", "1"])
    assert ended.value.code == 2
    assert "invalid choice" in capsys.readouterr().err


def test_every_role_has_its_module() -> None:
    for module in child.ROLES.values():
        assert (ROOT / Path(*module.split(".")).with_suffix(".py")).is_file(), module


def test_a_child_whose_parent_has_gone_does_nothing() -> None:
    done = subprocess.run([*CHILD, "worker", "--parent", "1", "--settings-fd", "0", "--ready-fd", "1"], cwd=ROOT, timeout=30)
    assert done.returncode == 0


def test_an_error_that_nobody_knows_is_logged_and_ends_the_child(tmp_path: Path) -> None:
    settings = load(None, {"SIDECAR_HUB__PROFILE": str(tmp_path / "absent.yaml")})
    error = tmp_path / "stderr"
    pid, code = run_child("worker", settings, error)
    assert code == 1
    assert '"process": "worker-0"' in error.read_text()
    assert "FileNotFoundError" in error.read_text()
    assert pid > 0


async def test_a_control_process_that_is_told_to_end_while_it_starts_folds_what_there_is(
    tmp_path: Path, valkey: Server, store: Store
) -> None:
    """Else a stop right after a reload, or after a crash, leaves what the workers write as they drain."""
    data_dir = tmp_path / "data"
    data_dir.mkdir(mode=0o700)
    settings = load(
        None,
        {
            "SIDECAR_DATA_DIR": str(data_dir),
            "SIDECAR_STORE__URL": valkey.url,
            "SIDECAR_METRICS__LISTEN": f"127.0.0.1:{free_port()}",
            "SIDECAR_ADMIN__LISTEN": f"127.0.0.1:{free_port()}",
        },
    )
    (data_dir / "spool").mkdir()
    spool = SpoolWriter(data_dir / "spool", segment_bytes=1 << 20, max_bytes=1 << 30)
    key_id = "key_0123456789abcdef"
    spool.append(encode(request(key_id)))
    spool.close()
    process = PythonLauncher(CHILD, os.environ)("control", 0, to_bytes(settings), {})
    for number in (signal.SIGTERM, signal.SIGUSR2):
        process.send(number)
    _, found = await asyncio.to_thread(os.waitpid, process.pid, 0)
    process.gone()
    assert os.waitstatus_to_exitcode(found) == 0
    assert await store.call("ZSCORE", names.recent(names.shard_of(key_id)), key_id) is not None


def run_child(role: str, settings: Settings, error: Path) -> tuple[int, int]:
    """Start a child as the supervisor does and wait for its end."""
    saved = os.dup(2)
    with error.open("wb") as stream:
        os.dup2(stream.fileno(), 2)
        try:
            process = PythonLauncher(CHILD, os.environ)(role, 0, to_bytes(settings), {})
        finally:
            os.dup2(saved, 2)
            os.close(saved)
    pid = process.pid
    _, found = os.waitpid(pid, 0)
    process.gone()
    return pid, os.waitstatus_to_exitcode(found)
