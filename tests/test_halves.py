"""Both halves together are the whole suite, and nothing runs twice."""

from __future__ import annotations

from tests.halves import WAITING, commands
from tests.support.source import ROOT


def test_each_directory_is_in_one_half() -> None:
    waiting, computing = commands()
    for name in WAITING:
        assert (ROOT / "tests" / name).is_dir(), f"tests/{name} has moved: change tests/halves.py"
        assert f"tests/{name}" in waiting and f"--ignore=tests/{name}" in computing
