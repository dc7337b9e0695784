"""Adds stored buckets and single calls up to the points of a usage report. No I/O."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Collection, Mapping
from operator import itemgetter

from sidecar.control.queries import Use
from sidecar.control.totals.series import MEASURES, Values, added
from sidecar.control.turns import Turns

Points = list[tuple[int, Values]]
"""Sums by the start of their step (Unix seconds), oldest first."""

_OF_USE = itemgetter(*(MEASURES.index(name) for name in Use.__dataclass_fields__))
_NONE: Values = [0] * len(MEASURES)


class Sizes:
    """How large groups are: their requests, and how many points they have at most."""

    def __init__(self) -> None:
        self._requests: defaultdict[str, float] = defaultdict(float)
        self._points: defaultdict[str, int] = defaultdict(int)

    def add(self, group: str, requests: float, points: int) -> None:
        """Add some of a group's."""
        self._requests[group] += requests
        self._points[group] += points

    async def parts(self, most: int, steps: int) -> list[list[str]]:
        """The groups, those with most requests first, in parts of `most` points or of one group; no group has more than `steps`."""
        parts: list[list[str]] = []
        room = 0
        turns = Turns()
        # Sorting cannot be cut into pieces; twice by what is there is several times as fast as once by pairs that are made for it.
        groups = sorted(self._points)
        groups.sort(key=self._requests.__getitem__, reverse=True)
        for group in groups:
            points = min(self._points[group], steps)
            if not parts or points > room:
                parts.append([])
                room = most
            parts[-1].append(group)
            room -= points
            await turns.after()
        return parts


class Tally:
    """Sums by step, together (group None) and by group; `step` is in seconds. With `only`, of these alone.

    When the groups get more than `most` points together, they have to be let go, one by one because that takes its time, and
    `sizes` tells how large they would be.
    """

    def __init__(self, step: int, only: Collection[str | None] | None = None, most: float = math.inf) -> None:
        self._step = step
        self._only = None if only is None else frozenset(only)
        self._most = most
        self._size = 0
        self._points: dict[str | None, dict[int, Values]] = {}
        self.sizes: Sizes | None = None

    def add(self, time: float, values: Values, group: str | None = None) -> None:
        """Add the use of one bucket or call. `values` stays as it is, for it may be kept."""
        if self.sizes is not None and group is not None:
            self.sizes.add(group, values[0], 1)
            return
        points = self._points.get(group)
        if points is None:
            if self._only is not None and group not in self._only:
                return
            points = self._points[group] = {}
        at = int(time // self._step) * self._step
        known = points.get(at)
        if known is not None:
            points[at] = added(known, values)
            return
        points[at] = values
        if group is not None:
            self._size += 1
            if self._size > self._most:
                self.sizes = Sizes()

    def merge(self, other: Tally, names: Mapping[str, str] | None = None) -> None:
        """Add what another one has; `names` tells what its groups are here, where they are others."""
        for group, points in other._points.items():
            here = group if group is None or names is None else names.get(group, group)
            for at, values in points.items():
                self.add(at, values, here)

    def requests(self) -> dict[str, float]:
        """The requests of each group."""
        return {group: sum(values[0] for values in points.values()) for group, points in self._points.items() if group is not None}

    def ranked(self) -> list[str]:
        """The groups, those with most requests first."""
        requests = self.requests()
        return sorted(requests, key=lambda group: (-requests[group], group))

    def take(self, group: str | None = None) -> Points:
        """Its points, which are not kept here any longer."""
        return sorted(self._points.pop(group, {}).items())

    def let_go(self) -> int:
        """Let go of a group, if that has to be; how many points it had, 0 when no more has to go."""
        group = next((group for group in self._points if group is not None), None)
        if self.sizes is None or group is None:
            return 0
        points = self._points.pop(group)
        self.sizes.add(group, sum(values[0] for values in points.values()), len(points))
        return len(points)


def use_of(values: Values) -> Use:
    """The measures by name."""
    requests, errors, denied, read, written, images, credits_used, bytes_in, bytes_out = _OF_USE(values + _NONE[len(values) :])
    return Use(
        int(requests), int(errors), int(denied), int(read), int(written), int(images), float(credits_used), int(bytes_in), int(bytes_out)
    )
