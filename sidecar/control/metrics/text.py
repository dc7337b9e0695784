"""Writes samples as lines; the two text formats differ only in heads, exemplars and the end."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from sidecar.control.accepted import weights_of
from sidecar.control.metrics.catalogue import Family

TEXT = "text/plain; version=0.0.4; charset=utf-8"
OPENMETRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"

_ESCAPES = str.maketrans({"\\": "\\\\", '"': '\\"', "\n": "\\n"})


@dataclass(frozen=True, slots=True)
class Exemplar:
    """One request that a bucket counted."""

    trace_id: str
    value: float
    time: float


def wants_openmetrics(accept: str) -> bool:
    """Whether an Accept header prefers OpenMetrics, as Prometheus' does: it must be named, and no less wanted than text."""
    weights = weights_of(accept)
    text = next((weights[name] for name in ("text/plain", "text/*", "*/*") if name in weights), 0.0)
    return 0 < weights.get("application/openmetrics-text", 0.0) >= text


def escape(value: str) -> str:
    """`value` for between the quotes of a label."""
    return value.translate(_ESCAPES)


def labels(names: Sequence[str], values: Sequence[str]) -> str:
    """`{a="x",b="y"}`, or nothing without names."""
    if not names:
        return ""
    return "{" + ",".join(f'{name}="{escape(value)}"' for name, value in zip(names, values, strict=True)) + "}"


def number(value: float) -> str:
    """A sample's value."""
    if value == math.inf:
        return "+Inf"
    return repr(value)


class Page:
    """A scrape's answer, family by family."""

    def __init__(self, *, openmetrics: bool) -> None:
        self.openmetrics = openmetrics
        self._parts: list[str] = []

    def add(self, family: Family, lines: Iterable[str]) -> None:
        """A family of ready lines; left out when there are none."""
        body = "\n".join(lines)
        if body:
            self._parts += (family.head(openmetrics=self.openmetrics), body, "\n")

    def samples(self, family: Family, values: Iterable[tuple[Sequence[str], float]]) -> None:
        """A family of plain samples by label values."""
        self.add(family, [f"{family.name}{labels(family.labels, names)} {number(value)}" for names, value in values])

    def histogram(
        self,
        family: Family,
        bounds: Sequence[float],
        series: Iterable[tuple[Sequence[str], Sequence[float]]],
        exemplars: dict[tuple[tuple[str, ...], int], Exemplar] | None = None,
    ) -> None:
        """A histogram; each series is its counts (not cumulative, one more than bounds) and, last, its sum."""
        lines: list[str] = []
        for names, counts in series:
            inner = labels(family.labels, names)[1:-1]
            lead = f"{family.name}_bucket{{{inner}{',' if inner else ''}le="
            tail = f"{{{inner}}}" if inner else ""
            running: float = 0
            for index, bound in enumerate((*bounds, math.inf)):
                running += counts[index]
                exemplar = exemplars.get((tuple(names), index)) if exemplars and self.openmetrics else None
                lines.append(f'{lead}"{number(float(bound))}"}} {number(running)}{_exemplar(exemplar)}')
            lines.append(f"{family.name}_sum{tail} {number(counts[len(bounds) + 1])}")
            lines.append(f"{family.name}_count{tail} {number(running)}")
        self.add(family, lines)

    def raw(self, text: str) -> None:
        """Families that somebody else wrote in the right format."""
        self._parts.append(text)

    def render(self) -> bytes:
        """The body."""
        if self.openmetrics:
            self._parts.append("# EOF\n")
        return "".join(self._parts).encode()


def _exemplar(exemplar: Exemplar | None) -> str:
    if exemplar is None:
        return ""
    return f' # {{trace_id="{escape(exemplar.trace_id)}"}} {number(exemplar.value)} {exemplar.time:.3f}'
