"""Adds stored buckets and single calls up to the points, groups and totals of a usage report. Pure."""

from __future__ import annotations

from sidecar.control.nested import add_list
from sidecar.control.queries import UsageGroup, Use
from sidecar.control.series import MEASURES, Values

_FIELDS = tuple(Use.__dataclass_fields__)


class Tally:
    """Sums by step, together (group None) and by group; `step` is in seconds."""

    def __init__(self, step: int) -> None:
        self._step = step
        self._points: dict[str | None, dict[int, Values]] = {None: {}}

    def add(self, time: float, values: Values, group: str | None = None) -> None:
        """Add the use of one bucket or call."""
        points = self._points.setdefault(group, {})
        add_list(points.setdefault(int(time // self._step) * self._step, []), values)

    def series(self, group: str | None = None) -> tuple[Use, list[tuple[float, Use]]]:
        """Totals, and points, oldest first; the totals are the sum of the points."""
        total: Values = []
        points = sorted(self._points.get(group, {}).items())
        for _, values in points:
            add_list(total, values)
        return use_of(total), [(float(time), use_of(values)) for time, values in points]

    def groups(self) -> list[UsageGroup]:
        """All groups, those with most requests first."""
        made = [UsageGroup(name, *self.series(name)) for name in self._points if name is not None]
        return sorted(made, key=lambda group: (-group.totals.requests, group.by))


def use_of(values: Values) -> Use:
    """The measures by name."""
    by_name = dict(zip(MEASURES, values, strict=False))
    use = Use(**{name: int(by_name.get(name, 0)) for name in _FIELDS if name != "credits"})
    use.credits = float(by_name.get("credits", 0.0))
    return use
