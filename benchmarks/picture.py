"""Draws the result of a run as SVG: requests a second of everybody, as bars with their spread."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from benchmarks.report import number
from benchmarks.statistics import Spread

OURS, OTHERS, INK, GREY = "#2563eb", "#94a3b8", "#0f172a", "#64748b"
_LEFT, _WIDTH, _LINE, _TOP, _BAR = 340, 420, 30, 64, 18
_WHOLE = _LEFT + _WIDTH + 190


def draw(result: Mapping[str, Any]) -> str:
    """The picture of a result as `report.document` makes it."""
    contest = next(contest for contest in result["contests"] if contest["name"] == "post")
    by = result["options"].get("by", "rate")
    bars = sorted(((entry["label"], entry["title"], _spread(entry, by)) for entry in contest["entries"]), key=lambda bar: -bar[2].median)
    longest = max(spread.high for _, _, spread in bars)
    ours = next((spread.median for label, _, spread in bars if label == "sidecar"), 0.0)
    height = _TOP + _LINE * len(bars) + 34
    machine = result["machine"]
    by_time = "; by the processor time of a request" if by == "cpu" else ""
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WHOLE} {height}" font-family="sans-serif" font-size="13" role="img">',
        "<title>Requests a second through the sidecar and through other proxies</title>",
        '<rect width="100%" height="100%" fill="#ffffff"/>',
        f'<text x="16" y="26" font-size="17" font-weight="600" fill="{INK}">Requests a second on one core</text>',
        f'<text x="16" y="46" fill="{GREY}">{escape(contest["title"])}; with all that a proxy needs on that core{by_time}</text>',
    ]
    for index, (label, title, spread) in enumerate(bars):
        parts += _bar(_TOP + _LINE * index, label, title, spread, longest, ours)
    about = f"{machine['processor']}, Linux {machine['kernel']}, Python {machine['python']}; lines show the spread over all rounds"
    parts.append(f'<text x="16" y="{height - 12}" font-size="11" fill="{GREY}">{escape(about)}</text>')
    parts.append("</svg>\n")
    return "\n".join(parts)


def _bar(y: int, label: str, title: str, spread: Spread, longest: float, ours: float) -> Sequence[str]:
    scale = _WIDTH / longest
    width, low, high = (scale * value for value in (spread.median, spread.low, spread.high))
    middle = y + _BAR / 2
    weight = ' font-weight="600"' if label == "sidecar" else ""
    times = "" if label == "sidecar" or not ours else f" · sidecar {number(ours / spread.median)}×"
    return [
        f'<text x="{_LEFT - 10}" y="{y + 14}" text-anchor="end" fill="{INK}"{weight}>{escape(title)}</text>',
        f'<rect x="{_LEFT}" y="{y}" width="{width:.1f}" height="{_BAR}" rx="2" fill="{OURS if label == "sidecar" else OTHERS}"/>',
        f'<line x1="{_LEFT + low:.1f}" x2="{_LEFT + high:.1f}" y1="{middle}" y2="{middle}" stroke="{INK}"/>',
        f'<text x="{_LEFT + max(width, high) + 8:.1f}" y="{y + 14}" fill="{INK}">{number(spread.median)}{times}</text>',
    ]


def _spread(entry: Mapping[str, Any], by: str) -> Spread:
    figures = [sample["figures"] for sample in entry["samples"]]
    return Spread.of([1e6 / one["cpu"] if by == "cpu" else one["rate"] for one in figures])
