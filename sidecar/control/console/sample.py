"""What single calls tell beyond sums: how long they took, from where and by what. Pure, from the calls that the log still has."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from sidecar.control.console.spans import Span
from sidecar.events.record import Request

MOST = 500
"""Calls that a page looks at."""
_LISTED = 8

Share = tuple[str, int]
"""A name and its calls."""


@dataclass(frozen=True, slots=True)
class Sample:
    """The latest calls of a span."""

    calls: int
    middle: list[float | None]
    slow: list[float | None]
    """Median and 95th percentile of each step, in milliseconds; None without a call."""
    networks: list[Share]
    agents: list[Share]


def sample(calls: Sequence[Request], span: Span) -> Sample:
    """Look at `calls`, all of which ended in `span`."""
    by_step: dict[float, list[float]] = {}
    for call in calls:
        if call.hub_status:
            by_step.setdefault(call.time // span.step * span.step, []).append(call.total * 1000)
    durations = [sorted(by_step.get(time, [])) for time in span.times]
    return Sample(
        len(calls),
        [quantile(values, 0.5) for values in durations],
        [quantile(values, 0.95) for values in durations],
        Counter(call.client for call in calls).most_common(_LISTED),
        Counter(call.agent or "(none)" for call in calls).most_common(_LISTED),
    )


def quantile(ordered: Sequence[float], share: float) -> float | None:
    """The value that `share` of `ordered` do not exceed (nearest rank); None for nothing."""
    return ordered[max(0, -(-int(share * 100) * len(ordered) // 100) - 1)] if ordered else None
