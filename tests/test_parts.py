"""All parts together are the whole suite, and nothing runs twice."""

from __future__ import annotations

from tests.parts import ALONE, NAMED, commands
from tests.support.source import ROOT


def test_each_test_is_in_one_part() -> None:
    alone, (*named, rest) = commands()
    for name in ALONE:
        assert (ROOT / "tests" / name).is_file(), f"tests/{name} has moved: change tests/parts.py"
        assert f"tests/{name}" in alone and all(f"--ignore=tests/{name}" in command for command in (*named, rest))
    assert len({name for names in NAMED for name in names}) == sum(map(len, NAMED))
    for names, command in zip(NAMED, named, strict=True):
        for name in names:
            assert (ROOT / "tests" / name).exists(), f"tests/{name} has moved: change tests/parts.py"
            assert f"tests/{name}" in command and f"--ignore=tests/{name}" in rest
