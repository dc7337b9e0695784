"""Where the detectors draw their lines. Seconds, requests and tokens, unless said otherwise."""

from __future__ import annotations

from dataclasses import dataclass

from sidecar.control.anomaly.detectors.signals import DAY, HOUR, MINUTE


@dataclass(frozen=True, slots=True)
class Thresholds:
    """Tuned on one half of the background clients and reported on the other (docs/anomaly-detection.md)."""

    mature_age: int = 3 * DAY
    mature_requests: int = 200
    model_age: int = 7 * DAY
    """A key younger than this is still being built: new models and routes say nothing."""
    quiet_age: int = 14 * DAY
    quiet_requests: int = 30
    """An old key needs no more than this many requests to be known."""
    roaming_networks: int = 4
    """A key that met more new networks than this in seven days roams, and one more says nothing."""
    changing_habits: int = 4
    """The same for programs, models and routes."""
    settle_after: int = 2 * HOUR
    """A new network that behaved like the known ones for this long is believed."""

    spike_factor: float = 3.0
    spike_over_peak: float = 1.5
    spike_minute_over_peak: float = 2.0
    spike_requests: int = 150
    """In five minutes."""
    spike_minute_requests: int = 40
    stranger_over_peak: float = 1.3
    """A new network by itself, against the whole key's busiest time."""
    stranger_volume_requests: int = 25
    token_factor: float = 3.0
    token_over_peak: float = 2.0
    tokens_a_second: int = 500
    tokens_day_factor: float = 4.0
    tokens_day: int = 5_000_000
    young_baseline: float = 1.5
    """Factors are this much higher until a baseline holds seven days."""

    fanout_networks: int = 7
    fanout_over_peak: float = 2.0
    stranger_requests: int = 10
    stranger_seconds: int = 20
    enumeration_models: int = 3
    dormant_after: int = 14 * DAY
    off_hours_share: float = 0.001
    """Of the week's requests; an even week has 0.006 in each hour."""
    off_hours_requests: int = 20
    off_hours_age: int = 14 * DAY
    denied_share: float = 0.5
    denied_requests: int = 30
    concurrency_factor: float = 3.0
    concurrency_floor: int = 8

    source_keys: int = 5
    source_window: int = 30 * MINUTE
    guesses: int = 20
    guess_window: int = 10 * MINUTE
    guesses_everywhere: int = 300
    """Unknown keys from all networks together in five minutes."""
    guessers: int = 15
    """Networks that are told by themselves in an hour, and while all together are; what more of them do is told of all together."""
