"""A chart over time: stacked bars or lines, with the same numbers as a table.

The drawing is stretched to the room that it gets, so it holds no text; names and numbers of the axes
are text of the page. One path draws a whole series, which keeps a page of charts small.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal

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

    @property
    def highest(self) -> float:
        """The end of the axis."""
        columns = zip(*(one.values for one in self.series), strict=True) if self.series else ()
        found = [sum(value or 0 for value in column) if self.kind == "bars" else max(value or 0 for value in column) for column in columns]
        return top(max(found, default=0), whole=self.shown is text.compact)

    @property
    def marks(self) -> list[str]:
        """The numbers beside the axis, from above."""
        highest = self.highest
        return [self.shown(highest), self.shown(highest / 2), "0"]

    @property
    def moments(self) -> list[str]:
        """The names under the axis: first, middle, last."""
        if not self.times:
            return []
        return [tick(self.times[index], self.step) for index in sorted({0, len(self.times) // 2, len(self.times) - 1})]

    @property
    def empty(self) -> bool:
        """Whether there is nothing to draw."""
        return not any(value for one in self.series for value in one.values)

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
        paths = self._bars() if self.kind == "bars" else self._lines()
        drawn = Markup("").join(
            Markup('<path class="{} {}" d="{}"/>').format("line" if self.kind == "lines" else "bar", one.tone, path)
            for one, path in zip(self.series, paths, strict=True)
            if path
        )
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

    def _lines(self) -> list[str]:
        unit = HEIGHT / self.highest
        return [self._line(one.values, unit) for one in self.series]

    def _line(self, values: Sequence[float | None], unit: float) -> str:
        parts = []
        drawing = False
        for index, value in enumerate(values):
            if value is not None:
                x, y = index * SLOT + SLOT / 2, HEIGHT - value * unit
                # A value between two gaps would be a line of no length.
                parts.append(f"L{x:g} {y:.2f}" if drawing else f"M{x - 1:g} {y:.2f}h1")
            drawing = value is not None
        return "".join(parts)
