from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from sidecar.supervisor import status
from sidecar.supervisor.status import Child, Reload, Status
from tests.supervisor.fakes import Sidecar
from tests.support.waiting import wait_until

STATUS = Status(1, 2.0, 3, False, [Child("worker", 0, 7, True, 1)], Reload(4.0, ["hub.url: is bad"]))


def test_what_was_written_is_read(tmp_path: Path) -> None:
    assert status.write(tmp_path, STATUS) == ""
    assert status.read(tmp_path) == STATUS
    assert [path.name for path in tmp_path.iterdir()] == [status.FILE]


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"pid":"x"}'])
def test_what_is_no_status_is_none(tmp_path: Path, text: str) -> None:
    assert status.read(tmp_path) is None
    (tmp_path / status.FILE).write_text(text)
    assert status.read(tmp_path) is None


def test_a_file_that_cannot_be_written_fells_nobody(tmp_path: Path) -> None:
    assert status.write(tmp_path / "absent", STATUS) == "No such file or directory"


def test_what_could_not_be_written_is_written_once_it_can_be(sidecar: Sidecar) -> None:
    """Else the doctor would go on telling of children that are gone."""
    sidecar.start()
    wait_until(lambda: "serving on" in sidecar.output and len(sidecar.pids("worker")) == 1)
    (before,) = sidecar.pids("worker")
    obstacle = (sidecar.data_dir / status.FILE).with_suffix(".tmp")
    obstacle.mkdir()
    os.kill(before, signal.SIGKILL)
    wait_until(lambda: len(sidecar.events("worker", "ready")) == 2)
    wait_until(lambda: "supervisor.json cannot be written (Is a directory); trying again" in sidecar.output)
    assert sidecar.pids("worker") == [before]
    obstacle.rmdir()
    wait_until(lambda: sidecar.pids("worker") not in ([], [before]))
    assert sidecar.output.count("cannot be written") == 1
