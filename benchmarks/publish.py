"""Puts the result of a run into the documentation: its tables between two marks, its picture beside them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from benchmarks import picture, report
from benchmarks.contest import Outcome
from benchmarks.programs import ROOT

PAGE = ROOT / "docs" / "performance.md"
PICTURE = ROOT / "docs" / "images" / "benchmark.svg"
BEGIN = "<!-- results: written by `python -m benchmarks --publish` -->"
END = "<!-- end of results -->"


def publish(outcomes: Mapping[str, Outcome], result: Mapping[str, Any], notes: Iterable[str], by: str) -> None:
    """Write both. Raises ValueError when the page has no place for results."""
    machine, options = result["machine"], result["options"]
    head = (
        f"{machine['processor']}, {machine['cores']} cores, Linux {machine['kernel']}, Python {machine['python']}; "
        f"{options['rounds']} rounds of {options['seconds']} s; load average before the run {machine['load']}."
    )
    tables = "\n".join([head, "", report.targets(outcomes, by), *(report.outcome(outcome) for outcome in outcomes.values())])
    listed = "\n".join(f"- {note}" for note in notes)
    PAGE.write_text(replaced(PAGE.read_text(encoding="utf-8"), f"{tables}\n{listed}".strip()), encoding="utf-8")
    if "post" in outcomes:
        PICTURE.parent.mkdir(parents=True, exist_ok=True)
        PICTURE.write_text(picture.draw(result), encoding="utf-8")


def replaced(page: str, text: str) -> str:
    """`page` with `text` between the marks."""
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError("the page has no place for results")
    return f"{before}{begin}\n\n{text}\n\n{end}{after}"
