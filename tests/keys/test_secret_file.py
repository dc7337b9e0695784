"""What is made once stays; what a full disk left empty is made anew."""

from __future__ import annotations

from pathlib import Path

import pytest

from sidecar.keys.secret_file import read_or_make


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
