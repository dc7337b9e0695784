"""Every defence that the security pages name has a test, and that test exists."""

from __future__ import annotations

import ast
import re

import pytest

from tests.support.source import ROOT

PAGES = ("threat-model.md", "hardening.md")
PROOF = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")
HEADS = ("| | threat |", "| Envoy's line |")


def rows(page: str) -> list[str]:
    """The rows of the tables that have a column of proofs."""
    found, inside = [], False
    for line in (ROOT / "docs" / page).read_text(encoding="utf-8").splitlines():
        inside = line.startswith(HEADS) or (inside and line.startswith("|"))
        if inside and not line.startswith((*HEADS, "|---")):
            found.append(line)
    return found


def functions(file: str) -> set[str]:
    tree = ast.parse((ROOT / file).read_text(encoding="utf-8"))
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}


@pytest.mark.parametrize("page", PAGES)
def test_every_line_has_a_proof_that_exists(page: str) -> None:
    found = rows(page)
    assert len(found) > 15
    missing = []
    for row in found:
        proofs = PROOF.findall(row)
        assert proofs, f"no proof: {row}"
        missing += [f"{file}::{name}" for file, name in proofs if not (ROOT / file).is_file() or name not in functions(file)]
    assert missing == []


def test_every_boundary_is_looked_at_for_every_kind_of_threat() -> None:
    kinds = [row.split("|")[1].strip() for row in rows("threat-model.md")]
    assert set(kinds) == set("STRIDE")
