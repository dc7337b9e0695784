"""How much: requests and tokens against the busiest minute, five minutes and hour of the last seven days.

Minutes answer within two minutes, five minutes see what is slower. What new networks bring is also
measured by itself: nothing of it was there before.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sidecar.control.anomaly.baseline import DAYS
from sidecar.control.anomaly.memory import Memory
from sidecar.control.anomaly.signals import NEW_NETWORK_SPIKE, REQUEST_SPIKE, TOKEN_BURN, Signal
from sidecar.control.anomaly.thresholds import Thresholds
from sidecar.control.anomaly.windows import SERVED, STRANGE, TOKENS


@dataclass(frozen=True, slots=True)
class Line:
    """What must be exceeded: `least` whatever the baseline, and a multiple of the busiest hour's mean and of the peak."""

    least: float
    factor: float
    over_peak: float

    def above(self, amount: int, peak: int, peak_hour: float, scale: float) -> bool:
        """Whether `amount` is above; `peak` and `peak_hour` are over the same stretch of time."""
        return amount >= self.least and amount > scale * max(self.factor * peak_hour, self.over_peak * peak)


@dataclass(frozen=True, slots=True)
class Measure:
    """One thing that is measured in both windows: its lines, and how to say that they were crossed."""

    signal: Signal
    minute: Line
    five: Line
    unit: str

    def evidence(self, minute: int, five: int, peaks: tuple[int, int, int], scale: float) -> str:
        """The sentence for an amount above a line, else nothing; `peaks` are those of a minute, five minutes and an hour."""
        peak_minute, peak_five, peak_hour = peaks
        if self.minute.above(minute, peak_minute, peak_hour / 60, scale):
            return f"{minute} {self.unit} in a minute, {_times(minute * 60, peak_hour)} its busiest hour of the week"
        if self.five.above(five, peak_five, peak_hour / 12, scale):
            return f"{five} {self.unit} in 5 minutes, {_times(five * 12, peak_hour)} its busiest hour of the week"
        return ""


class Volume:
    """Judges what a mature key moved."""

    def __init__(self, thresholds: Thresholds) -> None:
        self._thresholds = t = thresholds
        self.least_requests = min(t.spike_minute_requests, t.stranger_volume_requests)
        self.least_tokens = t.tokens_a_second * 60
        self._requests = Measure(
            REQUEST_SPIKE,
            Line(t.spike_minute_requests, t.spike_factor, t.spike_minute_over_peak),
            Line(t.spike_requests, t.spike_factor, t.spike_over_peak),
            "requests",
        )
        alone = Line(t.stranger_volume_requests, t.stranger_over_peak, t.stranger_over_peak)
        self._alone = Measure(NEW_NETWORK_SPIKE, alone, alone, "requests from new networks alone")
        self._tokens = Measure(
            TOKEN_BURN,
            Line(t.tokens_a_second * 60, t.token_factor, t.token_over_peak),
            Line(t.tokens_a_second * 300, t.token_factor, t.token_over_peak),
            "tokens",
        )

    def judge(self, memory: Memory, now: int, tokens: int) -> None:
        """Raise what the windows show; `tokens` are those of the newest step."""
        minute, five, usual = memory.window.minute, memory.window.five, memory.baseline.usual
        young = self._thresholds.young_baseline if len(memory.baseline.days) < DAYS else 1.0
        # Every line is above the peak, so what stays below the peaks needs no measuring: that is nearly everything.
        if five[SERVED] >= self.least_requests and (five[SERVED] > usual.five or minute[SERVED] > usual.minute):
            peaks = (usual.minute, usual.five, usual.hour)
            self._measure(self._requests, memory, now, minute, five, SERVED, peaks, young)
            if five[STRANGE]:
                self._measure(self._alone, memory, now, minute, five, STRANGE, peaks, young)
        if five[TOKENS] >= self.least_tokens and (five[TOKENS] > usual.tokens_five or minute[TOKENS] > usual.tokens_minute):
            token_peaks = (usual.tokens_minute, usual.tokens_five, usual.tokens_hour)
            self._measure(self._tokens, memory, now, minute, five, TOKENS, token_peaks, young)
        today = memory.baseline.tokens_today
        line = max(self._thresholds.tokens_day, young * self._thresholds.tokens_day_factor * usual.tokens_day)
        # Said once, when the line is crossed: the day stays a big one until midnight, and would go with anything else that happens.
        if usual.tokens_day and today - tokens <= line < today:
            memory.raise_signal(TOKEN_BURN, now, f"{today} tokens today, {_times(today, usual.tokens_day)} its best day of the week")

    def _measure(
        self,
        what: Measure,
        memory: Memory,
        now: int,
        minute: Sequence[int],
        five: Sequence[int],
        place: int,
        peaks: tuple[int, int, int],
        young: float,
    ) -> None:
        scale = young * (1 + memory.acknowledged(what.signal, now) / 2) if memory.feedback else young
        evidence = what.evidence(minute[place], five[place], peaks, scale)
        if evidence:
            memory.raise_signal(what.signal, now, evidence)


def _times(amount: int, usual: int) -> str:
    return f"{amount / usual:.1f}×" if usual else "far beyond"
