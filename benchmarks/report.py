"""Results as a text for people and as a document for programs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from benchmarks.contest import Outcome
from benchmarks.statistics import Spread
from benchmarks.targets import TARGETS

BUSY_LOAD = 0.93
"""Beyond this share of its core, the load may have been what held a proxy back."""


def text(outcomes: Mapping[str, Outcome], notes: Iterable[str], by: str = "rate") -> str:
    """Everything as tables; `by` as in `Target.measure`."""
    parts = [outcome(one) for one in outcomes.values()]
    parts.append(targets(outcomes, by))
    parts += [f"- {note}" for note in notes]
    return "\n".join(parts)


def targets(outcomes: Mapping[str, Outcome], by: str = "rate") -> str:
    """What was to be reached, and what was."""
    rows = [["target", "reached", "spread", "floor", "aim", ""]]
    for target in TARGETS:
        reached = target.measure(outcomes, by)
        if reached is not None:
            bounds = ["" if bound is None else f"{bound:g}" for bound in (target.floor, target.aim)]
            rows.append([target.what, number(reached.median), _range(reached), *bounds, target.verdict(reached)])
    if len(rows) == 1:
        return ""
    judged = "" if by == "rate" else ", where rates are by processor time"
    return f"**Targets**{judged}\n\n{table(rows)}"


def document(
    outcomes: Mapping[str, Outcome], machine: Mapping[str, str], options: Mapping[str, object], by: str = "rate"
) -> dict[str, Any]:
    """JSON-ready: every sample, and what the targets made of them."""
    judged = [(target, target.measure(outcomes, by)) for target in TARGETS]
    return {
        "machine": dict(machine),
        "options": dict(options),
        "contests": [_document(outcome) for outcome in outcomes.values()],
        "targets": [
            {
                "what": target.what,
                "floor": target.floor,
                "aim": target.aim,
                "reached": reached.median,
                "low": reached.low,
                "high": reached.high,
                "verdict": target.verdict(reached),
            }
            for target, reached in judged
            if reached is not None
        ],
    }


def table(rows: Sequence[Sequence[str]]) -> str:
    """Rows as a Markdown table; the first is the head, and all columns but the first are numbers."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]

    def line(row: Sequence[str]) -> str:
        first, *others = (
            cell.ljust(width) if not at else cell.rjust(width) for at, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        return "| " + " | ".join([first, *others]) + " |"

    rule = "| " + " | ".join("-" * width if not at else "-" * (width - 1) + ":" for at, width in enumerate(widths)) + " |"
    head, *rest = rows
    return "\n".join([line(head), rule, *map(line, rest)]) + "\n"


def number(value: float) -> str:
    """Three digits that mean something."""
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}" if abs(value) < 1 else f"{value:.2f}" if abs(value) < 10 else f"{value:.1f}"


def outcome(found: Outcome) -> str:
    """One contest as a table."""
    contest = found.contest
    figures = _figures(found)
    rows = [["", contest.unit, "spread", f"ratio to {contest.baseline}", "spread", *figures, "by process"]]
    titles = {entry.label: entry.peer.title for entry in contest.entries if entry.label == entry.peer.name}
    for label in found.samples:
        main = found.spread(label, contest.figure)
        ratio = ["", ""]
        if contest.baseline in found.samples and min(found.figures(contest.baseline, contest.figure)) > 0:
            times = found.ratio(label, contest.baseline, contest.figure)
            ratio = [number(times.median), _range(times)]
        more = [number(found.spread(label, name).median) for name in figures]
        roles = ", ".join(f"{role} {number(cost)}" for role, cost in found.roles(label).items())
        rows.append([titles.get(label, label), number(main.median) + _mark(found, label), _range(main), *ratio, *more, roles])
    failed = "".join(f"- {label}: {why}\n" for label, why in found.failures.items())
    return f"**{contest.name}**: {contest.title}\n\n{table(rows)}{failed}"


def _figures(outcome: Outcome) -> list[str]:
    """The further figures that a table shows."""
    names = next((list(samples[0].figures) for samples in outcome.samples.values() if samples), [])
    return [name for name in names if name != outcome.contest.figure]


def _mark(outcome: Outcome, label: str) -> str:
    if outcome.contest.figure != "rate":
        return ""
    return "†" if outcome.spread(label, "load").median > BUSY_LOAD else ""


def _range(spread: Spread) -> str:
    return f"{number(spread.low)}–{number(spread.high)}"


def _document(outcome: Outcome) -> dict[str, Any]:
    contest = outcome.contest
    titles = {entry.label: entry.peer.title for entry in contest.entries}
    return {
        "name": contest.name,
        "title": contest.title,
        "figure": contest.figure,
        "unit": contest.unit,
        "baseline": contest.baseline,
        "entries": [
            {
                "label": label,
                "title": titles[label],
                "samples": [{"figures": dict(sample.figures), "roles": dict(sample.roles)} for sample in samples],
            }
            for label, samples in outcome.samples.items()
        ],
        "failures": outcome.failures,
    }
