"""Replays ordinary traffic and attacks through the detectors, in virtual time: `python -m benchmarks.anomaly --help`."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections import Counter
from pathlib import Path

import numpy as np

from benchmarks.anomaly import background, picture, report, traffic
from benchmarks.anomaly.background import DAYS, Client
from benchmarks.anomaly.replay import Learnt, learn
from benchmarks.anomaly.scenarios import DAY_STEPS, SCENARIOS
from benchmarks.anomaly.trial import Result, play

GENERATED = 60


def main() -> int:
    options = _options()
    clients = _clients(options)
    started = time.monotonic()
    levels: Counter[str] = Counter()
    key_days = 0.0
    keys: list[Learnt] = []
    for repeat in range(options.repeats):
        learnt = [_learn(client, index, options.first_seed + repeat) for index, client in enumerate(clients)]
        keys = keys or learnt
        levels.update(alarm.level for one in learnt for alarm in one.alarms)
        key_days += DAYS * len(learnt)
        _say(f"background {repeat + 1} of {options.repeats}: {len(clients)} keys, {time.monotonic() - started:.0f} s")
    results: list[Result] = []
    for scenario in SCENARIOS:
        if options.only and scenario.code not in options.only:
            continue
        results += [play(scenario, options.first_seed + seed, keys) for seed in range(options.seeds)]
        _say(f"{scenario.code} {scenario.title}, {time.monotonic() - started:.0f} s")
    summary = report.summarise(results, key_days, levels)
    print(json.dumps(report.data(summary), indent=2) if options.json else report.text(summary))
    if options.svg:
        options.svg.write_text(picture.draw(summary), encoding="utf-8")
    return 1 if options.check and summary.failures() else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.anomaly", description=__doc__)
    parser.add_argument("--background", type=Path, help="client_rates.csv.gz; without it, clients are generated")
    parser.add_argument(
        "--clients",
        choices=("held-out", "tuned", "all"),
        default="held-out",
        help="the half that the thresholds were not tuned on, the other, or all (for a file that is new to the detectors)",
    )
    parser.add_argument("--seeds", type=int, default=50, help="runs of each scenario")
    parser.add_argument("--first-seed", type=int, default=0, help="draw everything afresh")
    parser.add_argument("--repeats", type=int, default=1, help="how often the whole background is drawn, for false alarms")
    parser.add_argument("--only", nargs="*", default=[], metavar="S1", help="only these scenarios")
    parser.add_argument("--svg", type=Path, help="draw the result")
    parser.add_argument("--json", action="store_true", help="print for programs")
    parser.add_argument("--check", action="store_true", help="exit 1 when a target is missed")
    return parser.parse_args()


def _clients(options: argparse.Namespace) -> list[Client]:
    every = background.load(options.background) if options.background else background.generate(2 * GENERATED, options.first_seed)
    return {"tuned": every[0::2], "held-out": every[1::2], "all": every}[options.clients]


def _learn(client: Client, index: int, seed: int) -> Learnt:
    rng = np.random.default_rng([seed, index])
    key = traffic.make_key(f"key_{index}", client, rng)
    return learn(traffic.ordinary(key, rng), DAYS * DAY_STEPS)


def _say(sentence: str) -> None:
    print(sentence, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
