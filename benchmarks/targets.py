"""What the sidecar is meant to reach beside the others, and whether it did."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from benchmarks.contest import Outcome
from benchmarks.statistics import Spread

OURS = "sidecar"


@dataclass(frozen=True)
class Target:
    """One line: `figure` of `entry` in units of that of `other`, or, as `difference`, the one less the other."""

    what: str
    contest: str
    figure: str
    other: str
    floor: float | None
    aim: float | None
    entry: str = OURS
    difference: bool = False
    greater_is_better: bool = True

    def measure(self, outcomes: Mapping[str, Outcome], by: str = "rate") -> Spread | None:
        """What was reached; None when it was not measured.

        With `by` as `cpu` a rate is what one whole core would give by the processor time of a request:
        the same on a quiet machine, and still right on one where others take parts of the core away.
        """
        outcome = outcomes.get(self.contest)
        if outcome is None or not outcome.samples.get(self.entry) or not outcome.samples.get(self.other):
            return None
        if self.figure == "rate" and by == "cpu":
            return outcome.ratio(self.other, self.entry, "cpu")
        if not self.difference:
            return outcome.ratio(self.entry, self.other, self.figure)
        ours, theirs = outcome.figures(self.entry, self.figure), outcome.figures(self.other, self.figure)
        return Spread.of([one - other for one, other in zip(ours, theirs, strict=True)])

    def verdict(self, reached: Spread) -> str:
        """`aim`, `floor` or `missed`."""
        for name, bound in (("aim", self.aim), ("floor", self.floor)):
            if bound is not None and (reached.median >= bound if self.greater_is_better else reached.median <= bound):
                return name
        return "missed" if self.floor is not None else "short of the aim"


def _rate(other: str, floor: float | None, aim: float | None) -> Target:
    return Target(f"small POST, requests a second, times {other}", "post", "rate", other, floor, aim)


def _key(entry: str, floor: float, aim: float) -> Target:
    return Target(f"{entry}, requests a second, times one good key", "keys", "rate", "one good key", floor, aim, entry)


def _cost(what: str, contest: str, figure: str, other: str, floor: float | None, aim: float | None) -> Target:
    return Target(what, contest, figure, other, floor, aim, greater_is_better=False)


def _added(what: str, contest: str, figure: str, floor: float, aim: float | None) -> Target:
    return Target(what, contest, figure, "direct", floor, aim, difference=True, greater_is_better=False)


TARGETS = (
    _rate("clientsession", 2.5, None),
    _rate("envoy-authz", 2.0, None),
    _rate("envoy-static", 0.85, 1.2),
    _rate("nginx-lua", None, 1.0),
    Target("Envoy with the authorizer, requests a second, times envoy-authz", "post", "rate", "envoy-authz", 0.9, None, "envoy-sidecar"),
    _key("limited key", 0.5, 0.7),
    _key("revoked key", 1.2, 1.5),
    _key("garbage keys", 1.2, 1.5),
    _key("many keys", 0.8, 0.95),
    Target("metering, requests a second, times the same build without it", "metering", "rate", "unmetered", 0.9, None),
    _cost("events, CPU for each, times envoy-static", "stream", "cpu", "envoy-static", 1.5, 1.0),
    _cost("open streams, memory of each, times envoy-static", "memory", "memory", "envoy-static", 1.0, None),
    _cost("open streams, memory of each, times nginx-lua", "memory", "memory", "nginx-lua", None, 1.0),
    _added("64 streams, added delay, p99, ms", "stream", "p99", 5.0, None),
    _added("500 requests a second, added latency, p50, µs", "latency", "p50", 500.0, 300.0),
    _added("500 requests a second, added latency, p99, µs", "latency", "p99", 3000.0, 1500.0),
    _cost("20 kB answers, CPU, times nginx-lua", "large", "cpu", "nginx-lua", 4.0, 2.0),
    _cost("1 MB uploads, CPU, times nginx-lua", "upload", "cpu", "nginx-lua", 4.0, 2.0),
)
