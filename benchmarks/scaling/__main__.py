"""How far one store carries: unit costs measured on a real server, and a simulation of many replicas on it."""

from __future__ import annotations

import argparse
import asyncio
from dataclasses import replace
from functools import lru_cache

from benchmarks.fold.__main__ import Load, run
from benchmarks.scaling.costs import measure
from benchmarks.scaling.fleet import Fleet, over_admitted, percentages, simulate
from benchmarks.statistics import percentile

_MILLIONS = 10_000_000
_EVENTS = 4_000
"""Folded to measure what one costs, or as many as come in twenty seconds."""

FLEETS = (
    Fleet(10, 1_000, 1, 20_000, 10_000),
    Fleet(100, 5_000, 1, 40_000, 100_000),
    Fleet(100, 5_000, 20, 40_000, 100_000),
    Fleet(100, 10_000, 1, 100_000, 100_000),
    Fleet(100, 10_000, 1, 100_000, 100_000, primaries=6),
    Fleet(100, 500, 1, 1_000, 10_000),
    Fleet(1_000, 5_000, 1, 10_000, 100_000),
    Fleet(1_000, 5_000, 1, 10_000, 100_000, primaries=6),
    Fleet(1_000, 10_000, 1, 100_000, 100_000, primaries=6),
    Fleet(1_000, 10_000, 1, 100_000, _MILLIONS, primaries=6),
)


def main() -> None:
    """Measure, simulate, print tables in Markdown."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scaling", description=__doc__)
    parser.add_argument("--seconds", type=float, default=4.0, help="of the fleet's life (4)")
    options = parser.parse_args()
    costs = asyncio.run(measure())
    print(
        f"heartbeat {costs.heartbeat * 1e6:.1f} µs, admission {costs.admission * 1e6:.1f} µs, look-up {costs.lookup * 1e6:.1f} µs, "
        f"report to one worker {costs.report * 1e6:.1f} µs, a key {costs.memory:.0f} bytes\n"
    )
    print(
        "| workers | primaries | requests/s | limited/s | keys in use | changes/s | µs an event | busiest primary | mostly ",
        end="",
    )
    print("| revocation p50 | worst | admission p99 | look-ups over 250 ms |\n|--:|--:|--:|--:|--:|--:|--:|--:|:--|--:|--:|--:|--:|")
    for fleet in FLEETS:
        event = _event(fleet.keys, round(fleet.requests / fleet.workers))
        came = simulate(fleet, replace(costs, event=event), options.seconds)
        row = [
            f"{fleet.workers:,}", fleet.primaries, f"{fleet.requests:,.0f}", f"{fleet.admissions:,.0f}", f"{fleet.keys:,}",
            f"{fleet.revocations:g}", f"{event * 1e6:.1f}", f"{came.busy:.0%}", ", ".join(percentages(came.shares)[:2]),
            f"{percentile(came.revocation, 50) * 1000:,.1f} ms", f"{percentile(came.revocation, 100) * 1000:,.0f} ms",
            f"{percentile(came.admission, 99) * 1000:,.1f} ms", f"{came.late():.0%}",
        ]  # fmt: skip
        print(f"| {' | '.join(map(str, row))} |")
    print("\n| limit a minute | asked for | not replicated | given beyond it |\n|--:|--:|--:|--:|")
    for limit, lost in ((60, 0.001), (60, 1.0), (6_000, 0.001), (6_000, 1.0), (600_000, 1.0)):
        print(f"| {limit:,} | 2 times | {lost * 1000:,.0f} ms | {over_admitted(limit, 2.0, lost):.2%} |")


@lru_cache
def _event(keys: int, rate: int) -> float:
    """Seconds of the store for an event of a replica that has `rate` requests a second over all keys alike: the fewer, the dearer."""
    _, spent = run(Load(keys, rate, skewed=False), max(20.0, _EVENTS / rate))
    return spent * 1e-6


if __name__ == "__main__":
    main()
