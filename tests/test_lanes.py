"""All pieces together are the whole suite, and nothing runs twice."""

from __future__ import annotations

from collections import Counter

from tests.lanes import alone, files_of, patient, prompt
from tests.support.source import ROOT


def test_each_file_is_in_one_piece() -> None:
    times = Counter(file for piece in [*prompt(), *patient(), *alone()] for file in files_of(piece))
    assert times == Counter((ROOT / "tests").rglob("test_*.py"))


def test_each_path_exists() -> None:
    for piece in [*prompt(), *patient(), *alone()]:
        assert piece.paths
        for path in (*piece.paths, *piece.ignored):
            assert (ROOT / "tests" / path).exists(), f"tests/{path} has moved: change tests/lanes.py"
