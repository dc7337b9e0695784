"""Ten attacks and six kinds of ordinary change, each drawn afresh from its seed.

`Case` is what a scenario is given: a key with its history and the step at which it begins. A scenario
gives the traffic that is added (or put in place of the key's own), and what is expected of the detectors.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from benchmarks.anomaly import traffic
from benchmarks.anomaly.replay import EPOCH
from benchmarks.anomaly.traffic import DAY, PROGRAMS, STEP, Flow, History, Person
from sidecar.control.anomaly.detectors.second import NO_KEY, Caller, Second

HOUR_STEPS = 3600 // STEP
DAY_STEPS = DAY // STEP


@dataclass
class Case:
    """What a scenario starts from."""

    history: History
    start: int
    rng: np.random.Generator
    others: list[History] = field(default_factory=list)

    @property
    def person(self) -> Person:
        """The key's application at the start."""
        return self.history.person(self.start)

    @property
    def peak(self) -> float:
        """Requests a second of the key's busiest hour; at least one request in 20 seconds, or nothing would be worth stealing."""
        return max(0.05, self.history.key.client.peak_hour)

    def flow(self, seconds: int, rate: float, callers: list[Caller], delay: int = 0) -> Flow:
        """Requests at a steady rate from the start (and `delay` seconds) on."""
        return traffic.steady(self.history.key, self.start + delay // STEP, seconds, rate, callers, self.rng)

    def own(self, steps: int, start: int | None = None) -> list[Flow]:
        """The key's own traffic from the start on."""
        begin = self.start if start is None else start
        return self.history.between(begin, begin + steps)


@dataclass
class Played:
    """Traffic of a scenario. `flows` are added to the key; `seconds` is traffic already in sums, of any key."""

    flows: list[Flow] = field(default_factory=list)
    seconds: list[Second] = field(default_factory=list)
    own_until: int = 0
    """The key's own traffic goes on up to this step."""
    shift: int = 0
    """Seconds by which the start is moved into the future, after silence."""
    victims: tuple[str, ...] = ()
    """Other keys that take part."""


@dataclass(frozen=True)
class Scenario:
    """One kind of event; `pages` says whether it should end in a page, and `recall` how often it must."""

    code: str
    title: str
    play: Callable[[Case], Played]
    attack: bool
    recall: float | None = None


def _agent(case: Case, new: float) -> str:
    """A thief's program: another one with probability `new`, else the application's own."""
    if case.rng.uniform() < new:
        return f"{case.rng.choice([p for p in (*PROGRAMS, 'aiohttp', 'curl', 'postmanruntime') if p != case.person.program])}/1.1"
    return f"{case.person.program}/{case.person.version}.0"


def _models(case: Case, new: float) -> list[str]:
    known = list(case.person.models)
    unknown = [model for model in traffic.MODELS if model not in known]
    if case.rng.uniform() < new and unknown:
        return [str(case.rng.choice(unknown))]
    return known[: int(case.rng.integers(1, len(known) + 1))]


def _callers(case: Case, networks: list[str], *, agent: float, model: float) -> list[Caller]:
    program = _agent(case, agent)
    models = _models(case, model)
    return [(network, program, name, case.person.routes[0]) for network in networks for name in models]


def leak_burst(case: Case) -> Played:
    callers = _callers(case, [traffic.address(case.rng)], agent=0.7, model=0.5)
    rate = max(0.5, case.peak * case.rng.uniform(3, 10))
    return Played([case.flow(1800, rate, callers)], own_until=case.start + HOUR_STEPS)


def slow_theft(case: Case) -> Played:
    callers = _callers(case, [traffic.address(case.rng)], agent=0.8, model=0.5)
    return Played([case.flow(12 * 3600, 0.5 * case.peak, callers)], own_until=case.start + 13 * HOUR_STEPS)


def slow_theft_inside(case: Case) -> Played:
    callers = _callers(case, [str(case.rng.choice(case.person.networks))], agent=0.5, model=0.3)
    return Played([case.flow(12 * 3600, 0.5 * case.peak, callers)], own_until=case.start + 13 * HOUR_STEPS)


def resale(case: Case) -> Played:
    networks = [traffic.address(case.rng) for _ in range(30)]
    callers = [caller for network in networks for caller in _callers(case, [network], agent=0.6, model=0.3)[:1]]
    order = case.rng.permutation(len(callers))
    rate = max(0.05, case.peak * case.rng.uniform(0.5, 4))
    return Played([case.flow(2 * 3600, rate, [callers[index] for index in order])], own_until=case.start + 3 * HOUR_STEPS)


def dormant(case: Case) -> Played:
    inside = case.rng.uniform() < 0.15
    networks = [case.person.networks[0] if inside else traffic.address(case.rng)]
    callers = _callers(case, networks, agent=0.9 if inside else 0.6, model=0.5)
    rate = case.rng.uniform(0.05, 1.0)
    return Played([case.flow(1800, rate, callers)], shift=int(case.rng.integers(15, 60)) * DAY)


def revoked_retried(case: Case) -> Played:
    steps = np.sort(case.rng.integers(case.start, case.start + HOUR_STEPS, int(case.rng.integers(5, 60))))
    refusal = (case.person.networks[0], "api_key_revoked", "")
    steps = np.unique(steps)
    refused = traffic.refused(case.history.key.key_id, steps, np.ones(len(steps), dtype=np.int64), refusal, EPOCH)
    return Played(seconds=refused)


def guessing(case: Case) -> Played:
    counts = case.rng.poisson(case.rng.uniform(1, 5) * STEP, 60)
    steps = np.flatnonzero(counts)
    refusal = (traffic.address(case.rng), "invalid_api_key", "")
    return Played(
        seconds=traffic.refused(NO_KEY, steps + case.start, counts[steps], refusal, EPOCH), own_until=case.start + HOUR_STEPS // 4
    )


def stolen_file(case: Case) -> Played:
    thief = (traffic.address(case.rng), _agent(case, 0.8))
    spread = int(case.rng.integers(120, 600))
    seconds: list[Second] = []
    for other in case.others:
        begin = case.start + int(case.rng.integers(0, spread)) // STEP
        person = other.person(case.start)
        flow = traffic.steady(other.key, begin, 600, case.rng.uniform(0.05, 0.3), [(*thief, person.models[0], person.routes[0])], case.rng)
        seconds += traffic.seconds(other.key.key_id, [flow], EPOCH)
    seconds.sort(key=lambda second: second.time)
    return Played(seconds=seconds, victims=tuple(other.key.key_id for other in case.others))


def enumeration(case: Case) -> Played:
    inside = case.rng.uniform() < 0.3
    network = case.person.networks[0] if inside else traffic.address(case.rng)
    program = _agent(case, 0.7)
    unknown = [model for model in traffic.MODELS if model not in case.person.models]
    tried = case.rng.choice(unknown, min(len(unknown), int(case.rng.integers(4, 10))), replace=False)
    callers = [(network, program, str(model), case.person.routes[0]) for model in tried]
    return Played([case.flow(300, len(callers) * 2 / 300, callers)], own_until=case.start + HOUR_STEPS)


def off_hours(case: Case) -> Played:
    inside = case.rng.uniform() < 0.5
    network = case.person.networks[0] if inside else traffic.address(case.rng)
    callers = _callers(case, [network], agent=0.5, model=0.3)
    return Played([case.flow(3600, case.rng.uniform(0.03, 0.2), callers)], own_until=case.start + 2 * HOUR_STEPS)


def new_region(case: Case) -> Played:
    networks = [traffic.address(case.rng) for _ in range(int(case.rng.integers(1, 5)))]
    person = case.person
    version = person.version + int(case.rng.integers(0, 2))
    callers = [
        (network, f"{person.program}/{version}.0", model, route)
        for network in networks
        for model in person.models
        for route in person.routes
    ]
    share = case.rng.uniform(0.3, 1.3)
    moved = [_scaled(flow, share, callers, case.rng) for flow in case.own(DAY_STEPS)]
    return Played(moved, own_until=case.start + DAY_STEPS)


def batch(case: Case) -> Played:
    network = str(case.rng.choice(case.person.networks))
    callers = _callers(case, [network], agent=0.3, model=0.2)
    seconds = int(case.rng.integers(1800, 7200))
    return Played([case.flow(seconds, 10 * case.peak, callers)], own_until=case.start + 4 * HOUR_STEPS)


def rotating_egress(case: Case) -> Played:
    """A CI system with 200 egress addresses that has always used the key; its history is part of the scenario."""
    egress = [traffic.address(case.rng) for _ in range(200)]
    caller = (f"{case.person.program}/{case.person.version}.0", case.person.models[0], case.person.routes[0])
    flows = []
    step = 0
    while step < 14 * DAY_STEPS:
        network = str(case.rng.choice(egress))
        flows.append(
            traffic.steady(
                case.history.key, step, int(case.rng.integers(60, 900)), case.rng.uniform(0.05, 0.5), [(network, *caller)], case.rng
            )
        )
        step += int(case.rng.exponential(1.5 * HOUR_STEPS))
    return Played(seconds=traffic.seconds("ci", flows, EPOCH))


def rotation(case: Case) -> Played:
    steps = np.unique(np.sort(case.rng.integers(case.start + HOUR_STEPS, case.start + 6 * HOUR_STEPS, int(case.rng.integers(0, 40)))))
    refusal = (case.person.networks[0], "api_key_rotated", "")
    refused = traffic.refused(case.history.key.key_id, steps, np.ones(len(steps), dtype=np.int64), refusal, EPOCH)
    return Played(seconds=refused, own_until=case.start + DAY_STEPS)


def hub_outage(case: Case) -> Played:
    """Twenty minutes of 5xx, which are in no sum, then what was left undone comes at twice the pace."""
    seconds = []
    for flow in case.own(120):
        seconds += [Second(case.history.key.key_id, EPOCH + step * STEP + 9, callers={}, refusals={}) for step in flow.steps.tolist()]
    late = [Flow(flow.steps + 120, flow.counts, flow.callers, flow.which, flow.tokens) for flow in case.own(120)]
    late += case.own(DAY_STEPS, case.start + 120)
    return Played(late, sorted(seconds, key=lambda second: second.time))


def holiday(case: Case) -> Played:
    """Some days of silence, then the usual traffic an hour earlier or later than before."""
    away = int(case.rng.integers(2, 8)) * DAY
    flows = case.own(DAY_STEPS)
    moved = int(case.rng.choice([-1, 1])) * HOUR_STEPS
    return Played([Flow(f.steps + moved + HOUR_STEPS, f.counts, f.callers, f.which, f.tokens) for f in flows], shift=away)


def _scaled(flow: Flow, share: float, callers: list[Caller], rng: np.random.Generator) -> Flow:
    counts = rng.poisson(flow.counts * share)
    kept = counts > 0
    which = rng.integers(0, len(callers), int(kept.sum()))
    return Flow(flow.steps[kept], counts[kept], callers, which, (flow.tokens[kept] * share).astype(np.int64))


SCENARIOS = (
    Scenario("S1", "leak burst from a new network", leak_burst, True, 0.95),
    Scenario("S2", "slow theft from a new network", slow_theft, True, 0.80),
    Scenario("S3", "slow theft from the key's own network", slow_theft_inside, True),
    Scenario("S4", "resale over 30 networks", resale, True, 0.95),
    Scenario("S5", "dormant key used again", dormant, True, 0.95),
    Scenario("S6", "revoked key retried", revoked_retried, True),
    Scenario("S7", "key guessing", guessing, True),
    Scenario("S8", "stolen file of ten keys", stolen_file, True, 0.95),
    Scenario("S9", "models tried one after the other", enumeration, True),
    Scenario("S10", "use at an idle hour", off_hours, True),
    Scenario("B1", "deployment to a new region", new_region, False),
    Scenario("B2", "batch job at ten times the peak", batch, False),
    Scenario("B3", "CI with rotating egress", rotating_egress, False),
    Scenario("B4", "rotation with overlap, and stragglers", rotation, False),
    Scenario("B5", "hub outage with retries", hub_outage, False),
    Scenario("B6", "holiday, then a shifted clock", holiday, False),
)
