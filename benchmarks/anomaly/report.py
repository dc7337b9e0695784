"""Turns results into the figures that are promised: precision, recall, delay, and false alarms by 100 key-days."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from benchmarks.anomaly.scenarios import SCENARIOS, Scenario
from benchmarks.anomaly.trial import Result

RUN_DAYS = 14.0
"""Days that one benign run stands for: what the key lived through before it is part of the run."""


@dataclass(frozen=True)
class Row:
    """One scenario: how often each level was the highest, and how long a page took (seconds)."""

    scenario: Scenario
    runs: int
    pages: int
    warnings: int
    notices: int
    delay: float | None
    slowest: float | None
    signals: list[tuple[str, int]]
    """Signals that were up when the highest level was reached, and in how many runs."""

    @property
    def recall(self) -> float:
        """Share of runs that paged."""
        return self.pages / self.runs


@dataclass(frozen=True)
class Summary:
    """Everything."""

    rows: list[Row]
    key_days: float
    background_pages: int
    background_warnings: int

    @property
    def benign_days(self) -> float:
        """Key-days without an attack: the background and the benign scenarios."""
        return self.key_days + RUN_DAYS * sum(row.runs for row in self.rows if not row.scenario.attack)

    @property
    def false_pages(self) -> int:
        """Pages on the background and in benign scenarios."""
        return self.background_pages + sum(row.pages for row in self.rows if not row.scenario.attack)

    @property
    def false_warnings(self) -> int:
        """Warnings on the background and in benign scenarios; a page is one, too."""
        return self.background_warnings + sum(row.warnings + row.pages for row in self.rows if not row.scenario.attack)

    @property
    def precision(self) -> float:
        """Share of pages that were an attack, over everything that was played."""
        true = sum(row.pages for row in self.rows if row.scenario.attack)
        return true / (true + self.false_pages) if true + self.false_pages else 1.0

    @property
    def delay(self) -> float | None:
        """Median seconds from the start of an attack to its page, over the attacks that must page."""
        delays = [row.delay for row in self.rows if row.scenario.recall is not None and row.delay is not None]
        return median(delays) if delays else None

    def failures(self) -> list[str]:
        """The targets that were missed, each as a sentence."""
        missed = [
            f"{row.scenario.code}: recall {row.recall:.2f}, wanted {row.scenario.recall:.2f}"
            for row in self.rows
            if row.scenario.recall is not None and row.recall < row.scenario.recall
        ]
        checks = (
            (self.precision >= 0.90, f"page precision {self.precision:.2f}, wanted 0.90"),
            ((self.delay or 0) <= 120, f"median delay {self.delay} s, wanted 120 s"),
            (per_100(self.false_pages, self.benign_days) <= 0.2, "more than 0.2 benign pages by 100 key-days"),
            (per_100(self.false_warnings, self.benign_days) <= 6, "more than 6 benign warnings by 100 key-days"),
        )
        return missed + [sentence for holds, sentence in checks if not holds]


def summarise(results: Sequence[Result], key_days: float, background_levels: Counter[str]) -> Summary:
    """Count what came out; `background_levels` are the alarms on plain background by level."""
    rows = [_row(scenario, [one for one in results if one.scenario == scenario.code]) for scenario in SCENARIOS]
    return Summary([row for row in rows if row.runs], key_days, background_levels["page"], background_levels["warn"])


def per_100(count: float, key_days: float) -> float:
    """Alarms by 100 key-days."""
    return 100 * count / key_days if key_days else 0.0


def text(summary: Summary) -> str:
    """The table for people."""
    lines = [
        f"{'':4} {'scenario':38} {'runs':>4} {'page':>5} {'warn':>5} {'note':>5} {'none':>5} {'median':>8} {'slowest':>8}  signals",
    ]
    for row in summary.rows:
        none = row.runs - row.pages - row.warnings - row.notices
        signals = ", ".join(f"{name} {count}" for name, count in row.signals[:4])
        lines.append(
            f"{row.scenario.code:4} {row.scenario.title:38} {row.runs:4} {row.pages:5} {row.warnings:5} {row.notices:5} {none:5} "
            f"{_seconds(row.delay):>8} {_seconds(row.slowest):>8}  {signals}"
        )
    days, benign = summary.key_days, summary.benign_days
    lines += [
        "",
        f"page precision                    {summary.precision:.3f}",
        f"median delay of a page            {_seconds(summary.delay)} (attacks that must page)",
        f"background alone, {days:6.0f} key-days: {summary.background_pages} pages ({per_100(summary.background_pages, days):.2f} by 100), "
        f"{summary.background_warnings} warnings ({per_100(summary.background_warnings, days):.2f} by 100)",
        f"with benign scenarios, {benign:6.0f}:     {summary.false_pages} pages ({per_100(summary.false_pages, benign):.2f} by 100), "
        f"{summary.false_warnings} warnings ({per_100(summary.false_warnings, benign):.2f} by 100)",
        *(f"MISSED {sentence}" for sentence in summary.failures()),
    ]
    return "\n".join(lines)


def data(summary: Summary) -> dict[str, Any]:
    """The same for programs."""
    return {
        "precision": summary.precision,
        "median_delay_seconds": summary.delay,
        "background": {"key_days": summary.key_days, "pages": summary.background_pages, "warnings": summary.background_warnings},
        "benign": {"key_days": summary.benign_days, "pages": summary.false_pages, "warnings": summary.false_warnings},
        "scenarios": [
            {
                "code": row.scenario.code,
                "title": row.scenario.title,
                "attack": row.scenario.attack,
                "runs": row.runs,
                "pages": row.pages,
                "warnings": row.warnings,
                "notices": row.notices,
                "median_delay_seconds": row.delay,
                "slowest_seconds": row.slowest,
                "signals": dict(row.signals),
            }
            for row in summary.rows
        ],
        "missed": summary.failures(),
    }


def _row(scenario: Scenario, results: list[Result]) -> Row:
    levels = Counter(result.level for result in results)
    delays = [float(result.delays["page"]) for result in results if "page" in result.delays]
    signals = Counter(signal for result in results for signal in result.signals)
    return Row(
        scenario,
        len(results),
        levels["page"],
        levels["warn"],
        levels["notice"],
        median(delays) if delays else None,
        max(delays) if delays else None,
        signals.most_common(),
    )


def _seconds(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:.0f} s" if value < 600 else f"{value / 60:.0f} min"
