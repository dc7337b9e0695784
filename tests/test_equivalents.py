"""The list of mutants that no test can notice is kept with the code: an entry whose line is gone would stop the scoring."""

from __future__ import annotations

import functools

import pytest

from tests.support.equivalents import EQUIVALENTS, Equivalent
from tests.support.mutants import mutants
from tests.support.mutation import DECIDERS
from tests.support.source import ROOT


def _named(entry: Equivalent) -> str:
    return f"{entry.module}: {entry.becomes}"


@functools.cache
def _mutants(module: str) -> list[tuple[str, str]]:
    """The line that each mutant changes of those that the list names of the module, and what it says."""
    source = (ROOT / "sidecar" / f"{module}.py").read_text()
    lines = dict(enumerate(map(str.strip, source.splitlines()), 1))
    named = {entry.line for entry in EQUIVALENTS if entry.module == module}
    return [(lines[line], text) for line, text, _ in mutants(source, {number for number, line in lines.items() if line in named})]


@pytest.mark.parametrize("entry", EQUIVALENTS, ids=_named)
def test_each_is_a_mutant_of_a_module_that_is_scored(entry: Equivalent) -> None:
    assert entry.module in DECIDERS
    found = [text for line, text in _mutants(entry.module) if line == entry.line]
    assert any(text.endswith(f"→  {entry.becomes}") for text in found), found
