"""A sparkline: a row of bars as high as a line of text."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

HEIGHT = 20
STEP, BAR = 4, 3


def sparkline(values: Sequence[float], label: str) -> Markup:
    """Bars in proportion to the highest; `label` says in words what they show."""
    highest = max(values, default=0)
    width = len(values) * STEP
    bars = "".join(_bar(index, value / highest) for index, value in enumerate(values) if value > 0) if highest else ""
    return Markup(
        '<svg class="sparkline" viewBox="0 0 {} {}" role="img" aria-label="{}"><path class="floor" d="M0 {}h{}"/>{}</svg>'
    ).format(width, HEIGHT, label, HEIGHT - 0.5, width, Markup('<path d="{}"/>').format(bars) if bars else "")


def _bar(index: int, share: float) -> str:
    height = max(1, round(share * HEIGHT))
    return f"M{index * STEP} {HEIGHT}v-{height}h{BAR}v{height}z"
