"""How much: what is summed against the busiest minute, five minutes and hour of the last seven days.

Minutes answer within two minutes, five minutes see what is slower. What new networks bring is also
measured by itself: nothing of it was there before.
"""

from __future__ import annotations

from sidecar.control.anomaly.detectors.amounts import TOKENS_DAY, Measure, measures, times
from sidecar.control.anomaly.detectors.baseline import DAYS
from sidecar.control.anomaly.detectors.memory import Memory
from sidecar.control.anomaly.detectors.signals import TOKEN_BURN
from sidecar.control.anomaly.detectors.thresholds import Thresholds

DAYS_TO_KNOW = 3
"""Days that must have learnt an amount before it is measured, when the key is older than that: an upgrade brings new ones."""


class Volume:
    """Judges what a mature key moved."""

    def __init__(self, thresholds: Thresholds) -> None:
        self._thresholds = thresholds
        # Below both floors no line can be crossed.
        self._measures = [(each.place, each.peaks, min(each.minute.least, each.five.least), each) for each in measures(thresholds)]

    def judge(self, memory: Memory, now: int, tokens: int) -> None:
        """Raise what the windows show; `tokens` are those of the newest step."""
        minute, five, usual = memory.window.minute, memory.window.five, memory.baseline.usual
        for place, peaks, least, measure in self._measures:
            # Every line is above the peak, so what stays below the peaks needs no measuring: that is nearly everything.
            if five[place] >= least and (five[place] > usual[peaks + 1] or minute[place] > usual[peaks]):
                self._measure(measure, memory, now)
        best, today = usual[TOKENS_DAY], memory.baseline.tokens_today
        line = max(self._thresholds.tokens_day, self._young(len(memory.baseline.days)) * self._thresholds.tokens_day_factor * best)
        # Said once, when the line is crossed: the day stays a big one until midnight, and would go with anything else that happens.
        if best and today - tokens <= line < today:
            memory.raise_signal(TOKEN_BURN, now, f"{today} tokens today, {times(today, best)} its best day of the week")

    def _measure(self, what: Measure, memory: Memory, now: int) -> None:
        days = memory.baseline.days
        known = sum(len(peaks) > what.peaks for _, peaks in days)
        if known < min(len(days), DAYS_TO_KNOW):
            return
        scale = self._young(known) * (1 + memory.acknowledged(what.signal, now) / 2)
        peak_minute, peak_five, peak_hour = memory.baseline.usual[what.peaks : what.peaks + 3]
        window = memory.window
        evidence = what.evidence(window.minute[what.place], window.five[what.place], (peak_minute, peak_five, peak_hour), scale)
        if evidence:
            memory.raise_signal(what.signal, now, evidence)

    def _young(self, days: int) -> float:
        return self._thresholds.young_baseline if days < DAYS else 1.0
