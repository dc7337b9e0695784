"""A chart over time: stacked bars or lines, with the same numbers as a table.

The drawing is stretched to the room that it gets, so it holds no text; names and numbers of the axes
are text of the page. One path draws a whole series, which keeps a page of charts small.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Literal, NamedTuple

from markupsafe import Markup

from sidecar.control.console import text
from sidecar.control.console.charts.scale import bucket, tick, top

HEIGHT = 100
SLOT, BAR = 10, 8
"""Width of a bucket, and of the bar in it."""

Kind = Literal["bars", "lines"]


@dataclass(frozen=True, slots=True)
class Series:
    """One series; `tone` names its colour in the style sheet, None is a gap."""

    name: str
    tone: str
    values: Sequence[float | None]


class Moment(NamedTuple):
    """A name under the axis, at `x` per cent of its length, which is the `anchor` of the text."""

    name: str
    x: float
    anchor: Literal["start", "middle", "end"]


@dataclass(frozen=True, slots=True)
class Chart:
    """What is drawn; `times` are the starts of the buckets in Unix seconds, each `step` seconds long."""

    id: str
    title: str
    about: str
    """One sentence on what the numbers are."""
    times: Sequence[float]
    step: float
    series: Sequence[Series]
    kind: Kind = "bars"
    shown: Callable[[float], str] = text.compact
    exact: Callable[[float], str] = text.whole
    total: bool = field(default=True)
    """Whether the sum of the series means something."""
    whole: bool = field(default=True)
    """Whether the values are counted, so that halves of them are not."""

    @property
    def highest(self) -> float:
        """The end of the axis."""
        columns = zip(*(one.values for one in self.series), strict=True) if self.series else ()
        found = [sum(value or 0 for value in column) if self.kind == "bars" else max(value or 0 for value in column) for column in columns]
        return top(max(found, default=0), whole=self.whole)

    @property
    def marks(self) -> list[str]:
        """The numbers beside the axis, from above."""
        highest = self.highest
        return [self.shown(highest), self.shown(highest / 2), "0"]

    @property
    def moments(self) -> list[Moment]:
        """The names under the axis: first, middle, last. One in the middle stands under the middle of its bar, where it is read out."""
        last = len(self.times) - 1
        return [self._moment(index, last) for index in sorted({0, (last + 1) // 2, last})] if self.times else []

    def _moment(self, index: int, last: int) -> Moment:
        name = tick(self.times[index], self.step, self.times[-1] - self.times[0])
        if 0 < index < last or not last:
            return Moment(name, round((index + 0.5) * 100 / (last + 1), 2), "middle")
        return Moment(name, 0 if index == 0 else 100, "start" if index == 0 else "end")

    @property
    def empty(self) -> bool:
        """Whether there is nothing to draw: no bar; for lines no value, for a line at nought says that all was well."""
        values = [value for one in self.series for value in one.values]
        return not any(values) if self.kind == "bars" else all(value is None for value in values)

    @property
    def width(self) -> int:
        """Of the drawing."""
        return max(1, len(self.times)) * SLOT

    def rows(self) -> list[tuple[str, list[str]]]:
        """The table behind the chart: a row for each bucket, its sum last where that means something."""
        summed = self.total and len(self.series) > 1
        made = []
        for index, time in enumerate(self.times):
            values = [one.values[index] for one in self.series]
            cells = ["–" if value is None else self.exact(value) for value in values]
            made.append((bucket(time, self.step), [*cells, self.exact(sum(value or 0 for value in values))] if summed else cells))
        return made

    def svg(self) -> Markup:
        """The drawing."""
        drawn = Markup("").join(Markup('<path class="{} {}" d="{}"/>').format(*path) for path in self._paths() if path[-1])
        return Markup(
            '<svg viewBox="0 0 {width} {height}" preserveAspectRatio="none" role="img" aria-labelledby="{id}-t {id}-d">'
            '<title id="{id}-t">{title}</title><desc id="{id}-d">{about}</desc>'
            '<path class="grid" d="M0 0H{width}M0 {middle}H{width}M0 {height}H{width}"/>'
            '<rect class="cursor" visibility="hidden" width="{slot}" height="{height}"/>{drawn}</svg>'
        ).format(
            id=self.id,
            title=self.title,
            about=self.about,
            width=self.width,
            height=HEIGHT,
            middle=HEIGHT // 2,
            slot=SLOT,
            drawn=drawn,
        )

    def _paths(self) -> Iterator[tuple[str, str, str]]:
        """Of each path what it is, its tone, and how it runs."""
        if self.kind == "bars":
            yield from (("bar", one.tone, path) for one, path in zip(self.series, self._bars(), strict=True))
            return
        unit = HEIGHT / self.highest
        for one in self.series:
            places = ((index * SLOT + SLOT / 2, value) for index, value in enumerate(one.values))
            runs = _runs(None if value is None else f"{x:g} {HEIGHT - value * unit:.2f}" for x, value in places)
            yield "line", one.tone, "".join(f"M{'L'.join(run)}" for run in runs if len(run) > 1)
            # A value between two gaps is a line of no length, which its round ends make a dot.
            yield "line dot", one.tone, "".join(f"M{run[0]}h0" for run in runs if len(run) == 1)

    def _bars(self) -> list[str]:
        floor = [0.0] * len(self.times)
        unit = HEIGHT / self.highest
        paths = []
        for one in self.series:
            parts = []
            for index, value in enumerate(one.values):
                if value:
                    height = value * unit
                    x, y = index * SLOT + (SLOT - BAR) / 2, HEIGHT - floor[index] * unit
                    parts.append(f"M{x:g} {y:.2f}v-{max(height, 0.5):.2f}h{BAR}V{y:.2f}z")
                    floor[index] += value
            paths.append("".join(parts))
        return paths


def _runs(points: Iterable[str | None]) -> list[list[str]]:
    """The points that follow each other without a gap."""
    return [[point for point in run if point is not None] for gap, run in groupby(points, key=lambda point: point is None) if not gap]
