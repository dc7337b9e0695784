from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from sidecar.supervisor import data_dir
from sidecar.supervisor.data_dir import DataDirError


def status(mode: int, uid: int) -> os.stat_result:
    return os.stat_result((mode, 0, 0, 1, uid, 0, 0, 0, 0, 0))


@pytest.mark.parametrize(
    ("mode", "uid", "complaint"),
    [
        (stat.S_IFDIR | 0o700, 1000, ""),
        (stat.S_IFDIR | 0o500, 1000, ""),
        (stat.S_IFDIR | 0o750, 1000, "chmod 700"),
        (stat.S_IFDIR | 0o701, 1000, "chmod 700"),
        (stat.S_IFDIR | 0o700, 0, "belongs to user 0, not to 1000; run this as that user"),
        (stat.S_IFREG | 0o600, 1000, "is not a directory"),
    ],
)
def test_who_may_keep_secrets_there(mode: int, uid: int, complaint: str) -> None:
    found = data_dir.judge(Path("/d"), status(mode, uid), 1000)
    assert complaint in found
    assert bool(found) == bool(complaint)


def test_it_is_made_private(tmp_path: Path) -> None:
    data_dir.prepare(tmp_path / "a" / "b")
    assert (tmp_path / "a" / "b").stat().st_mode & 0o777 == 0o700


def test_an_open_one_is_refused_and_left_alone(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    with pytest.raises(DataDirError, match=f"chmod 700 {tmp_path}"):
        data_dir.prepare(tmp_path)
    assert tmp_path.stat().st_mode & 0o777 == 0o755


def test_one_that_cannot_be_made_says_why(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(DataDirError, match="cannot be made"):
        data_dir.prepare(tmp_path / "file" / "below")


def test_one_at_a_time(tmp_path: Path) -> None:
    assert not data_dir.in_use(tmp_path)
    held = data_dir.lock(tmp_path)
    assert data_dir.in_use(tmp_path)
    with pytest.raises(DataDirError, match="in use by another sidecar"):
        data_dir.lock(tmp_path, patience=0.1)
    os.close(held)
    assert not data_dir.in_use(tmp_path)
    os.close(data_dir.lock(tmp_path, patience=0))


def test_a_lock_that_cannot_be_had_is_one_sentence(tmp_path: Path) -> None:
    """As on a full disk, or where another user has started it here before."""
    (tmp_path / "lock").mkdir()
    with pytest.raises(DataDirError, match=r"lock cannot be opened \(Is a directory\); make room"):
        data_dir.lock(tmp_path)
