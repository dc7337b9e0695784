"""Where ordinary traffic comes from: a file of published client rates, or a generator with the same statistics.

A client is a rate for each window of 600 seconds, and how far its counts by minute scatter.
"""

from __future__ import annotations

import csv
import gzip
import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

WINDOW = 600
WINDOWS_A_DAY = 86400 // WINDOW
DAYS = 14
HIGHEST_P95 = 0.5
"""Published rates are of a service far larger than a hub of one's own: each client is thinned to this 95th percentile."""

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Client:
    """`rate`: requests a second by window. `dispersion`: variance over mean of its counts by minute."""

    name: str
    rate: Floats
    dispersion: Floats

    @property
    def peak_hour(self) -> float:
        """Requests a second of the busiest hour."""
        hours = self.rate[: len(self.rate) // 6 * 6].reshape(-1, 6).mean(axis=1)
        return float(hours.max())


def thin(name: str, rate: Floats, cv: Floats) -> Client:
    """The client at the scale of a self-hosted hub; the scatter of counts is about the square of the gaps' variation."""
    active = rate[rate > 0]
    scale = min(1.0, HIGHEST_P95 / float(np.percentile(active, 95))) if len(active) else 1.0
    return Client(name, rate * scale, np.clip(cv**2, 1.0, 16.0))


def load(path: Path) -> list[Client]:
    """Clients of a `client_rates.csv.gz`: rows `client,kind,<one column for each window>`, kinds `rate` and `cv`."""
    rows: dict[str, dict[str, Floats]] = {}
    data = path.read_bytes()
    text = (gzip.decompress(data) if path.suffix == ".gz" else data).decode()
    reader = csv.reader(io.StringIO(text))
    next(reader)
    for name, kind, *values in reader:
        rows.setdefault(name, {})[kind] = np.array([float(value or 0) for value in values])
    return [thin(name, kinds["rate"], kinds["cv"]) for name, kinds in sorted(rows.items())]


def generate(count: int, seed: int) -> list[Client]:
    """Clients fitted to the published ones: share of active windows, daily and weekly rhythm, bursts, scatter.

    Fitted to these quartiles of 114 published clients: active windows 17 / 61 / 95 %; greatest over median
    rate 3 / 9 / 26; variation of gaps 0.9 / 1.0 / 1.3 with a tail beyond 6.
    """
    return [_generate(f"generated-{index}", np.random.default_rng([seed, index])) for index in range(count)]


def _generate(name: str, rng: np.random.Generator) -> Client:
    windows = DAYS * WINDOWS_A_DAY
    time = np.arange(windows) / WINDOWS_A_DAY
    rhythm = 1 + rng.uniform(0.1, 0.95) * np.sin(2 * np.pi * (time - rng.uniform()))
    weekend = np.where((time.astype(int) + rng.integers(7)) % 7 >= 5, rng.uniform(0.2, 1.0), 1.0)
    drift = np.exp(_slow_noise(rng, windows, 0.97, rng.uniform(0.1, 0.6)))
    rate = rhythm * weekend * drift
    for start in rng.integers(0, windows, rng.poisson(rng.choice([0, 2, 8]))):
        rate[start : start + rng.integers(1, 12)] *= rng.lognormal(1.2, 0.7)
    if rng.uniform() < 0.5:
        # Half of the clients are idle much of the time, in stretches.
        share = rng.beta(0.6, 1.0)
        gate = _slow_noise(rng, windows, 0.9, 1.0)
        rate = np.where(gate <= np.quantile(gate, max(0.03, share)), rate, 0.0)
    p95 = rng.choice([rng.uniform(0.1, 0.5), HIGHEST_P95], p=[0.1, 0.9])
    rate *= p95 / np.percentile(rate[rate > 0], 95)
    cv = np.exp(np.log(rng.lognormal(0.1, 0.35)) + 0.3 * rng.standard_normal(windows))
    return thin(name, rate, np.where(rate > 0, cv, 0.0))


def _slow_noise(rng: np.random.Generator, length: int, memory: float, spread: float) -> Floats:
    steps = rng.standard_normal(length) * spread * np.sqrt(1 - memory**2)
    noise = np.empty(length)
    level = 0.0
    for index, step in enumerate(steps):
        level = memory * level + step
        noise[index] = level
    return noise
