"""What is made once stays; what a full disk left empty is made anew."""

from __future__ import annotations

import resource
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from sidecar.keys.secret_file import make_once, read_or_make, replace_private


def test_what_was_made_is_read_again(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "secret"
    made = read_or_make(path, lambda: "first")
    assert made == read_or_make(path, lambda: "second") == "first"
    assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("left", ["", "\n"])
def test_an_empty_file_holds_nothing(tmp_path: Path, left: str) -> None:
    path = tmp_path / "secret"
    path.write_text(left)
    assert read_or_make(path, lambda: "made") == "made"
    assert path.read_text() == "made\n"
    assert [each.name for each in tmp_path.iterdir()] == ["secret"]


@contextmanager
def _full_disk() -> Iterator[None]:
    """No file takes more than three bytes meanwhile."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    told = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (3, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, told)


@pytest.mark.parametrize("write", [lambda path: replace_private(path, "a secret"), lambda path: make_once(path, lambda: "a secret")])
def test_what_a_full_disk_does_not_take_leaves_nothing_behind(tmp_path: Path, write: Callable[[Path], None]) -> None:
    with _full_disk(), pytest.raises(OSError, match="too large"):
        write(tmp_path / "secret")
    assert list(tmp_path.iterdir()) == []
