from __future__ import annotations

from pathlib import Path

import pytest

from sidecar.supervisor import status
from sidecar.supervisor.status import Child, Reload, Status

STATUS = Status(1, 2.0, 3, False, [Child("worker", 0, 7, True, 1)], Reload(4.0, ["hub.url: is bad"]))


def test_what_was_written_is_read(tmp_path: Path) -> None:
    status.write(tmp_path, STATUS)
    assert status.read(tmp_path) == STATUS
    assert [path.name for path in tmp_path.iterdir()] == [status.FILE]


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"pid":"x"}'])
def test_what_is_no_status_is_none(tmp_path: Path, text: str) -> None:
    assert status.read(tmp_path) is None
    (tmp_path / status.FILE).write_text(text)
    assert status.read(tmp_path) is None


def test_a_file_that_cannot_be_written_fells_nobody(tmp_path: Path) -> None:
    status.write(tmp_path / "absent", STATUS)
