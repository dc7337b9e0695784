"""The charts of use, each from one breakdown: so what they show adds up."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from sidecar.control.console import text
from sidecar.control.console.charts.chart import Chart, Series
from sidecar.control.console.spans import Span
from sidecar.control.queries import UsageGroup, Use
from sidecar.control.usage.overview import Breakdown

MOST_MODELS = 5
_OUTCOMES = (
    ("ok", "ok", "s1"),
    ("denied", "denied", "s2"),
    ("rate_limited", "rate limited", "s5"),
    ("client_error", "client error", "s4"),
    ("hub_error", "hub error", "s7"),
    ("sidecar_error", "sidecar error", "s3"),
    ("client_closed", "client closed", "s6"),
)
_MODEL_TONES = ("s1", "s2", "s3", "s4", "s5")


def requests(use: Breakdown, span: Span) -> Chart:
    """Requests by outcome."""
    by_name = {group.by: group for group in use.groups["outcome"]}
    series = [
        Series(name, tone, _values(by_name[code].series, span, lambda point: point.requests))
        for code, name, tone in _OUTCOMES
        if code in by_name and by_name[code].totals.requests
    ]
    return Chart("requests", "Requests", "Finished requests by outcome.", span.times, span.step, series)


def tokens(use: Breakdown, span: Span) -> Chart:
    """Tokens in and out."""
    points = list(use.series.items())
    series = [
        Series("input", "s3", _values(points, span, lambda point: point.input_tokens)),
        Series("output", "s1", _values(points, span, lambda point: point.output_tokens)),
    ]
    return Chart("tokens", "Tokens", "Tokens as the hub counted them.", span.times, span.step, series)


def errors(use: Breakdown, span: Span) -> Chart:
    """Shares of requests that failed, and that were refused."""
    points = list(use.series.items())
    series = [
        Series("errors", "s7", _shares(points, span, lambda point: point.errors)),
        Series("refused", "s2", _shares(points, span, lambda point: point.denied)),
    ]
    about = "Requests that ended in an error, and that the sidecar refused, as shares of all."
    return Chart("errors", "Error share", about, span.times, span.step, series, "lines", _percent, _percent, total=False, whole=False)


def models(use: Breakdown, span: Span) -> Chart:
    """Requests by model: those with most requests, and the others together."""
    found = use.groups["model"]
    shown, others = found[:MOST_MODELS], found[MOST_MODELS:]
    series = [
        Series(group.by, tone, _values(group.series, span, lambda point: point.requests))
        for group, tone in zip(shown, _MODEL_TONES, strict=False)
    ]
    if others:
        columns = [_values(group.series, span, lambda point: point.requests) for group in others]
        series.append(Series("others", "s6", [sum(column) for column in zip(*columns, strict=True)]))
    return Chart("models", "Models", "Requests by the model that answered.", span.times, span.step, series)


def credits_used(use: Breakdown, span: Span) -> Chart:
    """What the hub charged."""
    values = _values(list(use.series.items()), span, lambda point: point.credits)
    series = [Series("credits", "s4", values)]
    about = "What the hub says that calls cost."
    return Chart("credits", "Credits", about, span.times, span.step, series, shown=text.credits, exact=_exact, whole=False)


def latency(middle: Sequence[float | None], slow: Sequence[float | None], span: Span, calls: int) -> Chart:
    """Median and 95th percentile, in milliseconds, of the calls that were looked at."""
    about = f"From first to last byte, of the latest {calls} call{'' if calls == 1 else 's'} in this time."
    series = [Series("median", "s1", middle), Series("95th percentile", "s2", slow)]
    return Chart("latency", "Latency", about, span.times, span.step, series, "lines", text.milliseconds, text.milliseconds, total=False)


def ranked(groups: Sequence[UsageGroup], most: int = 8) -> list[dict[str, object]]:
    """The first `most` groups as rows of a ranking."""
    return [{"name": group.by, "link": "", "use": group.totals} for group in groups[:most]]


def _values(points: Sequence[tuple[float, Use]], span: Span, measure: Callable[[Use], float]) -> list[float]:
    by_time = dict(points)
    return [measure(by_time[time]) if time in by_time else 0 for time in span.times]


def _shares(points: Sequence[tuple[float, Use]], span: Span, measure: Callable[[Use], float]) -> list[float | None]:
    by_time = dict(points)
    found = (by_time.get(time) for time in span.times)
    return [100 * measure(point) / point.requests if point is not None and point.requests else None for point in found]


def _percent(value: float) -> str:
    return f"{value:.0f}%" if value == int(value) else f"{value:.1f}%"


def _exact(value: float) -> str:
    return "<0.0001" if 0 < value < 0.0001 else f"{value:.4f}".rstrip("0").rstrip(".")
