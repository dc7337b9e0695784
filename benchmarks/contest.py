"""Contests: the same work for several entries, in turns, so that whatever slows the machine slows all of them."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from benchmarks.measures import Entry, Measure, Sample
from benchmarks.statistics import Spread, ratios


@dataclass(frozen=True)
class Contest:
    """What is measured, on whom."""

    name: str
    title: str
    measure: Measure
    entries: Sequence[Entry]
    figure: str
    """The figure that decides."""
    unit: str
    """Of that figure."""
    baseline: str
    """The label of the entry that the others are compared with."""
    warms_up: bool = True
    """Whether a short turn goes before the first round."""


@dataclass
class Outcome:
    """The samples of one contest, by the label of the entry, in the order of rounds."""

    contest: Contest
    samples: dict[str, list[Sample]] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)
    """Why an entry has no samples."""

    def figures(self, label: str, name: str) -> list[float]:
        """One figure of an entry in every round."""
        return [sample.figures[name] for sample in self.samples[label]]

    def spread(self, label: str, name: str) -> Spread:
        """That figure over all rounds."""
        return Spread.of(self.figures(label, name))

    def ratio(self, label: str, other: str, name: str) -> Spread:
        """The figure of `label` in units of that of `other`, round by round."""
        return ratios(self.figures(label, name), self.figures(other, name))

    def roles(self, label: str) -> dict[str, float]:
        """The middle of what each role cost."""
        samples = self.samples[label]
        return {role: Spread.of([sample.roles.get(role, 0.0) for sample in samples]).median for role in samples[-1].roles}


def play(contest: Contest, rounds: int, seconds: float, warm_up: float, say: Callable[[str], None], *, fresh: bool = False) -> Outcome:
    """Measure every entry `rounds` times, after one short turn that does not count; with `fresh` each time by new processes.

    An entry that fails once is out: its samples would not be comparable any more.
    """
    outcome = Outcome(contest, {entry.label: [] for entry in contest.entries})
    warm_up = warm_up if contest.warms_up else 0.0
    if warm_up and not fresh:
        for entry in contest.entries:
            _turn(outcome, entry, warm_up, counts=False)
    for number in range(rounds):
        for entry in _rotated(contest.entries, number):
            if fresh:
                entry.peer.stop()
                _turn(outcome, entry, warm_up, counts=False, starts=True)
            _turn(outcome, entry, seconds, counts=True)
        say(f"{contest.name}: round {number + 1} of {rounds}")
    return outcome


def _turn(outcome: Outcome, entry: Entry, seconds: float, *, counts: bool, starts: bool = False) -> None:
    if entry.label in outcome.failures:
        return
    try:
        if starts:
            entry.peer.start()
        if not seconds:
            return
        sample = outcome.contest.measure(entry, seconds)
    except (RuntimeError, TimeoutError, OSError) as error:
        print(f"{outcome.contest.name}: {error}", file=sys.stderr)
        outcome.failures[entry.label] = str(error)
        del outcome.samples[entry.label]
        return
    if counts:
        outcome.samples[entry.label].append(sample)


def _rotated(entries: Sequence[Entry], by: int) -> Iterator[Entry]:
    for index in range(len(entries)):
        yield entries[(index + by) % len(entries)]
