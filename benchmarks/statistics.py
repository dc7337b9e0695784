"""The few statistics that the reports use. Rounds are few, so a spread is the least and the greatest value."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Spread:
    """The middle of some values, and how far they lie apart."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """Of at least one value."""
        return cls(statistics.median(values), min(values), max(values))


def percentile(ordered: Sequence[float], rank: float) -> float:
    """The value of `ordered`, which is sorted, that `rank` percent of them do not exceed (nearest rank)."""
    return ordered[max(0, math.ceil(len(ordered) * rank / 100) - 1)]


def ratios(ours: Sequence[float], theirs: Sequence[float]) -> Spread:
    """How many times theirs ours is, round by round: what slows a whole round down drops out."""
    return Spread.of([one / other for one, other in zip(ours, theirs, strict=True)])
