"""The amounts that are summed by key, once: where each is kept, what it is read from, and when it is too much.

Everything that sums, learns and measures goes through the tables here. A new amount takes the next places in
sums and in peaks, a row in `SUMMED` and a measure. A measure waits until some days have learnt its amount, so
that keys which are remembered from before are not measured against nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from sidecar.control.anomaly.detectors.signals import NEW_NETWORK_SPIKE, REQUEST_SPIKE, TOKEN_BURN, Signal
from sidecar.control.anomaly.detectors.thresholds import Thresholds
from sidecar.control.totals.rows import Row
from sidecar.refusals import ABNORMAL_USAGE_DETECTED, API_KEY_DISABLED

SERVED, REFUSED, TOKENS, STRANGE, STEP_NUMBER = 0, 1, 2, 3, 4
"""Places in sums: served and refused requests, tokens, served requests that came from new networks; the last one
is what windows use for themselves. They are stored: a place keeps its meaning, and the next one is `PLACES`."""

REQUEST_PEAKS, TOKEN_PEAKS, TOKENS_DAY, NETWORKS, IN_FLIGHT = 0, 3, 6, 7, 8
"""Places in peaks. Those of an amount are three: the most of a minute, of five minutes and of an hour. Beside them
the most tokens of a day, different networks within ten minutes, and requests open at a time. The next one is `PEAKS`."""

SERVED_OUTCOMES = frozenset({"ok", "client_closed"})
REFUSED_OUTCOMES = frozenset({"denied", "rate_limited"})

_OUR_DOING = frozenset({ABNORMAL_USAGE_DETECTED.code, API_KEY_DISABLED.code})
"""What is refused while a key is throttled or disabled: counted, it would keep the anomaly up that led to it."""


@dataclass(frozen=True, slots=True)
class Amount:
    """What each row of finished requests has some of; `peaks` is the first of its places there, None when it is not learnt."""

    place: int
    read: Callable[[Row], int]
    peaks: int | None = None


def _served(row: Row) -> int:
    return row.requests if row.traits.outcome in SERVED_OUTCOMES else 0


def _refused(row: Row) -> int:
    traits = row.traits
    return row.requests if traits.outcome in REFUSED_OUTCOMES and traits.reason not in _OUR_DOING else 0


def _tokens(row: Row) -> int:
    return row.input + row.output if row.traits.outcome in SERVED_OUTCOMES else 0


SUMMED = (
    Amount(SERVED, _served, REQUEST_PEAKS),
    Amount(REFUSED, _refused),
    Amount(TOKENS, _tokens, TOKEN_PEAKS),
)
"""What is read from traffic. What of it is strange is known only to a key's watch."""

PLACES = 1 + max(STRANGE, STEP_NUMBER, *(amount.place for amount in SUMMED))
PEAKS = 1 + max(IN_FLIGHT, *(amount.peaks + 2 for amount in SUMMED if amount.peaks is not None))


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
    """An amount that is measured in both windows: against which peaks, its lines, and how to say that they were crossed.

    A line below the peak (`over_peak` < 1) would never be looked at: what stays below the peaks is not measured.
    """

    signal: Signal
    place: int
    peaks: int
    unit: str
    minute: Line
    five: Line

    def evidence(self, minute: int, five: int, peaks: tuple[int, int, int], scale: float) -> str:
        """The sentence for an amount above a line, else nothing; `peaks` are those of a minute, five minutes and an hour."""
        peak_minute, peak_five, peak_hour = peaks
        if self.minute.above(minute, peak_minute, peak_hour / 60, scale):
            return f"{minute} {self.unit} in a minute, {times(minute * 60, peak_hour)} its busiest hour of the week"
        if self.five.above(five, peak_five, peak_hour / 12, scale):
            return f"{five} {self.unit} in 5 minutes, {times(five * 12, peak_hour)} its busiest hour of the week"
        return ""


def measures(t: Thresholds) -> tuple[Measure, ...]:
    """All that is measured, with the lines that `t` draws."""
    alone = Line(t.stranger_volume_requests, t.stranger_over_peak, t.stranger_over_peak)
    return (
        Measure(
            REQUEST_SPIKE,
            SERVED,
            REQUEST_PEAKS,
            "requests",
            minute=Line(t.spike_minute_requests, t.spike_factor, t.spike_minute_over_peak),
            five=Line(t.spike_requests, t.spike_factor, t.spike_over_peak),
        ),
        Measure(NEW_NETWORK_SPIKE, STRANGE, REQUEST_PEAKS, "requests from new networks alone", minute=alone, five=alone),
        Measure(
            TOKEN_BURN,
            TOKENS,
            TOKEN_PEAKS,
            "tokens",
            minute=Line(t.tokens_a_second * 60, t.token_factor, t.token_over_peak),
            five=Line(t.tokens_a_second * 300, t.token_factor, t.token_over_peak),
        ),
    )


def times(amount: int, usual: int) -> str:
    """How often `usual` goes into `amount`, in words for people."""
    return f"{amount / usual:.1f}×" if usual else "far beyond"
