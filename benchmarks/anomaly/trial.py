"""Plays scenarios against keys that have been learnt, and scores what came of each."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from benchmarks.anomaly.replay import EPOCH, Alarm, Learnt, Replay
from benchmarks.anomaly.scenarios import DAY_STEPS, Case, Scenario
from benchmarks.anomaly.traffic import STEP, seconds
from sidecar.control.anomaly.detectors.second import Second

FIRST_DAY, LAST_DAY = 8, 13
"""Scenarios begin in these days of the background."""

VICTIMS = 10
REDRAW = 1_000_000


@dataclass(frozen=True)
class Result:
    """One run: the highest level reached, seconds from the start to each level, and alarms that the scenario did not cause."""

    scenario: str
    seed: int
    level: str
    delays: dict[str, int]
    signals: tuple[str, ...]
    stray: tuple[Alarm, ...]


def play(scenario: Scenario, seed: int, keys: list[Learnt]) -> Result:
    """One run of `scenario` on keys drawn by `seed`."""
    rng = np.random.default_rng([int.from_bytes(scenario.code.encode()), seed])
    order = rng.permutation(len(keys))
    victim = keys[order[0]]
    start = _start(victim, scenario, rng)
    if not victim.is_used(start):
        # Nobody can tell a thief from the owner of a key that was never in use: draw again.
        return play(scenario, seed + REDRAW, keys)
    others = [keys[index].history for index in order[:VICTIMS]] if scenario.code == "S8" else []
    case = Case(victim.history, start, rng, others)
    played = scenario.play(case)
    key_id = victim.history.key.key_id
    replay = Replay()
    lead: list[Second] = []
    for learnt in [victim, *(keys[index] for index in order[1:VICTIMS] if others)]:
        snapshot = learnt.before(start)
        replay.restore(learnt.history.key.key_id, snapshot)
        lead += seconds(learnt.history.key.key_id, learnt.history.between(snapshot.step, start), EPOCH)
    replay.run(sorted(lead, key=lambda second: second.time))
    quiet = len(replay.alarms)
    own = victim.history.between(start, played.own_until) if played.own_until > start else []
    epoch = EPOCH + played.shift
    added = seconds(key_id, [*own, *played.flows], epoch) + played.seconds
    replay.run(sorted(added, key=lambda second: second.time))
    return _result(scenario, seed, replay.alarms[quiet:], epoch + start * STEP)


def _start(victim: Learnt, scenario: Scenario, rng: np.random.Generator) -> int:
    if scenario.code == "S10":
        return _idle_hour(victim, rng)
    return int(rng.integers(FIRST_DAY * DAY_STEPS, LAST_DAY * DAY_STEPS - DAY_STEPS // 24))


def _idle_hour(victim: Learnt, rng: np.random.Generator) -> int:
    """The hour of the day, in the last days, at which the key is least used."""
    used = np.zeros(24)
    for flow in victim.history.flows:
        np.add.at(used, flow.steps * STEP // 3600 % 24, flow.counts)
    return int(LAST_DAY * DAY_STEPS + int(used.argmin()) * 3600 // STEP + rng.integers(0, 30))


def _result(scenario: Scenario, seed: int, alarms: list[Alarm], start: int) -> Result:
    delays: dict[str, int] = {}
    signals: tuple[str, ...] = ()
    level = "none"
    for alarm in alarms:
        if alarm.level not in delays:
            delays[alarm.level] = alarm.time - start
        if alarm.level == "page" or level not in ("page", alarm.level):
            level, signals = alarm.level, alarm.signals
    stray = () if scenario.attack else tuple(alarm for alarm in alarms if alarm.level != "notice")
    return Result(scenario.code, seed, level, delays, signals, stray)
